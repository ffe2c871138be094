/** The programs that a benchmark starts. None outlives the scope that it was started in. */
import { type ChildProcess, execFile, spawn, type StdioOptions } from "node:child_process"
import { dirname } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { Data, Effect } from "effect"
import * as Processes from "../../scripts/cluster/Processes.ts"

/** The run can't go on, or its figures would be worth nothing. */
export class BenchFailed extends Data.TaggedError("BenchFailed")<{ readonly message: string }> {}

/** The folder of the project. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** Node, which the image runs: this one, or the first one of PATH where Deno runs this. */
export const node = process.versions["deno"] === undefined ? process.execPath : "node"

/** The runtime that runs this file, as a command for a script of the project. */
export const runtime = (script: string): ReadonlyArray<string> => [
  process.execPath,
  ...(process.versions["deno"] === undefined ? [] : ["run", "-A"]),
  script
]

/** What a program needs to run at all; no setting of whoever runs the benchmark. */
const inherited = (): Record<string, string> =>
  Object.fromEntries(
    ["HOME", "PATH", "TMPDIR", "LANG"].flatMap((name) => {
      const value = process.env[name]
      return value === undefined ? [] : [[name, value]]
    })
  )

/** Runs a program to its end, and answers with what it has printed. */
export const run = (
  [command = "", ...args]: ReadonlyArray<string>,
  options: { readonly cwd?: string; readonly env?: Record<string, string> } = {}
): Effect.Effect<string, BenchFailed> =>
  Effect.callback((resume) => {
    const { cwd = root, env } = options
    const limits = { maxBuffer: 2 ** 26, env: env === undefined ? process.env : { ...inherited(), ...env } }
    execFile(command, args, { cwd, ...limits }, (error, stdout, stderr) =>
      resume(
        error === null ? Effect.succeed(stdout) : Effect.fail(
          new BenchFailed({ message: `${command} ${args.join(" ")}: ${stderr.trim() || error.message}` })
        )
      ))
  })

/** Tells a program to stop, and kills it where it has not stopped 10 s later. */
const stopped = (child: ChildProcess): Promise<void> =>
  new Promise((done) => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return done()
    const kill = setTimeout(() => child.kill("SIGKILL"), 10_000)
    child.once("exit", () => {
      clearTimeout(kill)
      done()
    })
    child.kill("SIGTERM")
  })

/** A program that runs until the scope ends. */
export const start = (
  [command = "", ...args]: ReadonlyArray<string>,
  options: { readonly stdio: StdioOptions; readonly env: Record<string, string>; readonly cwd?: string }
) => {
  const { cwd = root, env, stdio } = options
  return Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(command, args, { cwd, stdio, env: { ...inherited(), ...env } })
      // a program that can't be started is one that has exited, which is noticed where its answer is awaited
      child.on("error", () => {})
      return child
    }),
    (child) => Effect.promise(() => stopped(child))
  )
}

/** A port of 127.0.0.1 that nobody listens on. */
export const freePort: Effect.Effect<number> = Effect.promise(Processes.freePort)
