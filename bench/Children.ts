/** The programs that a benchmark starts. None outlives the scope that it was started in. */
import { type ChildProcess, execFile, spawn, type StdioOptions } from "node:child_process"
import { readFileSync } from "node:fs"
import { createServer } from "node:net"
import { dirname, join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { Data, Effect } from "effect"

/** The run can't go on, or its figures would be worth nothing. */
export class BenchFailed extends Data.TaggedError("BenchFailed")<{ readonly message: string }> {}

/** The folder of the project. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** The runtime that runs this file, as a command for a script. */
export const runtime = (script: string, flags: ReadonlyArray<string> = []): ReadonlyArray<string> => [
  process.execPath,
  ...(process.versions["deno"] === undefined ? [] : ["run", "-A"]),
  ...flags,
  join(root, script)
]

/** Runs a program to its end. */
export const run = (command: string, args: ReadonlyArray<string>, cwd = root): Effect.Effect<string, BenchFailed> =>
  Effect.callback((resume) => {
    execFile(command, args, { cwd }, (error, stdout, stderr) =>
      resume(
        error === null
          ? Effect.succeed(stdout)
          : Effect.fail(new BenchFailed({ message: `${command} ${args.join(" ")}: ${stderr || error.message}` }))
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
  options: { readonly stdio: StdioOptions; readonly env: Record<string, string> }
) => {
  // what a program needs to run at all; no setting of whoever runs the benchmark
  const { HOME = "", PATH = "" } = process.env
  const { env, stdio } = options
  return Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(command, args, { cwd: root, stdio, env: { HOME, PATH, ...env } })
      // a program that can't be started is one that has exited, which is noticed where its answer is awaited
      child.on("error", () => {})
      return child
    }),
    (child) => Effect.promise(() => stopped(child))
  )
}

/** A port of 127.0.0.1 that nobody listens on. */
export const freePort: Effect.Effect<number> = Effect.callback((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

/** CPU time of a process so far with all its threads, in microseconds; Linux counts it in ticks of 10 ms. */
export const cpuMicros = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  // the program's name, in parentheses, may hold spaces
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return (Number(fields[11]) + Number(fields[12])) * 10_000
}

/** Resident memory of a process in bytes. */
export const residentBytes = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024
