/**
 * A network between a server and PostgreSQL that reads what passes (the frontend/backend protocol, chapter 55 of
 * PostgreSQL's manual), so that a test can stop it at a point that it names. For connections without TLS.
 */
import { type AddressInfo, connect, createServer, type Socket } from "node:net"

/** A statement, by its text: the database has not seen it yet, or it has answered and the server has not seen that. */
export interface Point {
  readonly sql: RegExp
  readonly when: "asked" | "answered"
}

/** Connections that wait at a point. */
export interface Stop {
  /** Resolves once as many wait as were asked for; whoever comes to the point after them is let through. */
  readonly reached: Promise<void>
  /** Lets them go on. */
  readonly release: () => void
  /** Ends them on both sides, without a word. What was let through before still arrives. */
  readonly cut: () => void
}

export interface WireProxy {
  /** The database's URL by way of the proxy. */
  readonly url: string
  /** Makes the next `count` connections that come to the point wait there. */
  readonly stopAt: (point: Point, count: number) => Stop
  readonly close: () => void
}

type Connection = Pick<Stop, "release" | "cut">
type IsStop = (self: Connection, at: Point["when"], sql: string) => boolean

/** Cuts bytes into messages: a letter, which a client's first one has not, a length that counts itself, the rest. */
const messages = (from: "client" | "database", take: (type: string, message: Buffer) => void) => {
  let rest: Buffer = Buffer.alloc(0)
  let isStarted = from === "database"
  return (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk])
    for (;;) {
      const begin = isStarted ? 1 : 0
      const end = rest.length < begin + 4 ? Infinity : begin + rest.readInt32BE(begin)
      if (rest.length < end) return
      const message = rest.subarray(0, end)
      rest = rest.subarray(end)
      take(isStarted ? message.toString("latin1", 0, 1) : "start", message)
      isStarted = true
    }
  }
}

/** The first two texts of a message, each of which a zero byte ends. */
const textsOf = (message: Buffer) => message.toString("utf8", 5).split("\0", 2) as [string, string]

/** One connection; `isStop` tells whether it has to wait where it is. */
const relay = (client: Socket, database: Socket, isStop: IsStop) => {
  /** what is to be written once this connection goes on; undefined while it does */
  let held: Array<() => unknown> | undefined
  const write = (to: Socket, bytes: Array<Buffer>) => {
    if (held === undefined) to.write(Buffer.concat(bytes))
    else held.push(() => to.write(Buffer.concat(bytes)))
  }
  const self: Connection = {
    release: () => {
      for (const write of held ?? []) write()
      held = undefined
    },
    cut: () => {
      client.destroySoon()
      database.destroySoon()
    }
  }

  const [prepared, unanswered] = [new Map<string, string>(), new Array<string>()]
  let sql = ""
  let asked: Array<Buffer> = []
  client.on(
    "data",
    messages("client", (type, message) => {
      asked.push(message)
      const [first, second] = textsOf(message)
      if (type === "P") prepared.set(first, second)
      if (type === "B") sql = prepared.get(second) ?? ""
      if (type === "Q") sql = first
      // Parse, Bind, Describe, Execute and Close go on together with the Sync that ends them
      if (/^[PBDEC]$/.test(type)) return
      if (/^[SQ]$/.test(type)) {
        unanswered.push(sql)
        if (isStop(self, "asked", sql)) held ??= []
      }
      write(database, asked)
      asked = []
    })
  )

  let answer: Array<Buffer> = []
  database.on(
    "data",
    messages("database", (type, message) => {
      answer.push(message)
      // an answer ends with ReadyForQuery
      if (type !== "Z" && unanswered.length > 0) return
      const sql = type === "Z" ? unanswered.shift() : undefined
      if (sql !== undefined && isStop(self, "answered", sql)) held ??= []
      write(client, answer)
      answer = []
    })
  )
}

export const startWireProxy = async (databaseUrl: string): Promise<WireProxy> => {
  const url = new URL(databaseUrl)
  const [port, hostname] = [Number(url.port || 5432), url.hostname]
  const sockets = new Set<Socket>()
  const stops = new Set<IsStop>()
  const server = createServer((client) => {
    const pair = [client, connect(port, hostname)] as const
    for (const socket of pair) {
      sockets.add(socket)
      socket.on("error", () => {})
      socket.on("close", () => {
        sockets.delete(socket)
        for (const other of pair) other.destroySoon()
      })
    }
    relay(...pair, (self, at, sql) => [...stops].some((isStop) => isStop(self, at, sql)))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const stopAt = (point: Point, count: number): Stop => {
    const waiting = new Set<Connection>()
    const { promise: reached, resolve } = Promise.withResolvers<void>()
    const isStop: IsStop = (self, at, sql) => {
      if (at !== point.when || !point.sql.test(sql.trim())) return false
      if (waiting.add(self).size < count) return true
      stops.delete(isStop)
      resolve()
      return true
    }
    stops.add(isStop)
    const all = (does: keyof Connection) => () => waiting.forEach((connection) => connection[does]())
    return { reached, release: all("release"), cut: all("cut") }
  }
  const close = () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  return { url: url.href, stopAt, close }
}
