/** Several processes that share a port, one for each core that may be used. */
import { type ChildProcess, fork } from "node:child_process"
import { createServer } from "node:net"
import process from "node:process"
import { Data, Effect, Layer } from "effect"
import * as Database from "./database/Database.ts"
import { migrate } from "./database/Migrations.ts"
import { Settings } from "./Settings.ts"

/** How a process is told that it is one of several. */
const role = "worker"
export const isWorker = process.argv[2] === role

/** A process that ends earlier has a fault of its own, which another start would only repeat. */
const shortestLife = 5_000

class WorkerEnded extends Data.TaggedError("WorkerEnded")<{ readonly code: string }> {
  override get message() {
    return `a worker ended with ${this.code} soon after its start`
  }
}

/** The processes share their port, so it has to be known before the first of them listens. */
const choosePort = (settings: Settings["Service"]) =>
  settings.port !== 0 ? Effect.succeed(settings.port) : Effect.callback<number>((resume) => {
    const server = createServer().listen(0, settings.host, () => {
      const address = server.address()
      server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
    })
  })

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

const end = (child: ChildProcess) =>
  Effect.callback<void>((resume) => {
    if (hasEnded(child) || child.pid === undefined) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    // not by child.kill: after that, Deno says the signal ended the process, whatever it really ended with
    process.kill(child.pid, "SIGTERM")
  })

/** One process, for ever: another one takes the place of one that ended. */
const keep = (port: number) =>
  Effect.gen(function* () {
    const begin = performance.now()
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => fork(process.argv[1]!, [role], { env: { ...process.env, PORT: String(port) } })),
      end
    )
    const code = yield* Effect.callback<string>((resume) => {
      child.once("exit", (code, signal) => resume(Effect.succeed(String(code ?? signal))))
    })
    if (performance.now() - begin < shortestLife) return yield* new WorkerEnded({ code })
    yield* Effect.logError("a worker ended, another one takes its place").pipe(Effect.annotateLogs({ code }))
  }).pipe(Effect.scoped, Effect.forever)

/** Migrates once, then keeps as many processes as the setting says; they end together. */
export const supervise = Effect.gen(function* () {
  const settings = yield* Settings
  yield* migrate.pipe(Effect.provide(Database.layer))
  const port = yield* choosePort(settings)
  yield* Effect.logInfo("supervising").pipe(Effect.annotateLogs({ workers: settings.workers, port }))
  return yield* Effect.all(Array.from({ length: settings.workers }, () => keep(port)), { concurrency: "unbounded" })
})

/** A worker whose supervisor is gone has nobody who would end it. */
export const endWithSupervisor = Layer.effectDiscard(Effect.sync(() => {
  if (isWorker) process.once("disconnect", () => process.kill(process.pid, "SIGTERM"))
}))
