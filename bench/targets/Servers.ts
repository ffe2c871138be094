/** Targets that run. */
import { closeSync, existsSync, openSync, readFileSync } from "node:fs"
import { get } from "node:http"
import { join } from "node:path"
import { performance } from "node:perf_hooks"
import { Effect } from "effect"
import { BenchFailed, freePort, root, run, runtime, start } from "../machine/Children.ts"
import { missing, type Target } from "./Targets.ts"

export interface Server extends Target {
  readonly port: number
  readonly url: string
  readonly pid: number
  /** milliseconds from its start to its first good answer */
  readonly startMillis: number
  /** The end of what the server has written. */
  readonly lastWords: () => string
}

export interface Environment {
  /** where the logs are */
  readonly directory: string
  /** undefined: whatever the target takes by itself */
  readonly databaseUrl: string | undefined
  readonly jwtSecret: string
}

/** The production bundle in a folder of its own, as `Dockerfile` makes it. */
export const assemble = Effect.fnUntraced(function* (folder: string) {
  yield* run([...runtime("node_modules/rolldown/bin/cli.mjs"), "-c", "rolldown.config.ts"])
  yield* run(["bash", "scripts/assemble.sh", folder])
  return folder
})

/** Installs a target where that was not done yet. */
export const install = Effect.fnUntraced(function* (target: Target) {
  const reason = missing(target)
  if (reason !== undefined) return yield* new BenchFailed({ message: reason })
  if (target.installed === undefined || existsSync(join(target.folder, target.installed))) return
  for (const command of target.install) yield* run(command, { cwd: target.folder })
})

/** Asks until somebody answers; no keep-alive, so that a refused connection leaves nothing behind. */
const isUp = (url: string, takesAnyAnswer: boolean): Promise<boolean> =>
  new Promise((done) => {
    get(url, { agent: false, timeout: 2_000 }, (response) => {
      response.resume()
      done(takesAnyAnswer || response.statusCode === 200)
    }).on("error", () => done(false))
  })

/** Starts a server, and waits until it is ready; it stops when the scope ends. */
export const startServer = Effect.fnUntraced(function* (target: Target, environment: Environment) {
  const { databaseUrl, directory, jwtSecret } = environment
  const port = yield* freePort
  const log = join(directory, `${target.name}.log`)
  const output = yield* Effect.acquireRelease(
    Effect.sync(() => openSync(log, "a")),
    (file) => Effect.sync(() => closeSync(file))
  )
  const begin = performance.now()
  const child = yield* start(target.command, {
    cwd: target.folder,
    stdio: ["ignore", output, output],
    env: {
      PORT: String(port),
      JWT_SECRET: jwtSecret,
      ...(databaseUrl !== undefined && { DATABASE_URL: databaseUrl, DATABASE_POOL_SIZE: poolSize }),
      ...target.env
    }
  })
  const lastWords = () => readFileSync(log, "utf8").slice(-1_000)
  const url = `http://127.0.0.1:${port}`
  const ready = Effect.promise(async () => {
    while (child.exitCode === null && child.pid !== undefined && performance.now() - begin < patience) {
      if (await isUp(`${url}/health/ready`, target.isUpOnAnyAnswer)) return performance.now() - begin
      await new Promise((done) => setTimeout(done, 5))
    }
    return undefined
  })
  const startMillis = yield* ready
  if (startMillis === undefined || child.pid === undefined) {
    return yield* new BenchFailed({ message: `${target.name} (${target.description}) does not start:\n${lastWords()}` })
  }
  return { ...target, port, url, pid: child.pid, startMillis, lastWords } satisfies Server
})

/** Milliseconds for a start, which may make a whole database. */
const patience = 60_000
/** For every target; the default of this server. */
const poolSize = "10"

/** The default start: the source, by the runtime that runs this, with the embedded database in `dataDir`. */
export const source = (dataDir: string): Target => ({
  name: "tasks-api-source",
  description: "src/main.ts with the embedded database",
  folder: root,
  install: [],
  installed: undefined,
  command: runtime("src/main.ts"),
  // a load is more than one user may ask for
  env: { DATA_DIR: dataDir, RATE_LIMITS: "off" },
  isUpOnAnyAnswer: false
})
