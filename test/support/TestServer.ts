/** The complete server, in this process, on a real database: only the edge (port, log, settings) is the test's. */
import "effect/schema/SchemaJITCompiler/enable"
import { randomUUID } from "node:crypto"
import { PGlite } from "@electric-sql/pglite"
import { PgClient } from "@effect/sql-pg"
import { Duration, Effect, Layer, Logger, ManagedRuntime, Redacted } from "effect"
import { HttpServer } from "effect/http"
import { SqlClient, Statement } from "effect/sql"
import process from "node:process"
import { afterAll, beforeAll } from "vitest"
import * as Database from "../../src/database/Database.ts"
import { migrate } from "../../src/database/Migrations.ts"
import { RequestInfo } from "../../src/http/RequestInfo.ts"
import * as Server from "../../src/Server.ts"
import { read, Settings } from "../../src/Settings.ts"
import { Reminders } from "../../src/tasks/Reminders.ts"
import { Purge, type Purged } from "../../src/workers/Purge.ts"
import { Pauses } from "../../src/workers/Workers.ts"
import { actorOf, install, signed, violation } from "./RowSecurity.ts"

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** the body, where it is JSON */
  // deno-lint-ignore no-explicit-any -- tests look into answers that may be anything
  readonly json: any
}

export interface Account {
  readonly id: string
  readonly email: string
  readonly password: string
  readonly access_token: string
  readonly refresh_token: string
}

export type SentStatement = readonly [text: string, params: ReadonlyArray<unknown>]

export interface TestServer {
  readonly url: string
  readonly secret: string
  /** Runs a statement as the owner of the tables, who may look at everybody's rows. */
  readonly sql: <Row = Record<string, unknown>>(text: string, params?: ReadonlyArray<unknown>) => Promise<Array<Row>>
  /** Runs a statement as the server does in a request: of this user, or of nobody yet. */
  readonly sqlFor: <Row = Record<string, unknown>>(
    userId: string | undefined,
    text: string,
    params?: ReadonlyArray<unknown>
  ) => Promise<Array<Row>>
  readonly logs: () => string
  /** The statements that this server sends for requests while something runs, with their parameters. */
  readonly statements: (run: () => Promise<unknown>) => Promise<ReadonlyArray<SentStatement>>
  /** one run of the worker that takes away what has had its time */
  readonly purge: () => Promise<Purged>
  /** one run of the worker that delivers the reminders whose time has come */
  readonly remind: () => Promise<void>
  readonly request: (method: string, path: string, options?: {
    readonly token?: string
    readonly body?: unknown
    readonly headers?: Record<string, string>
    readonly raw?: string | Uint8Array
  }) => Promise<Answer>
  /** Stops this instance and starts it on the same database with these settings added. */
  readonly restart: (env: Record<string, string>) => Promise<void>
  readonly register: (overrides?: Record<string, unknown>) => Promise<Account>
}

/** A PostgreSQL server, on which every test file makes a database of its own; undefined: the embedded one. */
const testDatabaseUrl = process.env["TEST_DATABASE_URL"] || undefined

/** Whether statements are checked by row-level security: see RowSecurity.ts. */
export const hasRowSecurity = testDatabaseUrl !== undefined && process.env["TEST_ROW_SECURITY"] === "1"

/** One embedded database for all files of a worker: starting it costs more than most files' tests. */
let shared: Promise<PGlite> | undefined

const emptyEmbedded = async (): Promise<PGlite> => {
  const db = await (shared ??= PGlite.create())
  await db.exec("drop schema public cascade; create schema public")
  return db
}

/** On a PostgreSQL server, the server may connect as another role than the owner of the tables. */
type Place = { readonly url: string; readonly ownerUrl: string } | { readonly db: PGlite }

const secret = "a test secret with more than 32 bytes in it"

const settings = (env: Record<string, string>) =>
  Layer.effect(Settings, read({ PORT: "0", JWT_SECRET: secret, LOG_FORMAT: "json", RATE_LIMITS: "off", ...env }))

/** Nothing goes but by the test's own `purge`: one at a random moment would take what the test counts. */
const noPurge = Layer.succeed(Pauses, { ...Pauses.defaultValue(), purge: Duration.infinity })

/** One connection, set up as those of the server are. */
const connection = (url: string) =>
  Database.layer.pipe(Layer.provideMerge(settings({ DATABASE_URL: url, DATABASE_POOL_SIZE: "1" })))

const emptyDatabase = async (): Promise<{ readonly place: Place; readonly drop: () => Promise<void> }> => {
  const name = `test_${randomUUID().replaceAll("-", "")}`
  const urlFor = (role?: string) => {
    const url = new URL(testDatabaseUrl!)
    url.pathname = `/${name}`
    if (role !== undefined) url.username = role
    return url.href
  }
  const admin = (...statements: ReadonlyArray<string>) =>
    Effect.runPromise(
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        for (const statement of statements) yield* sql.unsafe(statement)
      }).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(testDatabaseUrl!), maxConnections: 1 })))
    )
  const dropped = `drop database ${name} with (force)`
  if (!hasRowSecurity) {
    await admin(`create database ${name}`)
    return { place: { url: urlFor(), ownerUrl: urlFor() }, drop: () => admin(dropped) }
  }
  const [role, owner] = [`${name}_server`, `${name}_owner`]
  const password = decodeURIComponent(new URL(testDatabaseUrl!).password).replaceAll("'", "''")
  await admin(
    `create role ${role} login password '${password}'`,
    `create role ${owner} login password '${password}'`,
    `create database ${name} owner ${owner}`
  )
  await Effect.runPromise(Effect.provide(migrate, [connection(urlFor(owner)), Logger.layer([])]))
  await Effect.runPromise(Effect.provide(install(role, owner), connection(urlFor())))
  return {
    place: { url: urlFor(role), ownerUrl: urlFor(owner) },
    drop: () => admin(dropped, `drop role ${role}`, `drop role ${owner}`)
  }
}

/** One instance of the server, which `start` starts on a database. */
const makeServer = (env: Record<string, string>) => {
  const lines: Array<string> = []
  let recorded: Array<SentStatement> | undefined
  let url = ""
  let stop = () => Promise.resolve()
  let restart: TestServer["restart"] = () => Promise.reject(new Error("not started"))
  let run: <A, E>(effect: Effect.Effect<A, E, SqlClient.SqlClient | Purge | Reminders>) => Promise<A> = () =>
    Promise.reject(new Error("not started"))
  let runAsOwner: <A, E>(effect: Effect.Effect<A, E, SqlClient.SqlClient>) => Promise<A> = (effect) => run(effect)

  const start = async (place: Place, added: Record<string, string> = {}) => {
    if ("db" in place) await place.db.exec("deallocate all")
    const database = "url" in place ? Database.layer : Database.embedded(place.db)
    const log = Logger.layer([Logger.map(Logger.formatJson, (line) => void lines.push(line))])
    const record = Layer.succeed(Statement.CurrentTransformer, (statement, sql, fiber, span) => {
      if (actorOf(fiber) !== "worker") recorded?.push(statement.compile())
      return hasRowSecurity ? signed(statement, sql, fiber, span) : Effect.succeed(statement)
    })
    const runtime = ManagedRuntime.make(
      Server.layer.pipe(
        Layer.provideMerge(database),
        Layer.provideMerge(settings({
          ...("url" in place && { DATABASE_URL: place.url, DATABASE_DIRECT_URL: place.ownerUrl }),
          ...env,
          ...added
        })),
        Layer.provide(log),
        Layer.provide(noPurge),
        Layer.provideMerge(record)
      )
    )
    url = await runtime.runPromise(
      Effect.map(HttpServer.HttpServer, ({ address }) => HttpServer.formatAddress(address))
    )
    run = (effect) => runtime.runPromise(effect)
    stop = () => runtime.dispose()
    if ("url" in place && hasRowSecurity) {
      const owner = ManagedRuntime.make(connection(place.ownerUrl))
      runAsOwner = (effect) => owner.runPromise(effect)
      stop = async () => {
        await owner.dispose()
        await runtime.dispose()
      }
    }
    restart = async (added) => {
      await stop()
      await start(place, added)
    }
  }

  const request: TestServer["request"] = async (method, path, options = {}) => {
    const body = options.raw ?? (options.body === undefined ? undefined : JSON.stringify(options.body))
    const response = await fetch(url + path, {
      method,
      redirect: "manual",
      headers: {
        ...(options.body !== undefined && { "content-type": "application/json" }),
        ...(options.token !== undefined && { authorization: `Bearer ${options.token}` }),
        ...options.headers
      },
      ...(body !== undefined && { body: body as string | Uint8Array<ArrayBuffer> })
    })
    const text = await response.text()
    const isJson = /[/+]json/.test(response.headers.get("content-type") ?? "")
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: isJson && text !== "" ? JSON.parse(text) : undefined
    }
  }

  const server: TestServer = {
    get url() {
      return url
    },
    secret,
    purge: () => run(Effect.flatMap(Purge, ({ run }) => run)),
    remind: () => run(Effect.flatMap(Reminders, ({ deliver }) => deliver)),
    sql: (text, params = []) =>
      runAsOwner(Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(text, params))) as Promise<Array<never>>,
    sqlFor: (userId, text, params = []) =>
      run(Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const info = { ...yield* RequestInfo, id: "of a test", userId }
        return yield* Effect.provideService(sql.unsafe(text, params), RequestInfo, info)
      })) as Promise<Array<never>>,
    logs: () => lines.join("\n"),
    restart: (added) => restart(added),
    statements: async (run) => {
      const statements: Array<SentStatement> = recorded = []
      await run()
      recorded = undefined
      return statements
    },
    request,
    register: async (overrides = {}) => {
      const registration = {
        email: `${randomUUID()}@example.com`,
        password: "correct horse battery staple",
        ...overrides
      }
      const { json, status, text } = await request("POST", "/api/v1/auth/register", { body: registration })
      if (status !== 201) throw new Error(`not registered: ${status} ${text}`)
      const { access_token, refresh_token, user } = json
      return { ...registration, id: user.id, access_token, refresh_token }
    }
  }
  return { server, start, stop: () => stop() }
}

/**
 * Starts complete servers on one empty database before the file's tests, and stops them after them. `env` adds
 * settings. An embedded database serves one process only, so there all of them are the same one. To be called at the
 * top level of a test file.
 */
export const useServers = <const Count extends 1 | 2>(
  count: Count,
  env: Record<string, string> = {}
): Count extends 1 ? readonly [TestServer] : readonly [TestServer, TestServer] => {
  const made = Array.from({ length: testDatabaseUrl === undefined ? 1 : count }, () => makeServer(env))
  let drop = () => Promise.resolve()
  beforeAll(async () => {
    const own = testDatabaseUrl === undefined ? undefined : await emptyDatabase()
    const place = own?.place ?? { db: await emptyEmbedded() }
    if (own !== undefined) drop = own.drop
    for (const { start } of made) await start(place)
  })
  afterAll(async () => {
    for (const { stop } of made) await stop()
    await drop()
    // an answer may hide it: a test that expects a failure, or an endpoint that has none to give
    for (const { server } of made) {
      const found = server.logs().split("\n").filter((line) => line.includes(violation))
      if (found.length > 0) throw new Error(found.join("\n"))
    }
  })
  const servers = Array.from({ length: count }, (_, i) => made[i % made.length]!.server)
  return servers as never
}

/** One server; see useServers. */
export const useServer = (env: Record<string, string> = {}): TestServer => useServers(1, env)[0]
