/** How soon a token that is too long, or has too many parts, is refused. */
import { connect } from "node:net"
import { performance } from "node:perf_hooks"
import { Effect } from "effect"
import { median } from "../load/Statistics.ts"
import { BenchFailed } from "../machine/Children.ts"
import { cpuMicros } from "../machine/Processes.ts"
import { figure, table } from "../Report.ts"
import type { Server } from "../targets/Servers.ts"

const times = 30
const part = (length: number) => "eyJh".repeat(length / 4)

const tokens: ReadonlyArray<readonly [string, string]> = [
  ["9 KB in three parts", `${part(100)}.${part(9_000)}.${part(40)}`],
  ["10,000 dots", ".".repeat(10_000)],
  ["three parts of 1 MB", [part(2 ** 20), part(2 ** 20), part(2 ** 20)].join(".")]
]

/** The status, and the milliseconds from the first byte sent to the first one that comes back. */
const attempt = (port: number, token: string): Promise<readonly [status: number, milliseconds: number]> =>
  new Promise((done, failed) => {
    let begin = 0
    const socket = connect({ port, host: "127.0.0.1", noDelay: true }, () => {
      begin = performance.now()
      socket.write(`GET /api/v1/tasks HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${token}\r\n\r\n`)
    })
    socket.setTimeout(10_000, () => socket.destroy(new Error("timeout")))
    socket.once("data", (bytes) => {
      done([Number(bytes.toString("latin1", 9, 12)), performance.now() - begin])
      socket.destroy()
    })
    // after an answer it is no failure: the server need not read to the end of what it has refused
    socket.on("error", failed)
    socket.on("close", () => failed(new Error("closed without an answer")))
  })

const row = async (server: Server, name: string, token: string) => {
  await attempt(server.port, token)
  const statuses = new Map<string, number>()
  const latencies: Array<number> = []
  const before = cpuMicros(server.pid)
  for (let n = 0; n < times; n++) {
    const [status, time] = await attempt(server.port, token).catch((error: Error) => [error.message, NaN] as const)
    statuses.set(String(status), (statuses.get(String(status)) ?? 0) + 1)
    if (!Number.isNaN(time)) latencies.push(time)
  }
  const cpu = (cpuMicros(server.pid) - before) / times / 1000
  const counts = [...statuses].map(([status, count]) => `${count} × ${status}`).join(", ")
  return [name, counts, figure(median(latencies)), figure(Math.max(...latencies)), figure(cpu)]
}

export const hostileTokens = Effect.fnUntraced(function* (server: Server) {
  const rows = yield* Effect.tryPromise({
    try: async () => {
      const all: Array<ReadonlyArray<string>> = []
      for (const [name, token] of tokens) all.push(await row(server, name, token))
      return all
    },
    catch: (error) => new BenchFailed({ message: `hostile tokens: ${String(error)}` })
  })
  return [
    `### Hostile tokens, ${times} times each`,
    "",
    "Aimed at: 401 or 431 in less than 20 ms. EPIPE: the connection was closed before all was sent, and the answer lost.",
    "",
    ...table([["token", "status", "median ms", "max ms", "server's CPU ms"], ...rows])
  ]
})
