/**
 * A client of HTTP/1.1 for load alone: one request at a time over one socket, and of an answer no more is read than
 * where it ends. It costs a fraction of node:http, so that the load leaves the machine to the server.
 */
import { connect, type Socket } from "node:net"

export interface Answer {
  readonly status: number
  readonly headers: string
  readonly body: () => string
}

/** Milliseconds; a server that hangs must not hang the run. */
const patience = 20_000

const headEnd = "\r\n\r\n"
const lastChunk = "\r\n0\r\n\r\n"

const unchunked = (text: string): string => {
  let rest = text
  let whole = ""
  for (;;) {
    const line = rest.indexOf("\r\n")
    const size = parseInt(rest.slice(0, line), 16)
    if (!(size > 0)) return whole
    whole += rest.slice(line + 2, line + 2 + size)
    rest = rest.slice(line + 4 + size)
  }
}

export class Connection {
  readonly #port: number
  #socket: Socket | undefined
  #received: Buffer | undefined
  #waiting: { readonly done: (answer: Answer) => void; readonly failed: (error: Error) => void } | undefined

  constructor(port: number) {
    this.#port = port
  }

  /** Sends a request as it stands; the socket is opened where there is none. */
  ask(request: string): Promise<Answer> {
    return new Promise((done, failed) => {
      this.#waiting = { done, failed }
      this.#received = undefined
      this.#socket ??= this.#open()
      this.#socket.write(request)
    })
  }

  close() {
    this.#socket?.destroy()
    this.#socket = undefined
  }

  #open(): Socket {
    const socket = connect({ port: this.#port, host: "127.0.0.1", noDelay: true })
    const gone = (error: Error) => {
      if (this.#socket !== socket) return
      this.#socket = undefined
      socket.destroy()
      this.#waiting?.failed(error)
      this.#waiting = undefined
    }
    return socket.setTimeout(patience)
      .on("timeout", () => gone(new Error("timeout")))
      .on("error", gone)
      .on("close", () => gone(new Error("the server has closed the connection")))
      .on("data", (bytes) => this.#take(bytes))
  }

  #take(bytes: Buffer) {
    const all = this.#received === undefined ? bytes : Buffer.concat([this.#received, bytes])
    this.#received = all
    const end = all.indexOf(headEnd)
    if (end < 0 || this.#waiting === undefined) return
    const head = all.toString("latin1", 0, end)
    const status = Number(head.slice(9, 12))
    const begin = end + headEnd.length
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
    const isChunked = length === undefined && status !== 204 && status !== 304
    const isWhole = isChunked
      ? all.toString("latin1", Math.max(end + 2, all.length - lastChunk.length)) === lastChunk
      : all.length >= begin + Number(length ?? 0)
    if (!isWhole) return
    const { done } = this.#waiting
    this.#waiting = undefined
    this.#received = undefined
    if (/\r\nconnection: *close/i.test(head)) this.close()
    done({
      status,
      headers: head,
      body: () => isChunked ? unchunked(all.toString("utf8", begin)) : all.toString("utf8", begin)
    })
  }
}
