/** Thousands of clients that send or read as slowly as they can: others are served, and the process stays small. */
import process from "node:process"
import { beforeAll, describe, expect, it } from "vitest"
import { cpuMicros } from "../../bench/machine/Processes.ts"
import { percentile } from "../../bench/load/Statistics.ts"
import { emptyDirectory, emptyPlace, launch, patience, type Program, start, useFinished } from "../operation/program.ts"
import type { Account } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import { handlesOf, pause, residentMegabytes, settled, waitedForACore } from "./process.ts"
import { shippedMegabytes, shippedRuntime } from "./shipped.ts"
import { isFull, size } from "./sizes.ts"

const atTheEnd = useFinished()

/** of those who drip headers, of those who drip a body, and of those who do not read */
const [headers, bodies, readers] = [size(100, 2_450), size(100, 2_450), size(6, 100)]

describe.skipIf(process.platform !== "linux")("slow clients (memory is read from /proc)", () => {
  let server: Program
  let user: Account

  beforeAll(async () => {
    const place = { ...await emptyPlace(atTheEnd), DATA_DIR: emptyDirectory(atTheEnd) }
    server = await start({ ...place, ...shippedRuntime }, atTheEnd)
    user = await server.register()
    const task = { title: "x".repeat(200), description: "🎉".repeat(1_000) }
    const operations = Array.from({ length: 100 }, () => ({ op: "create", task }))
    const body = { mode: "atomic", operations }
    having(200, await server.request("POST", "/api/v1/tasks/batch", { token: user.access_token, body }))
  }, patience)

  /** Clients in a process of their own, so that what they need does not look like what the server makes others wait. */
  const clients = (script: string, env: Record<string, string>) =>
    launch(`test/faults/${script}`, { SERVER: server.url, BEARER: user.access_token, ...env }, atTheEnd)
  const slow = (KIND: string, count: number, seconds: number) =>
    clients("slowClients.ts", { KIND, COUNT: String(count), SECONDS: String(seconds) }).logged("opened")
  const honest = async (seconds: number) => {
    const { annotations } = await clients("honestClient.ts", { SECONDS: String(seconds) }).logged("asked")
    expect(annotations["statuses"]).toEqual([200])
    return annotations["latencies"] as ReadonlyArray<number>
  }
  /** Has taken less than a tenth of a core for a second. */
  const isQuiet = async () => {
    const before = cpuMicros(server.pid ?? 0)
    await pause(1_000)
    return cpuMicros(server.pid ?? 0) - before < 100_000
  }

  it("F18 are cut off in time, and nobody else waits for them", async () => {
    await honest(1)
    const before = { handles: handlesOf(server.pid), megabytes: residentMegabytes(server.pid) }
    let [highest, most] = [0, 0]
    const watch = setInterval(() => {
      highest = Math.max(highest, residentMegabytes(server.pid))
      most = Math.max(most, handlesOf(server.pid))
    }, 100)
    // what the first answers of so many cost is work, which limits of requests bound: who waits for that waits for others
    // who are served
    const work = cpuMicros(server.pid ?? 0)
    await slow("readers", readers, 1)
    await settled(isQuiet, 20_000)
    const filled = (cpuMicros(server.pid ?? 0) - work) / 1e6
    const kept = waitedForACore(server.pid)
    // about as many a second as there are sockets to come; those with headers last, which have 10 s
    const asking = honest(size(3, 30))
    await slow("bodies", bodies, size(1, 14))
    await slow("headers", headers, size(1, 7))
    const opened = performance.now()
    const latencies = await asking
    const late = waitedForACore(server.pid) - kept
    // 30 s for a body; twice 25 s for a reader, who may have taken something in the first; the rest for a busy machine
    await settled(() => handlesOf(server.pid) <= before.handles + 5, 60_000)
    clearInterval(watch)
    const p99 = percentile(latencies, 0.99)
    console.log(
      `F18 ${most - before.handles} slow sockets at once; ${
        filled.toFixed(1)
      } s of CPU for what readers asked; then p50, ` +
        `p99 and longest of ${latencies.length} others ` +
        `${
          [percentile(latencies, 0.5), p99, Math.max(...latencies)].map((ms) => ms.toFixed(0)).join(", ")
        } ms, while ` +
        `other processes kept the server from a core for ${late.toFixed(1)} s; reaped after ` +
        `${((performance.now() - opened) / 1000).toFixed(0)} s, ${before.megabytes | 0} MB to ${highest | 0} MB at most`
    )
    expect(most).toBeGreaterThan(before.handles + size(150, 4_500))
    if (isFull) expect(p99).toBeLessThan(200)
    expect(highest).toBeLessThan(shippedMegabytes)
    having(200, await server.request("GET", "/health/ready"))
    expect(server.lines().filter(({ message }) => message === "defect")).toEqual([])
  }, 3 * patience)
})
