/** The benchmark: starts everything that it needs, measures, prints, and leaves nothing behind. */
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { BenchFailed } from "./Children.ts"
import { startLoader } from "./Loader.ts"
import { readOptions } from "./Options.ts"
import { emptyDatabase } from "./Postgres.ts"
import { format, makeReport, type Measurement } from "./Report.ts"
import { seed } from "./Seed.ts"
import { ours, type RunningTarget, startTarget } from "./Targets.ts"

/** Standard output is for the results alone. */
const progress = (line: string) => Effect.sync(() => void process.stderr.write(`${line}\n`))

const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "tasks-api-bench-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)

const bench = Effect.gen(function* () {
  const options = yield* readOptions(process.argv.slice(2))
  const directory = yield* temporaryDirectory
  yield* progress("making a database")
  const databaseUrl = yield* emptyDatabase(directory)
  const environment = { directory, databaseUrl, jwtSecret: randomBytes(32).toString("hex") }

  // this server goes first: it makes the schema and the accounts, which every server then shares
  const target = ours(options.flags)
  yield* progress(`starting ${target.name} (${target.description})`)
  const server = yield* startTarget(target, environment)
  const targets: ReadonlyArray<RunningTarget> = [server]

  yield* progress(`seeding ${options.tasks} tasks a user`)
  const users = yield* seed(`http://127.0.0.1:${server.port}`, databaseUrl, options.tasks)
  const load = yield* startLoader(users)

  const measure = Effect.fnUntraced(function* (target: RunningTarget, endpoint: string, label: string) {
    const { connections, seconds } = options
    const round = yield* load({ endpoint, port: target.port, pid: target.pid, seconds, connections })
    yield* progress(
      `${label}  ${target.name} ${endpoint}: ${round.perSecond.toFixed(0)}/s, ${
        round.cpuMicrosPerRequest.toFixed(0)
      } µs`
    )
    if (round.errors === 0) return { target: target.name, endpoint, round } satisfies Measurement
    return yield* new BenchFailed({
      message: `${round.errors} errors of ${target.name} ${endpoint}: ${round.firstError}\n${target.lastWords()}`
    })
  })

  // servers alternate within a round, so that a slow minute of the machine falls on all of them
  const pairs = options.endpoints.flatMap((endpoint) => targets.map((target) => [target, endpoint] as const))
  const all = (label: string) => Effect.forEach(pairs, ([target, endpoint]) => measure(target, endpoint, label))
  yield* all("warm-up")
  const measurements: Array<Measurement> = []
  for (let round = 1; round <= options.rounds; round++) measurements.push(...yield* all(`${round}/${options.rounds}`))

  const report = makeReport(options, targets, measurements)
  yield* Effect.sync(() =>
    void process.stdout.write(`${options.json ? JSON.stringify(report, null, 2) : format(report)}\n`)
  )
})

Effect.scoped(bench).pipe(
  Effect.tapError(({ message }) => progress(message)),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
