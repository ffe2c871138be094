/** The SqlClient of this process: a PostgreSQL server, or the embedded one. */
import type { PGlite } from "@electric-sql/pglite"
import { PgClient, PgTypes } from "@effect/sql-pg"
import { Effect, Layer, Redacted, Result } from "effect"
import { SqlClient } from "effect/sql"
import { Settings } from "../Settings.ts"
import * as Client from "./Client.ts"
import { open, wire } from "./Embedded.ts"
import { ofVariable } from "./Failures.ts"
import { Reads } from "./Reads.ts"

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

/** How sessions read and write dates, whatever the server, the database or the role says. */
const dates = { timezone: "UTC", datestyle: "ISO, YMD" }
/** What the sessions of requests are started with. */
const limits = {
  ...dates,
  // compiling a statement takes longer than most of them: 15 ms, also where the part that made it look long never runs
  jit: "off",
  // no statement, lock or open transaction may hold a request for long
  statement_timeout: "5000",
  lock_timeout: "2000",
  idle_in_transaction_session_timeout: "10000"
}

/** Those of sessions that have no limits, whatever the database or the role says. */
const unlimited = { ...dates, statement_timeout: "0", lock_timeout: "0", idle_session_timeout: "0" }

/** Statements that share a connection where they do: more of them wait longer for each other. */
const statementsOnTheWay = 8

/** One client for everything. */
const alone = <E, R>(client: Layer.Layer<SqlClient.SqlClient, E, R>) =>
  Layer.effect(Reads, SqlClient.SqlClient).pipe(Layer.provideMerge(client))

const connection = (
  settings: Settings["Service"],
  url: NonNullable<Settings["Service"]["databaseUrl"]>
) => {
  const { searchParams } = new URL(Redacted.value(url))
  const hasTls = settings.databaseCa !== undefined && searchParams.get("sslmode") !== "disable"
  return {
    url,
    types,
    ...(!searchParams.has("application_name") && { applicationName: "tasks-api" }),
    ...(hasTls && { ssl: { ca: settings.databaseCa } }),
    connectTimeout: "5 seconds",
    keepAlive: "30 seconds",
    idleTimeout: "5 minutes"
  } as const
}

/** A client of an embedded database that is open already. It has one session, so transactions wait for each other. */
export const embedded = (db: PGlite) =>
  alone(Client.layer({
    stream: () => wire(db),
    types,
    username: "postgres",
    database: "postgres",
    maxConnections: 1,
    minConnections: 1,
    idleTimeout: "36500 days"
  }))

/** The pools that requests use. */
export const layer = Layer.unwrap(Effect.gen(function* () {
  const settings = yield* Settings
  if (settings.databaseUrl === undefined) return embedded(yield* open(settings.dataDir))
  const size = settings.databasePoolSize
  const options = connection(settings, settings.databaseUrl)
  // a pooler in transaction mode, where statements can't be prepared, refuses startup parameters
  if (!settings.databasePrepare) {
    return alone(Client.layer({ ...options, prepare: false, maxConnections: size, transactionSettings: limits }))
  }
  const limited = { ...options, startupParameters: limits }
  if (size === 1) return alone(Client.layer({ ...limited, maxConnections: size }))
  const shared = Math.ceil(size / 4)
  const reads = Client.layer({
    ...limited,
    maxConnections: shared,
    multiplex: true,
    multiplexConcurrency: statementsOnTheWay
  })
  return Layer.merge(
    Client.layer({ ...limited, maxConnections: size - shared }),
    Layer.effect(Reads, SqlClient.SqlClient).pipe(Layer.provide(reads))
  )
}))

/**
 * Sessions past any pooler, for LISTEN, which is idle most of the time, and for migrations, which take the time that they
 * need.
 */
export const directLayer = (
  settings: Settings["Service"],
  url: NonNullable<Settings["Service"]["databaseDirectUrl"]>
) => PgClient.layer({ ...connection(settings, url), maxConnections: 2, startupParameters: unlimited })

/** Requests reach the database by way of a pooler. */
export const isPooled = ({ databaseDirectUrl: direct, databaseUrl: url }: Settings["Service"]) =>
  direct !== undefined && url !== undefined && Redacted.value(direct) !== Redacted.value(url)

/** Runs what takes the time that it needs in sessions without limits; the embedded database has no others. */
export const directly = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const settings = yield* Settings
    if (settings.databaseDirectUrl === undefined) return yield* ofVariable("DATA_DIR")(self)
    return yield* self.pipe(
      Effect.provide(directLayer(settings, settings.databaseDirectUrl)),
      ofVariable(isPooled(settings) ? "DATABASE_DIRECT_URL" : "DATABASE_URL")
    )
  })
