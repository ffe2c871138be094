/**
 * A guard for CI: fails when this server takes far more CPU time for a request than it did, told by the bare peer in the
 * same few seconds, so that neither the machine nor who else uses it matters. `deno task bench:guard`.
 */
import process from "node:process"
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { startLoader } from "./load/Loader.ts"
import { BenchFailed } from "./machine/Children.ts"
import { readOptions } from "./Options.ts"
import { runRounds, startPeers } from "./parts/Rounds.ts"
import { ratios } from "./parts/RoundsReport.ts"
import { ratio, table } from "./Report.ts"
import { prepare, progress } from "./Run.ts"
import { seed } from "./seed/Seed.ts"
import { startServer } from "./targets/Servers.ts"

/** CPU time against the bare peer's: a little less than twice what was measured (1.7, 1.9, 2.5), so that doubling it is seen. */
const limits: Readonly<Record<string, number>> = { list: 3.2, get: 3.4, create: 4.5 }

const peer = "bare"
const options = [
  ...["--rounds", "3", "--seconds", "1", "--connections", "50", "--users", "20", "--tasks", "500"],
  ...["--targets", peer, "--endpoints", Object.keys(limits).join(",")]
]

const guard = Effect.gen(function* () {
  const run = yield* prepare(yield* readOptions(options))
  const { tasks, users: count } = run.options
  const databaseUrl = yield* run.cluster.create("guard")
  const server = yield* startServer(run.target, run.on(databaseUrl))
  const [users = []] = yield* seed(server.url, databaseUrl, [{ prefix: "user", users: count, tasks }])
  const loader = yield* startLoader
  loader.use(users)
  const { notes, started } = yield* startPeers(run, databaseUrl)
  const rounds = yield* runRounds(run, loader, [server, ...started], notes)

  const rows = Object.entries(limits).map(([endpoint, limit]) => ({
    endpoint,
    limit,
    measured: ratios(rounds.measurements, server.name, peer, endpoint)
  }))
  const lines = table([
    ["endpoint", `CPU time against ${peer}`, "least–greatest", "limit"],
    ...rows.map(({ endpoint, limit, measured }) => [
      endpoint,
      ratio(measured?.median ?? NaN),
      measured === undefined ? "–" : `${measured.least.toFixed(2)}–${measured.greatest.toFixed(2)}`,
      ratio(limit)
    ])
  ])
  yield* Effect.sync(() => void process.stdout.write(`${lines.join("\n")}\n`))
  // what could not be measured is no success; without /proc the ratio is NaN, and is none either
  const bad = rows.filter(({ limit, measured }) => !((measured?.median ?? NaN) <= limit))
  if (bad.length > 0) {
    const names = bad.map(({ endpoint }) => endpoint).join(", ")
    return yield* new BenchFailed({
      message: [`beyond the limit, or not measured: ${names}`, ...rounds.notes].join("\n")
    })
  }
})

Effect.scoped(guard).pipe(
  Effect.tapError(({ message }) => progress(message)),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
