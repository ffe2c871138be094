/** Servers that tests start for themselves, from Debian's packages: PostgreSQL with its own settings, and PgBouncer. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { freePort } from "../../scripts/cluster/Processes.ts"
import type { Finished } from "./program.ts"

const versions = "/usr/lib/postgresql"
const newest = existsSync(versions) ? readdirSync(versions).sort((a, b) => Number(a) - Number(b)).at(-1) : undefined
const bin = newest === undefined ? undefined : join(versions, newest, "bin")

export const hasPostgres = bin !== undefined && existsSync(join(bin, "initdb"))

/** Writes a database's schema as statements; undefined: it is not installed. */
export const dumpProgram = bin === undefined ? undefined : join(bin, "pg_dump")

const bouncer = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].find(existsSync)

export const hasBouncer = bouncer !== undefined

// wherever the suite is to prove what they do, it must not be passed over in silence
const missing = [...(hasPostgres ? [] : ["postgresql"]), ...(hasBouncer ? [] : ["pgbouncer"])]
if (missing.length > 0 && process.env["CI"] !== undefined) throw new Error(`missing: ${missing.join(", ")}`)
if (missing.length > 0) console.log(`missing: ${missing.join(", ")}: their tests are skipped`)

/** Neither of them runs as root. */
const asPostgres = (command: string, args: ReadonlyArray<string>): [string, Array<string>] =>
  process.getuid?.() === 0
    ? ["setpriv", ["--reuid=postgres", "--regid=postgres", "--clear-groups", command, ...args]]
    : [command, [...args]]

const run = (command: string, ...args: ReadonlyArray<string>) =>
  void execFileSync(...asPostgres(command, args), { cwd: "/", stdio: "pipe" })

const isOpen = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1")
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false))
    socket.once("connect", () => socket.destroy())
  })

/** A folder in which they may write. */
const folder = (finished: Finished) => {
  const path = mkdtempSync(join(tmpdir(), "tasks-"))
  chmodSync(path, 0o777)
  finished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Starts a program that listens at a port, and waits until it does. */
const listening = async (port: number, command: string, ...args: ReadonlyArray<string>) => {
  const child: ChildProcess = spawn(...asPostgres(command, args), { cwd: "/", stdio: ["ignore", "pipe", "pipe"] })
  let output = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (chunk: string) => {
      output += chunk
    })
  }
  let isOver = false
  const ended = new Promise<void>((resolve) =>
    child.once("close", () => {
      isOver = true
      resolve()
    })
  )
  while (!(await isOpen(port))) {
    if (isOver) throw new Error(`${command} ended:\n${output}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return {
    output: () => output,
    stop: async (signal: NodeJS.Signals) => {
      if (!isOver && child.pid !== undefined) process.kill(child.pid, signal)
      await ended
    }
  }
}

export interface Cluster {
  /** Of a superuser, in the clear; trusted, unless `hba` says otherwise. */
  readonly url: string
  readonly port: number
  /** The folder of its socket. */
  readonly socket: string
  /** Writes files of these names into its folder, which it alone may read; it takes them when it starts. */
  readonly write: (files: Readonly<Record<string, string>>) => void
  /** Ends all sessions and starts again at the same port. */
  readonly restart: () => Promise<void>
  readonly stop: () => Promise<void>
}

/** A PostgreSQL server of the test's own, with these lines of postgresql.conf and pg_hba.conf. */
export const startCluster = async (finished: Finished, options: {
  readonly files?: Readonly<Record<string, string>>
  readonly settings?: Readonly<Record<string, string>>
  readonly hba?: ReadonlyArray<string>
  /** Copies this one's data and follows it, taking no writes until it is promoted. */
  readonly standbyOf?: Cluster
} = {}): Promise<Cluster> => {
  if (bin === undefined) throw new Error("PostgreSQL is not installed")
  const place = folder(finished)
  const data = join(place, "data")
  if (options.standbyOf === undefined) {
    run(join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
  } else run(join(bin, "pg_basebackup"), "-D", data, "-d", options.standbyOf.url, "-R", "-c", "fast", "--no-sync")
  const write: Cluster["write"] = (files) => {
    for (const [name, content] of Object.entries(files)) {
      writeFileSync(join(data, name), content, { mode: 0o600 })
      if (process.getuid?.() === 0) execFileSync("chown", ["postgres:postgres", join(data, name)])
    }
  }
  write(options.files ?? {})
  if (options.hba !== undefined) {
    writeFileSync(
      join(data, "pg_hba.conf"),
      options.hba.map((line) => `${line}\n`).join("")
    )
  }
  const port = await freePort()
  const settings = {
    port: String(port),
    listen_addresses: "127.0.0.1",
    unix_socket_directories: place,
    fsync: "off",
    ...options.settings
  }
  const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
  const isReady = () => {
    try {
      run(join(bin, "pg_isready"), "-h", "127.0.0.1", "-p", String(port))
      return true
    } catch {
      return false
    }
  }
  const start = async () => {
    const server = await listening(port, join(bin, "postgres"), "-D", data, ...args)
    // it listens before it takes anybody
    while (!isReady()) await new Promise((resolve) => setTimeout(resolve, 50))
    return server
  }
  let server = await start()
  finished(() => server.stop("SIGQUIT"))
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    port,
    socket: place,
    write,
    restart: async () => {
      await server.stop("SIGINT")
      server = await start()
    },
    stop: () => server.stop("SIGINT")
  }
}

/** PgBouncer in transaction mode, with so many sessions for all its clients; returns the database's URL by way of it. */
export const startBouncer = async (databaseUrl: string, poolSize: number, finished: Finished): Promise<string> => {
  if (bouncer === undefined) throw new Error("PgBouncer is not installed")
  const { hostname, port: databasePort, username } = new URL(databaseUrl)
  const port = await freePort()
  const ini = join(folder(finished), "pgbouncer.ini")
  writeFileSync(
    ini,
    `[databases]
* = host=${hostname} port=${databasePort || 5432} user=${username}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = ${poolSize}
max_client_conn = 100
`
  )
  const server = await listening(port, bouncer, ini)
  finished(() => server.stop("SIGTERM"))
  const url = new URL(databaseUrl)
  url.host = `127.0.0.1:${port}`
  return url.href
}
