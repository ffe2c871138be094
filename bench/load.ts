/**
 * The process that makes the load. Reads lines of JSON from standard input: the users first, then one Order for each
 * round; writes one Round for each order.
 */
import { Agent, type IncomingMessage, request } from "node:http"
import { performance } from "node:perf_hooks"
import process from "node:process"
import { createInterface } from "node:readline"
import { cpuMicros } from "./Children.ts"
import { type Endpoint, endpoints } from "./Endpoints.ts"
import type { BenchUser } from "./Seed.ts"

export interface Order {
  readonly endpoint: string
  readonly port: number
  /** the process whose CPU time is counted */
  readonly pid: number
  readonly seconds: number
  readonly connections: number
}

/** Latencies are in milliseconds, as clients see them who ask again as soon as they have their answer. */
export interface Round {
  readonly requests: number
  readonly perSecond: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly cpuMicrosPerRequest: number
  readonly errors: number
  readonly firstError: string | undefined
}

/** Milliseconds; a server that hangs must not hang the run. */
const patience = 15_000

const ask = (agent: Agent, port: number, endpoint: Endpoint, user: BenchUser): Promise<IncomingMessage> =>
  new Promise((done, failed) => {
    const body = endpoint.body?.()
    const sent = request({
      agent,
      host: "127.0.0.1",
      port,
      method: endpoint.method,
      path: endpoint.path(user),
      timeout: patience,
      headers: {
        authorization: `Bearer ${user.token}`,
        ...(body !== undefined && { "content-type": "application/json", "content-length": Buffer.byteLength(body) })
      }
    }, done)
    sent.on("timeout", () => sent.destroy(new Error("timeout"))).on("error", failed).end(body)
  })

const text = async (response: IncomingMessage): Promise<string> => Buffer.concat(await response.toArray()).toString()

const finished = (response: IncomingMessage): Promise<void> =>
  new Promise((done, failed) => {
    response.once("end", done).once("error", failed).resume()
  })

/** Opens a connection, and reads an answer on it closely. */
const check = async (agent: Agent, port: number, endpoint: Endpoint, user: BenchUser): Promise<string | undefined> => {
  const response = await ask(agent, port, endpoint, user)
  const body = await text(response)
  return response.statusCode === endpoint.status && endpoint.isRight(JSON.parse(body), user)
    ? undefined
    : `${response.statusCode} ${body.slice(0, 500)}`
}

const percentile = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0

const execute = async (users: ReadonlyArray<BenchUser>, order: Order): Promise<Round> => {
  const { connections, pid, port, seconds } = order
  const endpoint = endpoints.find(({ name }) => name === order.endpoint)!
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const latencies: Array<number> = []
  const errors: Array<string> = []
  const anyUser = () => users[Math.floor(Math.random() * users.length)]!
  const note = (error: unknown) => void errors.push(String(error))

  const first = Array.from({ length: connections }, () => check(agent, port, endpoint, anyUser()))
  for (const wrong of await Promise.all(first.map((it) => it.catch(String)))) if (wrong !== undefined) note(wrong)

  const begin = performance.now()
  const end = begin + seconds * 1000
  const cpuBegin = cpuMicros(pid)
  const client = async () => {
    for (let sent = begin; sent < end && errors.length < connections;) {
      try {
        const response = await ask(agent, port, endpoint, anyUser())
        if (response.statusCode !== endpoint.status) note(`${response.statusCode} ${await text(response)}`)
        else await finished(response)
      } catch (error) {
        note(error)
      }
      const now = performance.now()
      latencies.push(now - sent)
      sent = now
    }
  }
  await Promise.all(Array.from({ length: connections }, client))
  const cpu = cpuMicros(pid) - cpuBegin
  const elapsed = performance.now() - begin
  agent.destroy()

  latencies.sort((a, b) => a - b)
  return {
    requests: latencies.length,
    perSecond: latencies.length / elapsed * 1000,
    p50: percentile(latencies, 0.5),
    p95: percentile(latencies, 0.95),
    p99: percentile(latencies, 0.99),
    cpuMicrosPerRequest: cpu / latencies.length,
    errors: errors.length,
    firstError: errors[0]
  }
}

let users: ReadonlyArray<BenchUser> | undefined
for await (const line of createInterface({ input: process.stdin })) {
  if (users === undefined) users = JSON.parse(line)
  else process.stdout.write(`${JSON.stringify(await execute(users, JSON.parse(line)))}\n`)
}
