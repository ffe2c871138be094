/** Many long bodies at once: the process takes as many as it can hold, and tells the others to come back. */
import process from "node:process"
import { connect, type Socket } from "node:net"
import { beforeAll, describe, expect, it } from "vitest"
import { emptyDirectory, emptyPlace, patience, type Program, start, useFinished } from "../operation/program.ts"
import { head } from "../http/exchange.ts"
import type { Account } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import { handlesOf, residentMegabytes, settled } from "./process.ts"
import { size } from "./sizes.ts"

const atTheEnd = useFinished()

const mebibyte = 1024 * 1024
/** of one body; each is a chunk */
const pieces = 16

describe.skipIf(process.platform !== "linux")("bodies of 1 MiB (memory is read from /proc)", () => {
  let server: Program
  let user: Account

  beforeAll(async () => {
    // as the image runs it
    const flags = { UV_THREADPOOL_SIZE: "8", NODE_OPTIONS: "--max-semi-space-size=16 --max-old-space-size=256" }
    const place = { ...await emptyPlace(atTheEnd), DATA_DIR: emptyDirectory(atTheEnd) }
    server = await start({ ...place, ...flags }, atTheEnd)
    user = await server.register()
  }, patience)

  const ask = () => server.request("GET", "/api/v1/tasks", { token: user.access_token })

  interface Sender {
    readonly socket: Socket
    readonly sent: Promise<void>
    /** the status of the answer; undefined as long as there is none */
    readonly status: () => number | undefined
  }

  /** Sends the first half of a batch, chunk by chunk, and stays. */
  const sendHalf = (piece: Buffer): Sender => {
    const { hostname, port } = new URL(server.url)
    const socket = connect({ host: hostname, port: Number(port) })
    let status: number | undefined
    const headers = [
      "Host: a",
      "Content-Type: application/json",
      `Authorization: Bearer ${user.access_token}`,
      "Transfer-Encoding: chunked"
    ]
    const chunk = Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n")])
    const sent = new Promise<void>((resolve) => {
      socket.on("error", () => {}).once("close", () => resolve())
      socket.once("data", (bytes) => status = Number(bytes.toString("latin1", 9, 12)))
      socket.write(head("POST /api/v1/tasks/batch", ...headers))
      for (let left = pieces / 2; left > 0; left--) socket.write(chunk, () => left === 1 && resolve())
    })
    return { socket, sent, status: () => status }
  }

  const crowd = async (count: number): Promise<ReadonlyArray<Sender>> => {
    const piece = Buffer.alloc(mebibyte / pieces, " ")
    const senders: Array<Sender> = []
    while (senders.length < count) {
      const some = Array.from({ length: Math.min(250, count - senders.length) }, () => sendHalf(piece))
      await Promise.all(some.map(({ sent }) => sent))
      senders.push(...some)
    }
    // until the server has seen what was sent
    having(200, await ask())
    return senders
  }

  it("F19 that are broken off half-way are held up to a bound, and are gone with their clients", async () => {
    await Promise.all(Array.from({ length: 20 }, ask))
    const before = { handles: handlesOf(server.pid), megabytes: residentMegabytes(server.pid) }
    let highest = 0
    const watch = setInterval(() => highest = Math.max(highest, residentMegabytes(server.pid)), 50)
    const senders = await crowd(size(600, 9_000))
    const statuses = new Set(senders.map(({ status }) => status()))
    expect(statuses).toContain(503)
    // the first of a great crowd have had their 30 s by now
    expect([undefined, 408, 503]).toEqual(expect.arrayContaining([...statuses]))
    // who has no body, or a short one, is served beside them
    const task = { token: user.access_token, body: { title: "beside them" } }
    having(201, await server.request("POST", "/api/v1/tasks", task))
    for (const { socket } of senders) socket.resetAndDestroy()
    await settled(() => handlesOf(server.pid) <= before.handles + 5, 10_000)
    clearInterval(watch)
    console.log(`F19 ${senders.length} bodies: from ${before.megabytes | 0} MB to ${highest | 0} MB at most`)
    expect(highest - before.megabytes).toBeLessThan(200)

    // and their room is free again
    const next = await crowd(40)
    expect(next.filter(({ status }) => status() !== undefined)).toEqual([])
    for (const { socket } of next) socket.destroy()
    expect(server.lines().filter(({ message }) => message === "defect")).toEqual([])
  }, 3 * patience)
})
