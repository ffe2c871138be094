/**
 * The process that makes the load. Reads lines of JSON from standard input: the users whenever they change, and Orders;
 * writes one Round for each order.
 */
import { performance } from "node:perf_hooks"
import process from "node:process"
import { createInterface } from "node:readline"
import { cpuMicros } from "../machine/Processes.ts"
import type { BenchUser } from "../seed/Seed.ts"
import { type Answer, Connection } from "./Connection.ts"
import { type Endpoint, oneOf } from "./Endpoints.ts"
import type { Order, Round, Stream, StreamResult } from "./Order.ts"
import { ask, find, ready } from "./Requests.ts"
import { percentile } from "./Statistics.ts"

const sleep = (milliseconds: number) => new Promise((done) => setTimeout(done, Math.max(0, milliseconds)))

const fault = async (connection: Connection, endpoint: Endpoint, user: BenchUser): Promise<string | undefined> => {
  const answer = await ask(connection, endpoint, user)
  const isRight = answer.status === endpoint.status && endpoint.isRight(JSON.parse(answer.body()), user)
  return isRight ? undefined : `${answer.status} ${answer.body().slice(0, 500)}`
}

/** The clients of a stream, and what they have seen. */
class Clients {
  readonly #stream: Stream
  readonly #users: ReadonlyArray<BenchUser>
  readonly #endpoints: ReadonlyArray<Endpoint>
  readonly #connections: ReadonlyArray<Connection>
  readonly #latencies: Array<number> = []
  readonly #errors: Array<string> = []
  readonly #statuses = new Map<number, number>()
  #withoutRetryAfter = 0

  constructor(stream: Stream, users: ReadonlyArray<BenchUser>, port: number) {
    this.#stream = stream
    this.#users = users
    this.#endpoints = stream.endpoints.map(find)
    this.#connections = Array.from({ length: stream.connections }, () => new Connection(port))
  }

  get requests() {
    return this.#latencies.length
  }

  /** Opens the connections, and reads an answer on each of them closely. */
  async check() {
    if (this.#stream.takesAnyStatus) return
    await Promise.all(this.#connections.map(async (connection, index) => {
      const endpoint = this.#endpoints[index % this.#endpoints.length]!
      const wrong = await fault(connection, endpoint, oneOf(this.#users)).catch(String)
      if (wrong !== undefined) this.#errors.push(wrong)
    }))
  }

  async run(begin: number, end: number) {
    const { connections, perSecond } = this.#stream
    // whoever asks at fixed instants takes turns
    const step = perSecond === undefined ? 0 : connections * 1000 / perSecond
    await Promise.all(this.#connections.map(async (connection, index) => {
      let due = begin + index * step / connections
      for (;;) {
        if (step > 0 && due > performance.now()) await sleep(due - performance.now())
        const sent = step > 0 ? due : performance.now()
        if (sent >= end || this.#errors.length > connections) return
        await this.#ask(connection, sent, end)
        due += step
      }
    }))
  }

  async #ask(connection: Connection, due: number, end: number) {
    const endpoint = oneOf(this.#endpoints)
    let sent = due
    try {
      const request = await ready(connection, endpoint, oneOf(this.#users))
      if (endpoint.before !== undefined) sent = performance.now()
      const answer = await connection.ask(request)
      this.#latencies.push(performance.now() - sent)
      this.#statuses.set(answer.status, (this.#statuses.get(answer.status) ?? 0) + 1)
      if (answer.status === 503) await this.#comeBack(answer, end)
      if (answer.status !== endpoint.status && !this.#stream.takesAnyStatus) {
        this.#errors.push(`${answer.status} ${answer.body()}`)
      }
    } catch (error) {
      this.#latencies.push(performance.now() - sent)
      this.#errors.push(String(error))
    }
  }

  async #comeBack(answer: Answer, end: number) {
    const seconds = /\r\nretry-after: *(\d+)/i.exec(answer.headers)?.[1]
    if (seconds === undefined) this.#withoutRetryAfter++
    if (this.#stream.isPatient) await sleep(Math.min(Number(seconds ?? 0) * 1000, end - performance.now()))
  }

  result(elapsed: number): StreamResult {
    for (const connection of this.#connections) connection.close()
    const of = (share: number) => percentile(this.#latencies, share)
    return {
      requests: this.requests,
      perSecond: this.requests / elapsed * 1000,
      p50: of(0.5),
      p95: of(0.95),
      p99: of(0.99),
      max: of(1),
      statuses: Object.fromEntries(this.#statuses),
      withoutRetryAfter: this.#withoutRetryAfter,
      errors: this.#errors.length,
      firstError: this.#errors[0]
    }
  }
}

const execute = async (users: ReadonlyArray<BenchUser>, order: Order): Promise<Round> => {
  const { databasePid, port, seconds, serverPid, streams } = order
  const all = streams.map((stream) => new Clients(stream, users, port))
  for (const clients of all) await clients.check()

  const micros = () => [cpuMicros(serverPid), cpuMicros(databasePid), cpuMicros(process.pid)] as const
  const busy = performance.eventLoopUtilization()
  const before = micros()
  const begin = performance.now()
  const end = begin + seconds * 1000
  await Promise.all(all.map((clients) => clients.run(begin, end)))
  const after = micros()
  const elapsed = performance.now() - begin
  const loadBusy = performance.eventLoopUtilization(busy).utilization
  const requests = all.reduce((sum, clients) => sum + clients.requests, 0)
  const [serverMicros, databaseMicros, loadMicros] = [0, 1, 2].map((it) => (after[it]! - before[it]!) / requests)
  return {
    streams: all.map((clients) => clients.result(elapsed)),
    serverMicros: serverMicros!,
    databaseMicros: databaseMicros!,
    loadMicros: loadMicros!,
    loadBusy
  }
}

let users: ReadonlyArray<BenchUser> = []
for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line) as ReadonlyArray<BenchUser> | Order
  if ("streams" in message) process.stdout.write(`${JSON.stringify(await execute(users, message))}\n`)
  else users = message
}
