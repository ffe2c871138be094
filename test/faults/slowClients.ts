/** A process of clients that are as slow as they can be. What it is told: SERVER, BEARER, KIND, COUNT and SECONDS, over which they come. */
import { connect, type Socket } from "node:net"
import process from "node:process"
import { setTimeout as pause } from "node:timers/promises"
import { head } from "../http/exchange.ts"

const { BEARER, COUNT, KIND, SECONDS, SERVER } = process.env
const { hostname, port } = new URL(SERVER ?? "")
const bearer = `Authorization: Bearer ${BEARER}`

const dripping = (first: string, drop: string) => (socket: Socket) => {
  socket.resume()
  socket.write(first)
  const timer = setInterval(() => socket.write(drop), 1_000)
  socket.once("close", () => clearInterval(timer))
}

const kinds: Record<string, (socket: Socket) => void> = {
  headers: dripping("GET /health/live HTTP/1.1\r\nHost: a\r\n", "X-A: b\r\n"),
  bodies: dripping(
    head("POST /api/v1/tasks", "Host: a", bearer, "Content-Type: application/json", "Content-Length: 1000"),
    " "
  ),
  // 30 answers of 450 KB that nobody takes: more than any socket has buffers for
  readers: (socket) => void socket.pause().write(head("GET /api/v1/tasks?limit=100", "Host: a", bearer).repeat(30))
}
const talk = kinds[KIND ?? ""]!

const open = () =>
  new Promise<void>((resolve) => {
    const socket = connect({ host: hostname, port: Number(port) }, () => {
      talk(socket)
      resolve()
    })
    socket.on("error", () => resolve())
  })

const all: Array<Promise<void>> = []
for (const begin = performance.now(); all.length < Number(COUNT); await pause(10)) {
  const share = Math.min(1, (performance.now() - begin) / (1_000 * Number(SECONDS)))
  while (all.length < share * Number(COUNT)) all.push(open())
}
await Promise.all(all)
console.log(JSON.stringify({ message: "opened", annotations: {} }))
