/** Two PostgreSQL servers change places behind one address. */
import { randomBytes } from "node:crypto"
import { describe, expect, it } from "vitest"
import { connectTo, startProxy } from "../operation/postgres.ts"
import { emptyDirectory, type Finished, patience, start } from "../operation/program.ts"
import { hasPostgres, startCluster } from "../operation/servers.ts"
import { expectProblem } from "../support/expect.ts"
import { having, newId } from "../tasks/families.ts"
import { expectStored, recovered, startLoad } from "./load.ts"
import { pause, settled } from "./process.ts"
import { size } from "./sizes.ts"

const startBehind = ({ url }: { readonly url: string }, finished: Finished) =>
  start({
    DATABASE_URL: url,
    DATABASE_POOL_SIZE: "4",
    DATA_DIR: emptyDirectory(finished),
    JWT_SECRET: randomBytes(32).toString("hex")
  }, finished)

describe.skipIf(!hasPostgres)("two PostgreSQL servers (installed)", () => {
  it(
    "F7 of which one ends and the other is promoted: 503 for writes meanwhile, and nothing acknowledged is lost",
    async ({
      onTestFinished
    }) => {
      // what is acknowledged is with the other one already: else a failover may lose it, whatever this server does
      const settings = { synchronous_standby_names: "*", synchronous_commit: "remote_apply" }
      const first = await startCluster(onTestFinished)
      const second = await startCluster(onTestFinished, { standbyOf: first })
      const [admin, standby] = [connectTo(first.url, onTestFinished), connectTo(second.url, onTestFinished)]
      for (const [name, value] of Object.entries(settings)) await admin.sql(`alter system set ${name} = '${value}'`)
      await admin.sql("select pg_reload_conf()")
      const proxy = await startProxy(first.url, onTestFinished)
      const server = await startBehind(proxy, onTestFinished)
      const user = await server.register()
      const token = user.access_token
      const write = () => server.request("POST", "/api/v1/tasks", { token, body: { id: newId(), title: newId() } })
      const read = () => server.request("GET", "/api/v1/tasks?limit=1", { token })
      const load = startLoad([server], user)
      await settled(() => load.acknowledged.size > 20, 20_000)

      await admin.close()
      await first.stop()
      proxy.aim(second.url)
      await recovered(read, 10_000)
      for (const end = performance.now() + size(1_000, 5_000); performance.now() < end; await pause(100)) {
        expectProblem(await write(), 503, "database_unavailable")
        having(200, await read())
      }
      await standby.sql("select pg_promote()")
      await settled(async () => (await write()).status === 201, 10_000)
      await load.stop()
      await expectStored(load, standby.sql, user)
      expect(server.lines().filter(({ message }) => message === "defect")).toEqual([])
    },
    2 * patience
  )

  it(
    "F7 whose address moves while sessions stay with the one that takes no writes: each write finds the other soon",
    async ({
      onTestFinished
    }) => {
      const writer = await startCluster(onTestFinished)
      const proxy = await startProxy(writer.url, onTestFinished)
      const server = await startBehind(proxy, onTestFinished)
      const users = await Promise.all(Array.from({ length: 8 }, () => server.register()))
      const write = ({ access_token: token }: typeof users[number]) =>
        server.request("POST", "/api/v1/tasks", { token, body: { title: "a" } })
      const replica = await startCluster(onTestFinished, { standbyOf: writer })
      await proxy.cut()
      proxy.aim(replica.url)
      await proxy.restore()
      await settled(async () => (await server.request("GET", "/health/ready")).status === 200, 10_000)
      // every session that writes is one with the replica
      for (const answer of await Promise.all(users.map(write))) expectProblem(answer, 503, "database_unavailable")

      proxy.aim(writer.url)
      await settled(async () => (await Promise.all(users.map(write))).every(({ status }) => status === 201), 10_000)
      for (let round = 0; round < 3; round++) {
        for (const answer of await Promise.all(users.map(write))) having(201, answer)
      }
      expect(server.lines().filter(({ message }) => message === "defect")).toEqual([])
    },
    patience
  )
})
