/** A PostgreSQL of the benchmark's own, from the newest version that is installed. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { BenchFailed, freePort, run } from "./Children.ts"

export interface Cluster {
  /** the process whose descendants serve the connections */
  readonly pid: number
  readonly version: string
  /** Makes an empty database, and answers with its URL. */
  readonly create: (name: string) => Effect.Effect<string, BenchFailed>
  readonly drop: (name: string) => Effect.Effect<void, BenchFailed>
  /** Starts it again after it was killed; answers with its new process. */
  readonly restart: Effect.Effect<number, BenchFailed>
  /** How long the log is, and what it has from there on: one JSON object a line. */
  readonly logEnd: () => number
  readonly logFrom: (position: number) => ReadonlyArray<string>
}

/** Runs statements on a database, over one connection. */
export const withSql = <A, E>(url: string, use: (sql: SqlClient.SqlClient) => Effect.Effect<A, E>) =>
  Effect.flatMap(SqlClient.SqlClient, use).pipe(
    Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 })),
    Effect.mapError((error) => new BenchFailed({ message: `the database: ${String(error)}` }))
  )

/** Where Debian puts every version. */
const programs = "/usr/lib/postgresql"

const binaries = Effect.gen(function* () {
  const versions = existsSync(programs) ? readdirSync(programs).sort((a, b) => Number(b) - Number(a)) : []
  const found = versions.map((version) => join(programs, version, "bin")).find((bin) => existsSync(join(bin, "initdb")))
  return found ?? (yield* Effect.mapError(
    Effect.map(run(["pg_config", "--bindir"]), (bin) => bin.trim()),
    () => new BenchFailed({ message: `no PostgreSQL in ${programs}, and no pg_config: install PostgreSQL 15 or later` })
  ))
})

/** As durable as PostgreSQL is by default; but no checkpoint, which would fall on one round and spare another. */
const settings = (port: number, directory: string) =>
  [
    `-p ${port} -k ${directory}`,
    ...[
      "listen_addresses=127.0.0.1",
      "checkpoint_timeout=1h",
      "max_wal_size=16GB",
      // one line a message, so that plans can be read from it
      "logging_collector=on",
      "log_destination=jsonlog",
      `log_directory=${directory}`,
      "log_filename=server.log",
      "log_rotation_age=0",
      "log_rotation_size=0"
    ].map((setting) => `-c ${setting}`)
  ].join(" ")

/** Starts a cluster in an existing directory; it stops when the scope ends. */
export const startCluster = Effect.fnUntraced(function* (directory: string) {
  const bin = yield* binaries
  const isRoot = process.getuid?.() === 0
  // PostgreSQL refuses to run as root
  const asOwner = (program: string, ...args: ReadonlyArray<string>) =>
    run([...(isRoot ? ["runuser", "-u", "postgres", "--"] : []), join(bin, program), ...args], { cwd: directory })
  if (isRoot) yield* run(["chown", "postgres", directory])
  const data = join(directory, "data")
  const port = yield* freePort
  yield* asOwner("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
  const begin = asOwner(
    "pg_ctl",
    "start",
    "-w",
    "-D",
    data,
    "-l",
    join(directory, "start.log"),
    "-o",
    settings(port, directory)
  )
  const pid = () => Number(readFileSync(join(data, "postmaster.pid"), "utf8").split("\n")[0])
  yield* Effect.acquireRelease(
    begin,
    () => Effect.ignore(asOwner("pg_ctl", "stop", "-w", "-m", "immediate", "-D", data))
  )
  const url = (database: string) => `postgres://postgres@127.0.0.1:${port}/${database}`
  const version = yield* withSql(
    url("postgres"),
    (sql) => sql<{ readonly server_version: string }>`show server_version`
  )
  const log = join(directory, "server.json")
  return {
    pid: pid(),
    version: `PostgreSQL ${version[0]?.server_version}`,
    create: (name) => Effect.as(withSql(url("postgres"), (sql) => sql.unsafe(`create database ${name}`)), url(name)),
    drop: (name) => Effect.asVoid(withSql(url("postgres"), (sql) => sql.unsafe(`drop database ${name} with (force)`))),
    restart: Effect.map(begin, pid),
    logEnd: () => existsSync(log) ? statSync(log).size : 0,
    logFrom: (position) =>
      existsSync(log) ? readFileSync(log).subarray(position).toString().split("\n").filter((line) => line !== "") : []
  } satisfies Cluster
})
