/** The database of a run: on a cluster of its own, or on the server that BENCH_DATABASE_URL names. */
import { randomUUID } from "node:crypto"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { BenchFailed, freePort, run } from "./Children.ts"

/** Runs statements on a database, over one connection. */
export const withSql = <A, E>(url: string, use: (sql: SqlClient.SqlClient) => Effect.Effect<A, E>) =>
  Effect.flatMap(SqlClient.SqlClient, use).pipe(
    Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 })),
    Effect.mapError((error) => new BenchFailed({ message: `the database: ${String(error)}` }))
  )

const givenServer = process.env["BENCH_DATABASE_URL"]
const programs = "/usr/lib/postgresql"

/** The newest version that is installed. */
const binaries = Effect.suspend(() => {
  const versions = existsSync(programs) ? readdirSync(programs).sort((a, b) => Number(b) - Number(a)) : []
  const found = versions.map((version) => join(programs, version, "bin")).find((bin) => existsSync(join(bin, "initdb")))
  return found === undefined
    ? Effect.fail(new BenchFailed({ message: `no PostgreSQL in ${programs}: name a server by BENCH_DATABASE_URL` }))
    : Effect.succeed(found)
})

/** As durable as PostgreSQL is by default; but no checkpoint, which would fall on one round and spare another. */
const settings = (port: number, directory: string) =>
  [
    `-p ${port} -k ${directory}`,
    ..."listen_addresses=127.0.0.1 checkpoint_timeout=1h max_wal_size=8GB".split(" ").map((setting) => `-c ${setting}`)
  ].join(" ")

const cluster = Effect.fnUntraced(function* (directory: string) {
  const bin = yield* binaries
  const isRoot = process.getuid?.() === 0
  // PostgreSQL refuses to run as root
  const asOwner = (program: string, ...args: ReadonlyArray<string>) =>
    isRoot
      ? run("runuser", ["-u", "postgres", "--", join(bin, program), ...args], directory)
      : run(join(bin, program), args, directory)
  if (isRoot) yield* run("chown", ["postgres", directory])
  const data = join(directory, "postgres")
  const port = yield* freePort
  yield* asOwner("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
  yield* Effect.acquireRelease(
    asOwner(
      "pg_ctl",
      "start",
      "-w",
      "-D",
      data,
      "-l",
      join(directory, "postgres.log"),
      "-o",
      settings(port, directory)
    ),
    () => Effect.ignore(asOwner("pg_ctl", "stop", "-w", "-m", "immediate", "-D", data))
  )
  return `postgres://postgres@127.0.0.1:${port}/postgres`
})

/** The URL of an empty database, which is dropped when the scope ends. */
export const emptyDatabase = Effect.fnUntraced(function* (directory: string) {
  const server = givenServer || (yield* cluster(directory))
  const name = `bench_${randomUUID().replaceAll("-", "")}`
  yield* Effect.acquireRelease(
    withSql(server, (sql) => sql.unsafe(`create database ${name}`)),
    () => Effect.ignore(withSql(server, (sql) => sql.unsafe(`drop database ${name} with (force)`)))
  )
  const url = new URL(server)
  url.pathname = `/${name}`
  return url.href
})
