/** How long requests about many tasks may take: longer than others, and not for ever. */
import process from "node:process"
import { describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { useServer } from "../support/TestServer.ts"
import { create, read } from "../tasks/families.ts"

const server = useServer()

describe.skipIf(!process.env["TEST_DATABASE_URL"])(
  "a batch (TEST_DATABASE_URL; the embedded database sleeps with its process)",
  () => {
    it("may take 20 seconds, and leaves nothing behind when it takes longer", async () => {
      await server.sql(`
      create function sleepy() returns trigger language plpgsql as $$
        begin perform pg_sleep(3); return new; end
      $$`)
      await server.sql("create trigger sleepy before update on tasks for each row execute function sleepy()")
      const batchOf = async (count: number) => {
        const account = await server.register()
        const { id } = await create(server, account, { title: "0" })
        const operations = Array.from({ length: count }, (_, i) => ({ op: "update", id, task: { title: `${i + 1}` } }))
        const begin = performance.now()
        const answer = await server.request("POST", "/api/v1/tasks/batch", {
          token: account.access_token,
          body: { mode: "partial", operations }
        })
        return { answer, took: performance.now() - begin, title: (await read(server, account, id)).title }
      }
      const [short, long] = await Promise.all([batchOf(4), batchOf(9)])
      expect(short.answer.status, short.answer.text).toBe(200)
      expect(short.took).toBeGreaterThan(10_000)
      expect(short.title).toBe("4")
      expectProblem(long.answer, 503, "overloaded")
      expect(long.took).toBeGreaterThan(19_000)
      // what is added is for a machine that is busy with other tests
      expect(long.took).toBeLessThan(24_000)
      expect(long.title).toBe("0")
    }, 60_000)
  }
)
