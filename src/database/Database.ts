/** The SqlClient of this process: a PostgreSQL server, or the embedded one. */
import type { PGlite } from "@electric-sql/pglite"
import { PgClient, PgTypes } from "@effect/sql-pg"
import { Effect, Layer, Result } from "effect"
import { Settings } from "../Settings.ts"
import { open, wire } from "./Embedded.ts"

/** bigint arrives as a JavaScript bigint, which JSON refuses: versions and counts stay far below 2^53. */
const types = PgTypes.makeRegistry()
types.register<number>(PgTypes.OID.int8, {
  encode: (value) => {
    const bytes = new Uint8Array(8)
    new DataView(bytes.buffer).setBigInt64(0, BigInt(value))
    return Result.succeed(bytes)
  },
  decode: (bytes) => Result.succeed(Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigInt64(0)))
}, { arrayOid: PgTypes.OID.int8Array })

/**
 * What every session is started with: no statement, lock or open transaction may hold a request for long. A pooler in
 * transaction mode refuses startup parameters, so they are sent only where statements may be prepared.
 */
const startupParameters = {
  timezone: "UTC",
  statement_timeout: "5000",
  lock_timeout: "2000",
  idle_in_transaction_session_timeout: "10000"
}

const server = (
  settings: Settings["Service"],
  url: NonNullable<Settings["Service"]["databaseUrl"]>,
  options: { readonly prepare: boolean; readonly maxConnections: number }
) =>
  PgClient.layer({
    url,
    types,
    applicationName: "tasks-api",
    prepare: options.prepare,
    ...(options.prepare && { startupParameters }),
    ...(settings.databaseCa !== undefined && { ssl: { ca: settings.databaseCa } }),
    maxConnections: options.maxConnections,
    connectTimeout: "5 seconds",
    keepAlive: "30 seconds",
    idleTimeout: "5 minutes"
  })

/** A client of an embedded database that is open already. It has one session, so transactions wait for each other. */
export const embedded = (db: PGlite) =>
  PgClient.layer({
    stream: () => wire(db),
    types,
    username: "postgres",
    database: "postgres",
    maxConnections: 1,
    minConnections: 1,
    idleTimeout: "36500 days"
  })

/** The pool that requests use. */
export const layer = Layer.unwrap(Effect.gen(function* () {
  const settings = yield* Settings
  if (settings.databaseUrl === undefined) return embedded(yield* open(settings.dataDir))
  return server(settings, settings.databaseUrl, {
    prepare: settings.databasePrepare,
    maxConnections: settings.databasePoolSize
  })
}))

/** One session for migrations, past any pooler. Only for a PostgreSQL server. */
export const directLayer = (
  settings: Settings["Service"],
  url: NonNullable<Settings["Service"]["databaseDirectUrl"]>
) => server(settings, url, { prepare: true, maxConnections: 2 })
