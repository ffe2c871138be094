/** What the instances share, from Debian's packages: each private, and nothing of it is left. */
import { spawnSync } from "node:child_process"
import { chownSync, mkdirSync, readdirSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { freePort, isInstalled, type Process, startProcess, type User } from "./Processes.ts"

/** The programs of the newest PostgreSQL of this machine; Debian has none of them in PATH. */
const postgresPrograms = (): string | undefined => {
  try {
    const versions = readdirSync("/usr/lib/postgresql").map(Number).sort((a, b) => a - b)
    return versions.length === 0 ? undefined : `/usr/lib/postgresql/${versions.at(-1)}/bin`
  } catch {
    return undefined
  }
}

/** Debian's packages that a cluster needs and that are missing here. */
export const missingPackages = (): ReadonlyArray<string> =>
  Object.entries({
    caddy: isInstalled("caddy", "version"),
    postgresql: postgresPrograms() !== undefined,
    "redis-server": isInstalled("redis-server", "--version"),
    "util-linux": isInstalled("setpriv", "--version")
  }).flatMap(([name, isThere]) => isThere ? [] : [name])

/** PostgreSQL refuses to be root. */
const postgresUser = (): User | undefined => {
  if (process.getuid?.() !== 0) return undefined
  const id = (option: string) => Number(spawnSync("id", [option, "postgres"], { encoding: "utf8" }).stdout)
  return { uid: id("-u"), gid: id("-g") }
}

/** A PostgreSQL server with an empty database, on loopback. */
export const startPostgres = async (
  directory: string,
  password: string
): Promise<Process & { readonly url: string }> => {
  const programs = postgresPrograms()
  if (programs === undefined) throw new Error("PostgreSQL is missing")
  const user = postgresUser()
  mkdirSync(directory)
  const passwordFile = join(directory, "password")
  writeFileSync(passwordFile, password, { mode: 0o600 })
  if (user !== undefined) { for (const path of [directory, passwordFile]) chownSync(path, user.uid, user.gid) }
  const data = join(directory, "data")
  const made = spawnSync(
    join(programs, "initdb"),
    [
      "-D",
      data,
      "-U",
      "tasks",
      `--pwfile=${passwordFile}`,
      "-A",
      "scram-sha-256",
      "-E",
      "UTF8",
      "--locale=C.UTF-8",
      "-N"
    ],
    { cwd: directory, encoding: "utf8", timeout: 60_000, ...user }
  )
  if (made.status !== 0) throw new Error(`initdb fails\n${made.stderr}`)
  const port = await freePort()
  // nothing here has to survive a power cut
  const settings = ["listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off"]
  const server = await startProcess({
    name: "PostgreSQL",
    command: join(programs, "postgres"),
    args: ["-D", data, "-p", String(port), "-k", directory, ...settings.flatMap((setting) => ["-c", setting])],
    cwd: directory,
    user,
    ready: "ready to accept connections"
  })
  return { ...server, url: `postgres://tasks:${password}@127.0.0.1:${port}/postgres` }
}

/** A Redis that keeps nothing, on this port of loopback. */
export const startRedis = (port: number, password: string): Promise<Process> =>
  startProcess({
    name: "Redis",
    command: "redis-server",
    args: [
      "--port",
      String(port),
      "--bind",
      "127.0.0.1",
      "--save",
      "",
      "--appendonly",
      "no",
      "--requirepass",
      password
    ],
    cwd: tmpdir(),
    ready: "Ready to accept connections"
  })
