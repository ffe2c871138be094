/** The PostgreSQL server of the tests, and what happens to one: sessions end, locks are held, the network fails. */
import { randomUUID } from "node:crypto"
import { connect, createServer, type Server, type Socket } from "node:net"
import process from "node:process"
import { PgClient } from "@effect/sql-pg"
import { Effect, ManagedRuntime, Redacted } from "effect"
import { SqlClient } from "effect/sql"
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

/** A network between a server and its database that can fail. */
export interface Proxy {
  /** The database's URL by way of the proxy. */
  readonly url: string
  /** Ends every connection and refuses new ones. */
  readonly cut: () => Promise<void>
  /** Lets connections stand and new ones begin, and nothing through. */
  readonly hold: () => void
  /** Lets everything through to the database, and nothing back. */
  readonly loseAnswers: () => void
  readonly restore: () => Promise<void>
}

export const startProxy = async (databaseUrl: string, finished: Finished): Promise<Proxy> => {
  const target = new URL(databaseUrl)
  const sockets = new Set<Socket>()
  let held = false
  let answersLost = false
  let server: Server | undefined
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
    client.on("data", (bytes) => held || upstream.write(bytes))
    upstream.on("data", (bytes) => held || answersLost || client.write(bytes))
  }
  const listen = (port: number) =>
    new Promise<number>((resolve, reject) => {
      server = createServer(through).once("error", reject)
      server.listen(port, "127.0.0.1", () => {
        const address = server?.address()
        resolve(typeof address === "object" && address !== null ? address.port : 0)
      })
    })
  const cut = () =>
    new Promise<void>((resolve) => {
      if (server === undefined) return resolve()
      server.close(() => resolve())
      server = undefined
      for (const socket of sockets) socket.destroy()
    })
  const port = await listen(0)
  finished(cut)
  const url = new URL(databaseUrl)
  url.host = `127.0.0.1:${port}`
  return {
    url: url.href,
    cut,
    hold: () => {
      held = true
    },
    loseAnswers: () => {
      answersLost = true
    },
    restore: async () => {
      if (held || answersLost) { for (const socket of sockets) socket.destroy() }
      held = answersLost = false
      if (server === undefined) await listen(port)
    }
  }
}
