import { type Agent, request as httpRequest } from "node:http"
import { request as httpsRequest } from "node:https"
import { connect, type Socket } from "node:net"
import type { Answer } from "../support/TestServer.ts"

interface Target {
  readonly url: string
}

interface Server extends Target {
  /** the certificate to trust where the URL is of https */
  readonly ca?: string
  /** keeps connections; without one, each request has its own */
  readonly agent?: Agent
  /** the address of this machine to come from, of version 4 */
  readonly localAddress?: string
}

/** One request by node:http or node:https: any method, no header of its own but Host, no redirect followed. */
export const send = (
  { agent, ca, localAddress, url }: Server,
  method: string,
  path: string,
  options: { readonly headers?: Record<string, string>; readonly body?: string | Uint8Array } = {}
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const { hostname, port, protocol } = new URL(url)
    const length = options.body === undefined ? {} : { "content-length": String(Buffer.byteLength(options.body)) }
    const request = (protocol === "https:" ? httpsRequest : httpRequest)({
      hostname,
      port,
      method,
      path,
      agent: agent ?? false,
      ...(ca !== undefined && { ca, servername: hostname }),
      ...(localAddress !== undefined && { localAddress, family: 4 }),
      headers: { ...length, ...options.headers }
    }, (response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk: Buffer) => chunks.push(chunk))
      response.on("error", reject)
      response.on("end", () => {
        const headers = new Headers()
        for (const [name, value] of Object.entries(response.headersDistinct)) {
          for (const one of value ?? []) headers.append(name, one)
        }
        const text = Buffer.concat(chunks).toString()
        resolve({ status: response.statusCode ?? 0, headers, text, json: parsed(text) })
      })
    })
    request.on("error", reject)
    request.end(options.body)
  })

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** What came back on a socket. */
export interface Received {
  readonly text: string
  /** Status of each answer on the connection, in order. */
  readonly statuses: ReadonlyArray<number>
  /** Whether the server had closed the connection by the deadline. */
  readonly closed: boolean
  /** Bytes that were handed to the socket. */
  readonly written: number
}

/** Runs `talk` on a new connection, then collects all that arrives until the server closes or the deadline passes. */
export const converse = (
  { url }: Target,
  talk: (
    socket: Socket,
    state: { readonly answered: () => boolean; readonly answers: () => number }
  ) => Promise<void> | void,
  deadlineMs = 12_000
): Promise<Received> =>
  new Promise((resolve) => {
    const { hostname, port } = new URL(url)
    const chunks: Array<Buffer> = []
    const socket = connect({ host: hostname, port: Number(port) })
    const received = () => {
      const text = Buffer.concat(chunks).toString("latin1")
      const statuses = [...text.matchAll(/HTTP\/1\.[01] (\d{3})/g)].map((match) => Number(match[1]))
      return { text, statuses }
    }
    const finish = (closed: boolean) => {
      clearTimeout(timer)
      resolve({ ...received(), closed, written: socket.bytesWritten })
      socket.destroy()
    }
    const timer = setTimeout(() => finish(false), deadlineMs)
    socket.on("data", (chunk: Buffer) => chunks.push(chunk))
    socket.on("error", () => {})
    socket.on("close", () => finish(true))
    socket.on("connect", () => {
      void talk(socket, {
        answered: () => chunks.length > 0 || socket.destroyed,
        answers: () => socket.destroyed ? Infinity : received().statuses.length
      })
    })
  })

/** Sends these bytes at once and waits for the server to close. */
export const sendBytes = (target: Target, bytes: string | Uint8Array, deadlineMs?: number): Promise<Received> =>
  converse(target, (socket) => {
    socket.write(bytes)
  }, deadlineMs)

/** The text of a request's head. */
export const head = (requestLine: string, ...headers: ReadonlyArray<string>): string =>
  [`${requestLine} HTTP/1.1`, ...headers, "", ""].join("\r\n")

/** The value of a header in raw text, whatever its case. */
export const headerIn = (text: string, name: string): string | undefined =>
  new RegExp(`^${name}: *(.*?)\\r?$`, "im").exec(text)?.[1]
