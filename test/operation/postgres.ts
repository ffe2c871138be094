/** The PostgreSQL server of the tests, and what happens to one: sessions end, locks are held, the network fails. */
import { randomUUID } from "node:crypto"
import { connect, createServer, type Server, type Socket } from "node:net"
import process from "node:process"
import { PgClient } from "@effect/sql-pg"
import { Effect, ManagedRuntime, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { freePort } from "../../scripts/cluster/Processes.ts"
import type { Finished } from "./program.ts"

/** A superuser's URL of the PostgreSQL server on which each test makes a database; undefined: there is none. */
export const testDatabaseUrl = process.env["TEST_DATABASE_URL"] || undefined

export interface Session {
  readonly sql: <Row = Record<string, unknown>>(text: string, params?: ReadonlyArray<unknown>) => Promise<Array<Row>>
  readonly close: () => Promise<void>
}

export interface TestDatabase extends Session {
  readonly url: string
}

/** Waits until so many statements of this database wait for a lock. */
export const untilLocked = async ({ sql }: Pick<Session, "sql">, count = 1): Promise<void> => {
  const query = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
  const end = Date.now() + 10_000
  while ((await sql(query)).length < count) {
    if (Date.now() > end) throw new Error("no statement waits for a lock")
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** One session of its own: a transaction that it begins stays open until it ends it. */
export const connectTo = (url: string, finished: Finished): Session => {
  const runtime = ManagedRuntime.make(PgClient.layer({ url: Redacted.make(url), maxConnections: 1, minConnections: 1 }))
  let closing: Promise<void> | undefined
  const close = () => closing ??= runtime.dispose()
  finished(close)
  return {
    sql: (text, params = []) =>
      runtime.runPromise(Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(text, params))) as Promise<
        Array<never>
      >,
    close
  }
}

/** An empty database and a session on it. */
export const emptyDatabase = async (finished: Finished): Promise<TestDatabase> => {
  if (testDatabaseUrl === undefined) throw new Error("TEST_DATABASE_URL is not set")
  const name = `test_${randomUUID().replaceAll("-", "")}`
  const admin = connectTo(testDatabaseUrl, finished)
  await admin.sql(`create database ${name}`)
  finished(async () => {
    await session.close()
    await admin.sql(`drop database ${name} with (force)`)
  })
  const url = new URL(testDatabaseUrl)
  url.pathname = `/${name}`
  const session = connectTo(url.href, finished)
  return { ...session, url: url.href }
}

/** What a network does to connections that it carries, in both directions, by the names of toxiproxy. */
export interface Toxic {
  /** Milliseconds until bytes go on: this many, and up to `jitter` more or less. */
  readonly latency?: number
  readonly jitter?: number
  /** Bytes a second. */
  readonly bandwidth?: number
  /** Bytes that go on together, each such piece a millisecond after the one before it. */
  readonly slice?: number
  /** Ends a connection once this many bytes have come back. */
  readonly limitData?: number
  /** Resets a connection this many milliseconds after the first bytes. */
  readonly resetPeer?: number
}

/** A network between a server and its database that can fail. */
export interface Proxy {
  /** The database's URL by way of the proxy. */
  readonly url: string
  /** Ends every connection and refuses new ones. */
  readonly cut: () => Promise<void>
  /** Lets connections stand and new ones begin, and nothing through. */
  readonly hold: () => void
  /** Lets nothing through on the connections that there are, and everything on new ones. */
  readonly forget: () => void
  /** Lets everything through to the database, and nothing back. */
  readonly loseAnswers: () => void
  /** Brings new connections to another server, as an address that moves does; those that there are stay. */
  readonly aim: (databaseUrl: string) => void
  /** Goes on, badly. */
  readonly suffer: (toxic: Toxic) => void
  readonly restore: () => Promise<void>
}

const later = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

export const startProxy = async (databaseUrl: string, finished: Finished): Promise<Proxy> => {
  let target = new URL(databaseUrl)
  const sockets = new Set<Socket>()
  const forgotten = new WeakSet<Socket>()
  let held = false
  let answersLost = false
  let toxic: Toxic | undefined
  let server: Server | undefined
  /** Carries bytes on, in their order, as slowly and as far as the network lets them. */
  const carry = (pair: readonly [Socket, Socket], to: Socket) => {
    let [line, passed, isDoomed] = [Promise.resolve(), 0, false]
    const slowly = async (bytes: Uint8Array, { bandwidth, jitter = 0, latency = 0, limitData, slice }: Toxic) => {
      if (latency > 0) await later(latency + (2 * Math.random() - 1) * jitter)
      const left = limitData === undefined || to !== pair[0] ? bytes.length : Math.max(0, limitData - passed)
      passed += bytes.length
      const size = slice ?? (bandwidth === undefined ? bytes.length : Math.ceil(bandwidth / 20))
      for (let at = 0; at < Math.min(left, bytes.length); at += size) {
        const piece = bytes.subarray(at, Math.min(at + size, left))
        if (bandwidth !== undefined) await later(1000 * piece.length / bandwidth)
        else if (slice !== undefined) await later(1)
        to.write(piece)
      }
      if (left < bytes.length) { for (const socket of pair) socket.destroySoon() }
    }
    return (bytes: Uint8Array) => {
      const now = toxic
      if (now?.resetPeer !== undefined && !isDoomed) {
        isDoomed = true
        setTimeout(() => pair.forEach((socket) => socket.resetAndDestroy()), now.resetPeer)
      }
      // what was sent before goes first
      line = line.then(() => now === undefined ? void to.write(bytes) : slowly(bytes, now))
    }
  }
  const through = (client: Socket) => {
    const upstream = connect(Number(target.port || 5432), target.hostname)
    const pair = [client, upstream] as const
    for (const socket of pair) {
      sockets.add(socket)
      socket.on("error", () => {})
      socket.on("close", () => {
        sockets.delete(socket)
        for (const other of pair) other.destroy()
      })
    }
    // what arrives while the network is held is lost to the other side, as in a partition that outlives its sockets
    const [ask, answer] = [carry(pair, upstream), carry(pair, client)]
    client.on("data", (bytes) => held || forgotten.has(client) || ask(bytes))
    upstream.on("data", (bytes) => held || answersLost || forgotten.has(upstream) || answer(bytes))
  }
  // no other may have it while it is cut
  const port = await freePort()
  const listen = () =>
    new Promise<void>((resolve, reject) => {
      server = createServer(through).once("error", reject)
      server.listen(port, "127.0.0.1", resolve)
    })
  const cut = () =>
    new Promise<void>((resolve) => {
      if (server === undefined) return resolve()
      server.close(() => resolve())
      server = undefined
      for (const socket of sockets) socket.destroy()
    })
  await listen()
  finished(cut)
  const url = new URL(databaseUrl)
  url.host = `127.0.0.1:${port}`
  return {
    url: url.href,
    cut,
    hold: () => {
      held = true
    },
    forget: () => sockets.forEach((socket) => forgotten.add(socket)),
    loseAnswers: () => {
      answersLost = true
    },
    aim: (databaseUrl) => {
      target = new URL(databaseUrl)
    },
    suffer: (next) => {
      toxic = next
    },
    restore: async () => {
      toxic = undefined
      if (held || answersLost) { for (const socket of sockets) socket.destroy() }
      held = answersLost = false
      if (server === undefined) await listen()
    }
  }
}
