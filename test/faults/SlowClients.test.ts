/** Thousands of clients that send or read as slowly as they can: others are served, and the process stays small. */
import { connect, type Socket } from "node:net"
import process from "node:process"
import { beforeAll, describe, expect, it } from "vitest"
import { percentile } from "../../bench/load/Statistics.ts"
import { head } from "../http/exchange.ts"
import { emptyDirectory, emptyPlace, patience, type Program, start, useFinished } from "../operation/program.ts"
import type { Account } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import { handlesOf, pause, residentMegabytes, settled } from "./process.ts"
import { isFull, size } from "./sizes.ts"

const atTheEnd = useFinished()

/** of those who drip headers, of those who drip a body, and of those who do not read */
const [headers, bodies, readers] = [size(100, 2_450), size(100, 2_450), size(6, 100)]

describe.skipIf(process.platform !== "linux")("slow clients (memory is read from /proc)", () => {
  let server: Program
  let user: Account
  let bearer = ""

  beforeAll(async () => {
    const place = { ...await emptyPlace(atTheEnd), DATA_DIR: emptyDirectory(atTheEnd) }
    server = await start({ ...place, UV_THREADPOOL_SIZE: "8" }, atTheEnd)
    user = await server.register()
    bearer = `Authorization: Bearer ${user.access_token}`
    const task = { title: "x".repeat(200), description: "🎉".repeat(1_000) }
    const operations = Array.from({ length: 100 }, () => ({ op: "create", task }))
    const body = { mode: "atomic", operations }
    having(200, await server.request("POST", "/api/v1/tasks/batch", { token: user.access_token, body }))
  }, patience)

  const open = (talk: (socket: Socket) => void) =>
    new Promise<Socket>((resolve) => {
      const { hostname, port } = new URL(server.url)
      const socket = connect({ host: hostname, port: Number(port) }, () => {
        talk(socket)
        resolve(socket)
      })
      socket.on("error", () => resolve(socket))
    })

  const dripping = (first: string, drop: string) => (socket: Socket) => {
    socket.resume()
    socket.write(first)
    const timer = setInterval(() => socket.write(drop), 1_000)
    socket.once("close", () => clearInterval(timer))
  }
  const talks = [
    dripping("GET /health/live HTTP/1.1\r\nHost: a\r\n", "X-A: b\r\n"),
    (socket: Socket) =>
      dripping(
        head("POST /api/v1/tasks", "Host: a", bearer, "Content-Type: application/json", "Content-Length: 1000"),
        " "
      )(socket),
    // 30 answers of 450 KB that nobody takes: more than any socket has buffers for
    (socket: Socket) => void socket.pause().write(head("GET /api/v1/tasks?limit=100", "Host: a", bearer).repeat(30))
  ] as const
  const kinds = talks.flatMap((talk, index) => Array<typeof talk>([headers, bodies, readers][index]!).fill(talk))

  it("F18 are cut off in time, and nobody else waits for them", async () => {
    const honest = async (seconds: number) => {
      const latencies: Array<number> = []
      for (let asked = 0; asked < seconds * 20; asked++) {
        const begin = performance.now()
        having(200, await server.request("GET", "/api/v1/tasks?limit=1", { token: user.access_token }))
        latencies.push(performance.now() - begin)
        await pause(Math.max(0, 50 - latencies.at(-1)!))
      }
      return latencies
    }
    await honest(1)
    const before = { handles: handlesOf(server.pid), megabytes: residentMegabytes(server.pid) }
    let [highest, most] = [0, 0]
    const watch = setInterval(() => {
      highest = Math.max(highest, residentMegabytes(server.pid))
      most = Math.max(most, handlesOf(server.pid))
    }, 100)
    const sockets: Array<Socket> = []
    for (let begun = 0; begun < kinds.length; begun += 100) {
      sockets.push(...await Promise.all(kinds.slice(begun, begun + 100).map(open)))
    }
    const opened = performance.now()
    const latencies = await honest(5)
    // 30 s for a body; twice 25 s for a reader, who may have taken something in the first; the rest for a busy machine
    await settled(() => handlesOf(server.pid) <= before.handles + 5, 60_000)
    clearInterval(watch)
    const p99 = percentile(latencies, 0.99)
    console.log(
      `F18 ${sockets.length} slow sockets, ${most} at once: p99 of others ${p99.toFixed(0)} ms, reaped after ` +
        `${((performance.now() - opened) / 1000).toFixed(0)} s, ${before.megabytes | 0} MB to ${highest | 0} MB at most`
    )
    // the first are cut off before the last of thousands has come
    expect(most).toBeGreaterThan(before.handles + headers)
    if (isFull) expect(p99).toBeLessThan(200)
    expect(highest - before.megabytes).toBeLessThan(size(150, 600))
    for (const socket of sockets) socket.destroy()
    having(200, await server.request("GET", "/health/ready"))
    expect(server.lines().filter(({ message }) => message === "defect")).toEqual([])
  }, 3 * patience)
})
