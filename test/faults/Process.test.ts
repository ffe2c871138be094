/** The process itself is in trouble: it stands still for seconds, or its heap is small for what is asked of it. */
import { availableParallelism } from "node:os"
import process from "node:process"
import { beforeAll, describe, expect, it } from "vitest"
import {
  emptyDirectory,
  emptyPlace,
  type Finished,
  patience,
  type Program,
  start,
  useFinished
} from "../operation/program.ts"
import { expectProblem } from "../support/expect.ts"
import type { Account, Answer } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import { recovered } from "./load.ts"
import { handlesOf, pause, residentMegabytes, settled } from "./process.ts"
import { shippedMegabytes, shippedRuntime } from "./shipped.ts"
import { size } from "./sizes.ts"

const atTheEnd = useFinished()

/** The limit of a request is 10 s; what is added is for a machine that is busy with the crowd and with other tests. */
const boundedReadiness = 20_000
/** So many hashes wait or run: those who come then are told to come back. */
const hashesAtOnce = 33 *
  Math.max(1, Math.min(availableParallelism(), Number(shippedRuntime["UV_THREADPOOL_SIZE"]) - 2))

const startWith = async (env: Record<string, string>, finished: Finished) =>
  start({ ...await emptyPlace(finished), DATA_DIR: emptyDirectory(finished), ...env }, finished)

const isGone = Symbol("no answer in time")
const within = <A>(ms: number, work: Promise<A>): Promise<A | typeof isGone> =>
  Promise.race([work, pause(ms).then((): typeof isGone => isGone)])

describe.skipIf(process.platform !== "linux")("the process (memory is read from /proc)", () => {
  it("F24 that stands still for 2 s is not ready meanwhile, and answers all who waited", async () => {
    const server = await startWith({}, atTheEnd)
    const user = await server.register()
    const ask = (path: string) => server.request("GET", path, { token: user.access_token })
    for (let round = 0; round < size(1, 5); round++) {
      const handles = handlesOf(server.pid)
      const before = Array.from({ length: 20 }, () => ask("/api/v1/tasks"))
      // nothing in the process runs: what a blocked event loop looks like from outside, timers that are late included
      server.kill("SIGSTOP")
      const ready = ask("/health/ready")
      const during = Array.from({ length: 200 }, () => ask("/api/v1/tasks"))
      // a load balancer that gives it 1 s
      expect(await within(1_000, ready)).toBe(isGone)
      await pause(1_000)
      server.kill("SIGCONT")
      for (const answer of await Promise.all([...before, ...during])) {
        if (answer.status !== 200) expectProblem(answer, 503, "overloaded")
      }
      await ready
      await recovered(() => ask("/health/ready"), 5_000)
      having(200, await ask("/api/v1/tasks"))
      await settled(() => handlesOf(server.pid) <= handles + 5, 10_000)
    }
    expect(server.lines().filter(({ message }) => message === "defect")).toEqual([])
  }, 2 * patience)

  describe("F24 with a heap that is small for what is asked of it", () => {
    let server: Program
    let user: Account

    beforeAll(async () => {
      server = await startWith(shippedRuntime, atTheEnd)
      user = await server.register()
    }, patience)

    it("tells those to come back who are too many, and ends for nobody", async () => {
      const task = { title: "x".repeat(200), description: "🎉".repeat(1_000), tags: ["a", "b", "c"] }
      const operations = Array.from({ length: 100 }, () => ({ op: "create", task }))
      const batch = () =>
        server.request("POST", "/api/v1/tasks/batch", {
          token: user.access_token,
          body: { mode: "atomic", operations }
        })
      const list = () => server.request("GET", "/api/v1/tasks?limit=100", { token: user.access_token })
      const login = () =>
        server.request("POST", "/api/v1/auth/login", { body: { email: user.email, password: "not this one" } })
      having(200, await batch())
      const counts: Record<string, number> = {}
      let [highest, longest] = [0, 0]
      for (let wave = 0; wave < size(1, 10); wave++) {
        let isOver = false
        const watched = (async () => {
          for (; !isOver; await pause(50)) {
            highest = Math.max(highest, residentMegabytes(server.pid))
            const begin = performance.now()
            const ready = await server.request("GET", "/health/ready")
            longest = Math.max(longest, performance.now() - begin)
            if (ready.status !== 200) expectProblem(ready, 503, "database_unavailable")
          }
        })()
        const answers: ReadonlyArray<Answer> = await Promise.all([
          ...Array.from({ length: size(300, 600) }, (_, index) => index % 3 === 0 ? batch() : list()),
          ...Array.from({ length: hashesAtOnce + 100 }, login)
        ])
        isOver = true
        await watched
        for (const answer of answers) {
          const what = answer.status === 503 ? `503 ${answer.json.code}` : answer.status
          counts[what] = (counts[what] ?? 0) + 1
          if (answer.status === 200) continue
          if (answer.status === 401) {
            expectProblem(answer, 401, "invalid_credentials")
            continue
          }
          // whoever waits for a connection in vain is told that the database does not answer
          expectProblem(answer, 503, answer.json.code === "overloaded" ? "overloaded" : "database_unavailable")
          expect(answer.headers.get("retry-after")).toMatch(/^[1-9]\d*$/)
        }
        await recovered(list, 10_000)
      }
      console.log(
        `F24 with the image's heap: ${JSON.stringify(counts)}, readiness after ${longest | 0} ms at most, ` +
          `${highest | 0} MB resident at most`
      )
      expect(counts["503 overloaded"]).toBeGreaterThan(0)
      expect(longest).toBeLessThan(boundedReadiness)
      expect(highest).toBeLessThan(shippedMegabytes)
      expect(counts[200]).toBeGreaterThan(0)
      expect(counts[401]).toBeGreaterThan(0)
      having(200, await server.request("GET", "/health/ready"))
      expect(server.lines().filter(({ message }) => message === "defect")).toEqual([])
    }, size(3, 15) * patience)
  })
})
