/** The benchmark: starts everything that it needs, measures, prints, and leaves nothing behind. */
import process from "node:process"
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { startLoader } from "./load/Loader.ts"
import { BenchFailed } from "./machine/Children.ts"
import { readOptions } from "./Options.ts"
import { floodSection } from "./parts/Flood.ts"
import { growthSections } from "./parts/Growth.ts"
import { measureMemory } from "./parts/Memory.ts"
import { runRounds, startPeers } from "./parts/Rounds.ts"
import { roundsSection } from "./parts/RoundsReport.ts"
import { format, keep, type Section } from "./Report.ts"
import { prepare, progress, type Run } from "./Run.ts"
import { seed } from "./seed/Seed.ts"
import { startServer } from "./targets/Servers.ts"
import { ours } from "./targets/Targets.ts"

const tell = (run: Run, section: Section) =>
  Effect.sync(() => {
    process.stdout.write(`${format(section)}\n`)
    if (run.options.out !== undefined) keep(run.options.out, section, run.provenance)
  })

/** The parts that share one database: many users, each with many tasks. */
const withUsers = Effect.fnUntraced(function* (run: Run) {
  const { parts, tasks, users: count } = run.options
  const databaseUrl = yield* run.cluster.create("bench")
  // this server goes first: it makes the schema and the tokens, which every server then shares
  const server = yield* startServer(run.target, run.on(databaseUrl))
  yield* progress(`seeding ${count} users with ${tasks} tasks each`)
  const [users = []] = yield* seed(server.url, databaseUrl, [{ prefix: "user", users: count, tasks }])
  const loader = yield* startLoader
  loader.use(users)
  let failures: ReadonlyArray<string> = []
  if (parts.includes("rounds")) {
    const { notes, started } = yield* startPeers(run, databaseUrl)
    const { before, targets } = run.options
    const own = targets.includes(server.name) ? [server] : []
    const other = before === undefined
      ? []
      : [yield* startServer({ ...ours(before, []), name: "before" }, run.on(databaseUrl))]
    const rounds = yield* runRounds(run, loader, [...own, ...other, ...started], notes)
    yield* tell(run, roundsSection(rounds, run.options))
    failures = rounds.notes.filter((note) => note.startsWith(`Failed: ${server.name}`))
  }
  if (parts.includes("flood")) yield* tell(run, yield* floodSection(run, loader, server, users, databaseUrl))
  if (parts.includes("memory")) yield* tell(run, yield* measureMemory(run, loader, databaseUrl, users))
  return failures
})

const bench = Effect.gen(function* () {
  const options = yield* readOptions(process.argv.slice(2))
  const run = yield* prepare(options)
  const failures = options.parts.some((part) => part !== "growth") ? yield* Effect.scoped(withUsers(run)) : []
  if (options.parts.includes("growth")) {
    for (const section of yield* growthSections(run)) yield* tell(run, section)
  }
  if (failures.length > 0) return yield* new BenchFailed({ message: failures.join("\n") })
})

Effect.scoped(bench).pipe(
  Effect.tapError(({ message }) => progress(message)),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
