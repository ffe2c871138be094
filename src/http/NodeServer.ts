/** The HTTP server of node:http (Deno has it too), with a limit on everything a client can draw out. */
import {
  createServer,
  IncomingMessage,
  type RequestListener,
  type Server,
  ServerResponse,
  STATUS_CODES
} from "node:http"
import type { Socket } from "node:net"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { problemCatalog, type ProblemCode } from "../api/ProblemCatalog.ts"
import { Settings } from "../Settings.ts"
import { securityHeaders } from "./SecurityHeaders.ts"

/** Milliseconds and bytes. Keep-alive is longer than the 60 s that load balancers keep idle connections for. */
const limits = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 1_000,
  keepAliveTimeout: 65_000,
  /** of a connection on which nothing moves while a request is answered: longer than any takes, and than streams rest */
  timeout: 25_000,
  /** requests that may be sent on a connection before the first of them is answered */
  pipelined: 32,
  maxHeaderSize: 16 * 1024
}

/** A request that could not be read has no route and no handler: it is answered on its socket. */
const codes: Record<string, ProblemCode> = {
  HPE_HEADER_OVERFLOW: "headers_too_large",
  ERR_HTTP_REQUEST_TIMEOUT: "request_timeout"
}

const refuse = (run: (effect: Effect.Effect<void>) => void) => (error: NodeJS.ErrnoException, socket: Socket) => {
  if (!socket.writable || error.code === "ECONNRESET") return void socket.destroy()
  const code = codes[error.code ?? ""] ?? "malformed_request"
  const { meaning, status, title } = problemCatalog[code]
  const id = SecureRandom.uuidV7Unsafe()
  run(
    Effect.logInfo("request").pipe(Effect.annotateLogs({
      event: "request",
      request_id: id,
      method: "none",
      route: "none",
      status,
      address: socket.remoteAddress ?? null
    }))
  )
  const body = JSON.stringify({ type: `/problems/${code}`, title, status, detail: meaning, code, request_id: id })
  socket.end([
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    "content-type: application/problem+json",
    `content-length: ${Buffer.byteLength(body)}`,
    ...Object.entries(securityHeaders).map(([name, value]) => `${name}: ${value}`),
    `x-request-id: ${id}`,
    "connection: close",
    "",
    body
  ].join("\r\n"))
}

/** The server listens before what answers is complete: until then requests are held. */
const holdEarlyRequests = (server: Server) => {
  const early: Array<Parameters<RequestListener>> = []
  const hold: RequestListener = (request, response) => void early.push([request, response])
  server.on("request", hold)
  server.on("newListener", (event, listener) => {
    if (event !== "request") return
    server.off("request", hold)
    setImmediate(() => early.splice(0).forEach((held) => listener.apply(server, held)))
  })
}

/**
 * A connection that was reset has no address any more, and its requests, which are already here, would be nobody's. What
 * was asked for once is remembered; who is gone by then is asked for nothing.
 */
const rememberAddresses = (server: Server) => {
  server.on("connection", (socket) => {
    if (socket.remoteAddress === undefined) socket.destroy()
  })
}

/** Once a server closes, nobody watches connections that never sent a whole head: they end with it. */
const endSilentConnections = (server: Server) => {
  const silent = new Set<Socket>()
  server.on("connection", (socket) => silent.add(socket.once("close", () => silent.delete(socket))))
  server.on("request", ({ socket }, response) => {
    silent.delete(socket)
    response.once("close", () => socket.destroyed || silent.add(socket))
  })
  const close = server.close.bind(server)
  server.close = (callback) => {
    for (const socket of silent) socket.destroy()
    return close(callback)
  }
}

/**
 * One request of a connection at a time. A client that sends many and reads no answer would have all of them computed,
 * and kept here, at once.
 */
const answerInTurn = (server: Server) => {
  const waiting = new WeakMap<Socket, Array<() => void>>()
  const emit = server.emit.bind(server)
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    response.once("close", () => {
      const turns = waiting.get(request.socket)
      const next = turns?.shift()
      if (next === undefined) waiting.delete(request.socket)
      else if (!request.socket.destroyed) next()
    })
    return emit("request", request, response)
  }
  server.on("connection", (socket) => socket.once("close", () => waiting.delete(socket)))
  server.emit = (event: string, ...args: ReadonlyArray<unknown>) => {
    const [request, response] = args
    if (event !== "request" || !(request instanceof IncomingMessage) || !(response instanceof ServerResponse)) {
      return emit(event, ...args)
    }
    const turns = waiting.get(request.socket)
    if (turns === undefined) {
      waiting.set(request.socket, [])
      return answer(request, response)
    }
    if (turns.push(() => answer(request, response)) > limits.pipelined) request.socket.destroy()
    return true
  }
}

/**
 * Every request is an ordinary one. Were there a listener for upgrades, Node would take the connections of requests that
 * ask for one off this server, and with them all limits; no protocol is offered. Were there one for `Expect`, such requests
 * would go past what is done here with others.
 */
const ignoreUpgradesAndExpectations = (server: Server) => {
  server.on("newListener", (event, listener) => {
    if (event !== "upgrade" && event !== "checkContinue") return
    // before anything is received
    queueMicrotask(() => server.off(event, listener))
  })
  server.on("checkExpectation", (request, response) => void server.emit("request", request, response))
}

const make = (run: (effect: Effect.Effect<void>) => void) => (): Server => {
  const server = createServer(limits)
  server.timeout = limits.timeout
  server.maxRequestsPerSocket = 1_000
  server.maxConnections = 10_000
  server.on("clientError", refuse(run))
  rememberAddresses(server)
  endSilentConnections(server)
  holdEarlyRequests(server)
  answerInTurn(server)
  ignoreUpgradesAndExpectations(server)
  return server
}

export const layer = Layer.unwrap(Effect.gen(function* () {
  const { host, port, workers } = yield* Settings
  const run = Effect.runForkWith(yield* Effect.context<never>())
  return NodeHttpServer.layer(make(run), {
    host,
    port,
    reusePort: workers > 1,
    gracefulShutdownTimeout: "20 seconds"
  })
}))
