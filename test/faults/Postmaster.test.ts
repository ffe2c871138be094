/** A PostgreSQL of the test's own is killed under load, comes back, is full, or takes nobody more. */
import { randomBytes } from "node:crypto"
import process from "node:process"
import { Effect, Exit, Schedule, Scope } from "effect"
import { beforeAll, describe, expect, it } from "vitest"
import { type Cluster, startCluster } from "../../bench/machine/Postgres.ts"
import { connectTo } from "../operation/postgres.ts"
import { emptyDirectory, patience, type Program, start, useFinished } from "../operation/program.ts"
import { expectProblem } from "../support/expect.ts"
import { having, newId } from "../tasks/families.ts"
import { expectStored, recovered, startLoad } from "./load.ts"
import { pause } from "./process.ts"
import { size } from "./sizes.ts"

const atTheEnd = useFinished()

describe.skipIf(process.platform !== "linux")("a PostgreSQL server of the test's own", () => {
  let cluster: Cluster
  let url = ""
  let instances: ReadonlyArray<Program>

  beforeAll(async () => {
    const directory = emptyDirectory(atTheEnd)
    const scope = await Effect.runPromise(Scope.make())
    atTheEnd(() => Effect.runPromise(Scope.close(scope, Exit.void)))
    cluster = await Effect.runPromise(Effect.provideService(startCluster(directory), Scope.Scope, scope))
    url = await Effect.runPromise(cluster.create("faults"))
    // a role that is no superuser, for whom limits of connections hold
    const admin = connectTo(url, atTheEnd)
    await admin.sql("create role app login")
    await admin.sql("alter database faults owner to app")
    await admin.sql("alter schema public owner to app")
    await admin.close()
    const env = {
      DATABASE_URL: url.replace("postgres@", "app@"),
      DATABASE_POOL_SIZE: "4",
      JWT_SECRET: randomBytes(32).toString("hex")
    }
    instances = await Promise.all([1, 2].map(() => start({ ...env, DATA_DIR: emptyDirectory(atTheEnd) }, atTheEnd)))
  }, 2 * patience)

  const expectNoDefect = () => {
    for (const { lines } of instances) expect(lines().filter(({ message }) => message === "defect")).toEqual([])
  }

  it("F1 that is killed and comes back: 503 meanwhile, soon 200 again, and nothing acknowledged is lost", async () => {
    const user = await instances[0]!.register()
    const load = startLoad(instances, user)
    const returns: Array<number> = []
    let pid = cluster.pid
    for (let round = 0; round < size(1, 20); round++) {
      await pause(1_000)
      process.kill(pid, "SIGKILL")
      await pause(size(1_500, 5_000))
      for (const instance of instances) {
        having(200, await instance.request("GET", "/health/live"))
        expectProblem(await instance.request("GET", "/health/ready"), 503, "database_unavailable")
      }
      pid = await Effect.runPromise(
        Effect.retry(cluster.restart, { times: 20, schedule: Schedule.spaced("250 millis") })
      )
      const tries = instances.map((instance) =>
        recovered(() => instance.request("GET", "/api/v1/tasks", { token: user.access_token }), 10_000)
      )
      returns.push(...await Promise.all(tries))
    }
    await pause(500)
    await load.stop()
    const latest = Math.max(...returns)
    console.log(
      `F1 ${JSON.stringify(load.statuses)}, longest ${load.longest().toFixed(0)} ms, first 200 at most ` +
        `${latest.toFixed(0)} ms after PostgreSQL accepts`
    )
    expect(latest).toBeLessThan(2_000)
    expect(load.statuses[503]).toBeGreaterThan(0)
    const rows = connectTo(url, atTheEnd)
    await expectStored(load, rows.sql, user)
    await rows.close()
    expectNoDefect()
  }, 10 * patience)

  it.each([["disk_full", "53100"], ["out_of_memory", "53200"]])(
    "F8 %s: writes are 503, reads go on",
    async (name, code) => {
      const [instance] = instances as [Program, Program]
      const user = await instance.register()
      const session = connectTo(url, atTheEnd)
      await session.sql(`create function full_now() returns trigger language plpgsql as $$
      begin raise exception 'no room' using errcode = '${code}'; end $$`)
      await session.sql(
        "create trigger full_now before insert or update on tasks for each row execute function full_now()"
      )
      const write = () =>
        instance.request("POST", "/api/v1/tasks", { token: user.access_token, body: { id: newId(), title: name } })
      expectProblem(await write(), 503, "database_unavailable")
      having(200, await instance.request("GET", "/api/v1/tasks", { token: user.access_token }))
      having(200, await instance.request("GET", "/health/live"))
      await session.sql("drop function full_now cascade")
      having(201, await write())
      await session.close()
      expectNoDefect()
    }
  )

  it("F8 that takes no more connections (53300): 503 and live, until it does again", async () => {
    const [instance] = instances as [Program, Program]
    const user = await instance.register()
    const session = connectTo(url, atTheEnd)
    await session.sql("alter role app connection limit 0")
    await session.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tasks-api'")
    const list = () => instance.request("GET", "/api/v1/tasks", { token: user.access_token })
    await pause(200)
    for (let turn = 0; turn < 5; turn++) expectProblem(await list(), 503, "database_unavailable")
    expectProblem(await instance.request("GET", "/health/ready"), 503, "database_unavailable")
    having(200, await instance.request("GET", "/health/live"))
    await session.sql("alter role app connection limit -1")
    await recovered(list, 5_000)
    await session.close()
    expectNoDefect()
  })
})
