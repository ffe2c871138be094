/** The real program in a process of its own, run by the runtime that runs the tests. */
import { type ChildProcess, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { PGlite } from "@electric-sql/pglite"
import { afterAll } from "vitest"
import { send } from "../http/exchange.ts"
import type { Account, Answer } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import { emptyDatabase, testDatabaseUrl } from "./postgres.ts"

/** Registers what must be done when the test is over, however it ends; vitest gives it to each test. */
export type Finished = (work: () => Promise<void> | void) => void

/** A line of the log. */
export interface Line {
  readonly message: string
  readonly level: string
  readonly timestamp: string
  readonly annotations: Readonly<Record<string, unknown>>
}

/** How a process ended. */
export interface Ending {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Process {
  readonly pid: number | undefined
  readonly stdout: () => string
  readonly lines: () => ReadonlyArray<Line>
  /** Resolves with the first line of the log that has this message; fails if the process ends without it. */
  readonly logged: (message: string) => Promise<Line>
  readonly kill: (signal: NodeJS.Signals) => void
  /** Takes nothing of its standard output any more, until told to. */
  readonly read: (isRead: boolean) => void
  /** Closes its standard output at this end: whoever writes to it then is told that nobody reads (EPIPE). */
  readonly hangUp: () => void
  readonly ended: Promise<Ending>
}

export interface Program extends Process {
  readonly url: string
  /** A request on a connection of its own. */
  readonly request: (method: string, path: string, options?: {
    readonly token?: string
    /** sent as JSON, or as the form that it is */
    readonly body?: unknown
    readonly headers?: Record<string, string>
  }) => Promise<Answer>
  readonly register: () => Promise<Account>
}

/** What `finished` is for a whole file: call it at the top level of a test file. */
export const useFinished = (): Finished => {
  const works: Array<() => Promise<void> | void> = []
  afterAll(async () => {
    for (const work of works.reverse()) await work()
  }, patience)
  return (work) => void works.push(work)
}

const root = fileURLToPath(new URL("../..", import.meta.url))

/** Starting and stopping on a machine that is busy with other tests. */
export const patience = 60_000

const parsed = (line: string): ReadonlyArray<Line> => {
  try {
    return [JSON.parse(line)]
  } catch {
    return []
  }
}

/** Starts a script of the project; nothing of the developer's environment reaches its settings. */
export const launch = (script: string, env: Record<string, string>, finished: Finished): Process => {
  const inherited = Object.fromEntries(["PATH", "HOME", "TMPDIR", "DENO_DIR"].flatMap((name) => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value]]
  }))
  const args = "Deno" in globalThis ? ["run", "-A", script] : [script]
  const child: ChildProcess = spawn(process.execPath, args, {
    cwd: root,
    env: {
      ...inherited,
      LOG_FORMAT: "json",
      // which production refuses
      ...(env["APP_ENV"] !== "production" && { RATE_LIMITS: "off" }),
      ...env
    },
    stdio: ["ignore", "pipe", "pipe"]
  })
  let stdout = ""
  let stderr = ""
  const waiting = new Set<() => void>()
  child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
    stdout += chunk
    for (const look of waiting) look()
  })
  child.stderr?.setEncoding("utf8").on("data", (chunk: string) => {
    stderr += chunk
  })
  const ended = new Promise<Ending>((resolve, reject) => {
    child.once("error", reject)
    child.once("close", (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
  finished(async () => {
    child.kill("SIGKILL")
    await ended
  })
  const lines = () => stdout.split("\n").flatMap(parsed)
  const logged = (message: string) =>
    new Promise<Line>((resolve, reject) => {
      const look = () => {
        const line = lines().find((line) => line.message === message)
        if (line === undefined) return
        waiting.delete(look)
        resolve(line)
      }
      waiting.add(look)
      look()
      ended.then(({ code, signal }) =>
        reject(new Error(`ended with ${code ?? signal} without the line "${message}"\n${stdout}\n${stderr}`))
      )
    })
  const kill = (signal: NodeJS.Signals) => {
    // not by child.kill: after that, Deno says the signal ended the process, whatever it really ended with
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) process.kill(child.pid, signal)
  }
  const read = (isRead: boolean) => void (isRead ? child.stdout?.resume() : child.stdout?.pause())
  const hangUp = () => void child.stdout?.destroy()
  return { pid: child.pid, read, hangUp, stdout: () => stdout, lines, logged, kill, ended }
}

/** Starts the server and waits until it listens. */
export const start = async (env: Record<string, string>, finished: Finished): Promise<Program> => {
  const child = launch("src/main.ts", { PORT: "0", ...env }, finished)
  const url = String((await child.logged("listening")).annotations["address"])
  const request: Program["request"] = (method, path, { body, headers, token } = {}) => {
    const isForm = body instanceof URLSearchParams
    return send({ url }, method, path, {
      headers: {
        ...(body !== undefined &&
          { "content-type": isForm ? "application/x-www-form-urlencoded" : "application/json" }),
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...headers
      },
      ...(body !== undefined && { body: isForm ? body.toString() : JSON.stringify(body) })
    })
  }
  const register = async (): Promise<Account> => {
    const registration = {
      email: `${randomBytes(12).toString("hex")}@example.com`,
      password: "lantern orbit 47 velvet"
    }
    const { json } = having(201, await request("POST", "/api/v1/auth/register", { body: registration }))
    return { ...registration, id: json.user.id, access_token: json.access_token, refresh_token: json.refresh_token }
  }
  return { ...child, url, request, register }
}

/** Runs a script of the project to its end. */
export const run = (script: string, env: Record<string, string>, finished: Finished): Promise<Ending> =>
  launch(script, env, finished).ended

/** An empty directory. */
export const emptyDirectory = (finished: Finished): string => {
  const directory = mkdtempSync(join(tmpdir(), "tasks-"))
  finished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** The files of an embedded database without any table: making them takes seconds, copying them does not. */
const template = join(root, "node_modules/.cache/empty-database")

const makeTemplate = async (): Promise<void> => {
  const directory = `${template}-${randomBytes(4).toString("hex")}`
  mkdirSync(directory, { recursive: true })
  const db = await PGlite.create({ dataDir: join(directory, "postgres") })
  await db.close()
  try {
    renameSync(directory, template)
  } catch {
    // another worker was faster
    rmSync(directory, { recursive: true })
  }
}

/** A data directory whose embedded database has no tables yet. */
export const emptyDataDir = async (finished: Finished): Promise<string> => {
  const directory = emptyDirectory(finished)
  if (!existsSync(template)) await makeTemplate()
  cpSync(template, directory, { recursive: true })
  return directory
}

/** Settings with which a server finds an empty database: one of the PostgreSQL server of the tests, or an embedded one. */
export const emptyPlace = async (finished: Finished): Promise<Record<string, string>> =>
  testDatabaseUrl === undefined ? { DATA_DIR: await emptyDataDir(finished) } : {
    DATA_DIR: emptyDirectory(finished),
    DATABASE_URL: (await emptyDatabase(finished)).url,
    JWT_SECRET: randomBytes(32).toString("hex")
  }
