/** The servers that are measured. */
import { closeSync, existsSync, openSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Schedule } from "effect"
import { BenchFailed, freePort, root, runtime, start } from "./Children.ts"

/**
 * A server that speaks the contract on PORT of HOST, with the database of DATABASE_URL and the tokens of JWT_SECRET,
 * and answers 200 on `/health/ready` when it can be used.
 */
export interface Target {
  readonly name: string
  /** what is run, for people */
  readonly description: string
  readonly command: ReadonlyArray<string>
}

export interface RunningTarget extends Target {
  readonly port: number
  readonly pid: number
  /** The end of what the server has written. */
  readonly lastWords: () => string
}

/** This server: the production bundle where there is one. */
export const ours = (flags: ReadonlyArray<string>): Target => {
  const script = existsSync(join(root, "dist/main.js")) ? "dist/main.js" : "src/main.ts"
  return { name: "tasks-api", description: [...flags, script].join(" "), command: runtime(script, flags) }
}

/** Starts a server, and waits until it is ready; it stops when the scope ends. */
export const startTarget = Effect.fnUntraced(function* (
  target: Target,
  options: { readonly directory: string; readonly databaseUrl: string; readonly jwtSecret: string }
) {
  const port = yield* freePort
  const log = join(options.directory, `${target.name}.log`)
  const output = yield* Effect.acquireRelease(
    Effect.sync(() => openSync(log, "a")),
    (file) => Effect.sync(() => closeSync(file))
  )
  const child = yield* start(target.command, {
    stdio: ["ignore", output, output],
    env: {
      HOST: "127.0.0.1",
      PORT: String(port),
      DATABASE_URL: options.databaseUrl,
      JWT_SECRET: options.jwtSecret,
      LOG_LEVEL: "info"
    }
  })
  const lastWords = () => readFileSync(log, "utf8").slice(-2_000)
  const failed = () =>
    new BenchFailed({ message: `${target.name} (${target.description}) does not start:\n${lastWords()}` })
  const ready = Effect.tryPromise(async () => {
    if (child.exitCode !== null || child.pid === undefined) return false
    const response = await fetch(`http://127.0.0.1:${port}/health/ready`)
    await response.body?.cancel()
    return response.ok ? true : Promise.reject(new Error("not ready"))
  }).pipe(Effect.retry(Schedule.spaced("50 millis")), Effect.timeout("60 seconds"), Effect.mapError(failed))
  if (!(yield* ready) || child.pid === undefined) return yield* failed()
  const running: RunningTarget = { ...target, port, pid: child.pid, lastWords }
  return running
})
