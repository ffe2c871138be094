/** Two instances whose network to the database goes on, badly: no wrong answer, no 500, no hang. */
import { randomBytes } from "node:crypto"
import { beforeAll, beforeEach, describe, expect, it } from "vitest"
import {
  emptyDatabase,
  type Proxy,
  startProxy,
  type TestDatabase,
  testDatabaseUrl,
  type Toxic
} from "../operation/postgres.ts"
import { emptyDirectory, patience, type Program, start, useFinished } from "../operation/program.ts"
import type { Account } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import { expectStored, recovered, startLoad } from "./load.ts"
import { handlesOf, pause, settled } from "./process.ts"
import { size } from "./sizes.ts"

const atTheEnd = useFinished()

/** The handler's limit is 10 s; what is added is for a machine that is busy with other tests. */
const bounded = 14_000

const seconds = size(2, 30)

describe.skipIf(testDatabaseUrl === undefined)("with a PostgreSQL server (TEST_DATABASE_URL)", () => {
  let db: TestDatabase
  let proxy: Proxy
  let instances: ReadonlyArray<Program>
  let user: Account

  beforeAll(async () => {
    db = await emptyDatabase(atTheEnd)
    proxy = await startProxy(db.url, atTheEnd)
    const env = { DATABASE_URL: proxy.url, DATABASE_POOL_SIZE: "8", JWT_SECRET: randomBytes(32).toString("hex") }
    instances = await Promise.all(
      [1, 2].map(() => start({ ...env, DATA_DIR: emptyDirectory(atTheEnd) }, atTheEnd))
    )
  }, patience)

  beforeEach(async () => {
    await proxy.restore()
    user = await instances[0]!.register()
  })

  const toxics: ReadonlyArray<readonly [name: string, toxic: Toxic, fails: boolean]> = [
    ["reset_peer", { resetPeer: 300 }, true],
    ["slicer", { slice: 7 }, false],
    ["latency of 500 ± 500 ms", { latency: 500, jitter: 500 }, false],
    ["bandwidth of 10 KB/s", { bandwidth: 10_000 }, false],
    ["limit_data", { limitData: 4_000 }, true]
  ]

  it.each(toxics)("F5 %s", async (name, toxic, fails) => {
    const handles = instances.map(({ pid }) => handlesOf(pid))
    const load = startLoad(instances, user)
    await pause(300)
    proxy.suffer(toxic)
    await pause(seconds * 1000)
    const during = load.acknowledged.size
    await proxy.restore()
    await pause(1_000)
    await load.stop()
    console.log(`F5 ${name}: ${JSON.stringify(load.statuses)}, longest ${load.longest().toFixed(0)} ms`)
    if (fails) expect(load.statuses[503]).toBeGreaterThan(0)
    expect(load.acknowledged.size).toBeGreaterThan(during)
    expect(load.longest()).toBeLessThan(bounded)
    await expectStored(load, db.sql, user)
    for (const [index, { lines, pid }] of instances.entries()) {
      expect(lines().filter(({ message }) => message === "defect")).toEqual([])
      // the database's connections, of which there may be as many as the pool has
      await settled(() => handlesOf(pid) <= handles[index]! + 10, 5_000)
    }
  }, 3 * patience)

  it("F4 timeout: a black hole under load ends in bounded waits, and is forgotten 5 s after its end", async () => {
    const load = startLoad(instances, user, 12)
    await pause(500)
    const handles = instances.map(({ pid }) => handlesOf(pid))
    proxy.hold()
    await pause(size(4, 30) * 1000)
    // sockets do not pile up behind it
    for (const [index, { pid }] of instances.entries()) {
      expect(handlesOf(pid)).toBeLessThan(handles[index]! + 30)
    }
    await proxy.restore()
    const took = await recovered(
      () => instances[0]!.request("GET", "/api/v1/tasks", { token: user.access_token }),
      5_000
    )
    await load.stop()
    console.log(
      `F4: ${JSON.stringify(load.statuses)}, longest ${load.longest().toFixed(0)} ms, recovered in ${
        took.toFixed(0)
      } ms`
    )
    expect(load.longest()).toBeLessThan(bounded)
    await expectStored(load, db.sql, user)
    for (const instance of instances) having(200, await instance.request("GET", "/health/ready"))
  }, 3 * patience)
})
