/** The HTTP server of node:http (Deno has it too), with a limit on everything a client can draw out. */
import { createServer, type Server, STATUS_CODES } from "node:http"
import type { Socket } from "node:net"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { problemCatalog, type ProblemCode } from "../api/ProblemCatalog.ts"
import { Settings } from "../Settings.ts"

/** Milliseconds and bytes. Keep-alive is longer than the 60 s that load balancers keep idle connections for. */
const limits = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 1_000,
  keepAliveTimeout: 65_000,
  maxHeaderSize: 16 * 1024
}

/** A request that could not be read has no route and no handler: it is answered on its socket. */
const codes: Record<string, ProblemCode> = {
  HPE_HEADER_OVERFLOW: "headers_too_large",
  ERR_HTTP_REQUEST_TIMEOUT: "request_timeout"
}

const refuse = (error: NodeJS.ErrnoException, socket: Socket) => {
  if (!socket.writable || error.code === "ECONNRESET") return void socket.destroy()
  const code = codes[error.code ?? ""] ?? "malformed_request"
  const { meaning, status, title } = problemCatalog[code]
  const id = SecureRandom.uuidV7Unsafe()
  const body = JSON.stringify({ type: `/problems/${code}`, title, status, detail: meaning, code, request_id: id })
  socket.end([
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    "content-type: application/problem+json",
    `content-length: ${Buffer.byteLength(body)}`,
    "x-content-type-options: nosniff",
    "cache-control: no-store",
    `x-request-id: ${id}`,
    "connection: close",
    "",
    body
  ].join("\r\n"))
}

const make = (): Server => {
  const server = createServer(limits)
  server.maxRequestsPerSocket = 1_000
  server.maxConnections = 10_000
  server.on("clientError", refuse)
  return server
}

export const layer = Layer.unwrap(
  Effect.map(
    Settings,
    ({ host, port }) => NodeHttpServer.layer(make, { host, port, gracefulShutdownTimeout: "20 seconds" })
  )
)
