/**
 * A long steady load, about 70 % of what the machine gives, while every minute all sessions with the database are
 * ended (F26 and F2 of test/faults/README.md). Memory, handles and latencies are read each minute; where one of them
 * climbs, this fails. `deno task soak --minutes 60 --out bench/SOAK.md` keeps the result.
 */
import { readdirSync, writeFileSync } from "node:fs"
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os"
import process from "node:process"
import { parseArgs } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { startLoader } from "../bench/load/Loader.ts"
import type { StreamResult } from "../bench/load/Order.ts"
import { median } from "../bench/load/Statistics.ts"
import { BenchFailed } from "../bench/machine/Children.ts"
import { withSql } from "../bench/machine/Postgres.ts"
import { residentMegabytes } from "../bench/machine/Processes.ts"
import { readOptions } from "../bench/Options.ts"
import { figure, type Provenance, table } from "../bench/Report.ts"
import { prepare, progress } from "../bench/Run.ts"
import { seed } from "../bench/seed/Seed.ts"
import { startServer } from "../bench/targets/Servers.ts"

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "60" },
    connections: { type: "string", default: "50" },
    share: { type: "string", default: "0.7" },
    out: { type: "string", default: "" }
  }
})
const [minutes, connections, share] = [Number(values.minutes), Number(values.connections), Number(values.share)]

/** What people do most. */
const mixed = ["list", "list", "list", "get", "get", "create", "update", "complete"]
/** Minutes of which a trend can be told. */
const fewest = 5
/** Seconds in which the most that the machine gives is found. */
const calibration = 20

interface Minute {
  readonly megabytes: number
  readonly handles: number
  readonly stream: StreamResult
}

/** How much a line through the middle of the values grows from the first to the last of them (Theil and Sen). */
const growth = (values: ReadonlyArray<number>): number => {
  const slopes = values.flatMap((later, at) =>
    values.slice(0, at).map((value, before) => (later - value) / (at - before))
  )
  return slopes.length === 0 ? 0 : median(slopes) * (values.length - 1)
}

/** Each of these is a leak, or something that becomes slower, where it is more than the noise of a shared machine. */
const judged = (all: ReadonlyArray<Minute>) => {
  // the first fifth fills caches and compiles
  const counted = all.slice(Math.ceil(all.length / 5))
  const of = (name: string, value: (minute: Minute) => number, limit: (typical: number) => number) => {
    const values = counted.map(value)
    const [grown, typical] = [growth(values), median(values)]
    return { name, typical, grown, limit: limit(typical), isFlat: grown <= limit(typical) }
  }
  return [
    of("resident MB", ({ megabytes }) => megabytes, (typical) => typical / 10),
    of("handles", ({ handles }) => handles, () => 5),
    of("p99 ms", ({ stream }) => stream.p99, (typical) => typical / 4)
  ]
}

/** What is kept: where and when, what was asked, what came of it. */
const format = ({ all, before, faults, most, perSecond, provenance, statuses, verdicts }: {
  readonly all: ReadonlyArray<Minute>
  /** the machine's load average before the run */
  readonly before: number
  readonly faults: ReadonlyArray<string>
  readonly most: number
  readonly perSecond: number
  readonly provenance: Provenance
  readonly statuses: Readonly<Record<string, number>>
  readonly verdicts: ReturnType<typeof judged>
}): string => {
  const { commit, node, postgres } = provenance
  return [
    "# Soak",
    "",
    "Written by `deno task soak --out bench/SOAK.md`, which [README.md](README.md) describes.",
    "",
    `${new Date().toISOString().slice(0, 16)}Z, commit ${commit}; ${availableParallelism()} × ${cpus()[0]?.model}, ` +
    `${figure(totalmem() / 2 ** 30, 2)} GB, ${process.platform} ${release()}, load average before it ` +
    `${before.toFixed(2)}; bundle on Node ${node}, ${postgres}.`,
    "",
    `${minutes} minutes, ${connections} connections, ${perSecond} requests a second: ${share * 100} % of the ` +
    `${
      figure(most)
    } that it gave in ${calibration} s. In the middle of each minute all sessions with the database ended.`,
    "",
    `Answers: ${Object.entries(statuses).map(([status, count]) => `${count} × ${status}`).join(", ")}.`,
    `Result: ${faults.length === 0 ? "flat" : `FAILED: ${faults.join("; ")}`}.`,
    "",
    ...table([
      ["after the first fifth", "typical", "growth to the end", "allowed"],
      ...verdicts.map(({ grown, limit, name, typical }) => [name, figure(typical), figure(grown), figure(limit)])
    ]),
    "",
    ...table([
      ["minute", "resident MB", "handles", "requests/s", "p50 ms", "p99 ms", "max ms", "503"],
      ...all.map(({ handles, megabytes, stream }, at) => [
        String(at + 1),
        figure(megabytes),
        String(handles),
        figure(stream.perSecond),
        figure(stream.p50),
        figure(stream.p99),
        figure(stream.max),
        String(stream.statuses["503"] ?? 0)
      ])
    ]),
    ""
  ].join("\n")
}

const soak = Effect.gen(function* () {
  if (!(minutes >= fewest)) return yield* new BenchFailed({ message: `--minutes must be ${fewest} or more` })
  const before = loadavg()[0]!
  const run = yield* prepare(yield* readOptions([]))
  const databaseUrl = yield* run.cluster.create("soak")
  const server = yield* startServer(run.target, run.on(databaseUrl))
  const [users = []] = yield* seed(server.url, databaseUrl, [{ prefix: "user", users: 50, tasks: 1_000 }])
  const loader = yield* startLoader
  loader.use(users)
  const load = (seconds: number, perSecond?: number) =>
    Effect.flatMap(
      loader.load({
        port: server.port,
        seconds,
        streams: [{
          endpoints: mixed,
          connections,
          takesAnyStatus: true,
          ...(perSecond !== undefined && { perSecond })
        }],
        serverPid: server.pid,
        databasePid: run.cluster.pid
      }),
      ({ streams: [stream] }) =>
        stream === undefined
          ? Effect.fail(new BenchFailed({ message: `no load\n${server.lastWords()}` }))
          : Effect.succeed(stream)
    )
  const endSessions = withSql(databaseUrl, (sql) =>
    sql`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = 'tasks-api'`)

  yield* load(calibration)
  const most = (yield* load(calibration)).perSecond
  const perSecond = Math.max(1, Math.floor(most * share))
  yield* progress(`${figure(most)} requests a second at most; ${perSecond} from here on`)

  const all: Array<Minute> = []
  for (let minute = 1; minute <= minutes; minute++) {
    const [stream] = yield* Effect.all([load(60, perSecond), Effect.delay(endSessions, "30 seconds")], {
      concurrency: 2
    })
    const handles = readdirSync(`/proc/${server.pid}/fd`).length
    all.push({ megabytes: residentMegabytes(server.pid), handles, stream })
    yield* progress(
      `minute ${minute}: ${figure(all.at(-1)!.megabytes)} MB, ${handles} handles, p99 ${figure(stream.p99)} ms, ` +
        JSON.stringify(stream.statuses)
    )
  }

  const verdicts = judged(all)
  const statuses: Record<string, number> = {}
  for (const { stream } of all) {
    for (const [status, count] of Object.entries(stream.statuses)) statuses[status] = (statuses[status] ?? 0) + count
  }
  const faults = [
    ...verdicts.filter(({ isFlat }) => !isFlat).map(({ name }) => `${name} climbs`),
    ...Object.keys(statuses).filter((status) => !["200", "201", "503"].includes(status)).map((s) => `answers ${s}`),
    ...(all.some(({ stream }) => stream.withoutRetryAfter > 0) ? ["503 without Retry-After"] : []),
    ...(all.some(({ stream }) => stream.errors > 0)
      ? [`sockets failed: ${all.find(({ stream }) => stream.firstError !== undefined)?.stream.firstError}`]
      : [])
  ]
  const report = format({ all, before, faults, most, perSecond, provenance: run.provenance, statuses, verdicts })
  process.stdout.write(report)
  if (values.out !== "") writeFileSync(values.out, report)
  if (faults.length > 0) return yield* new BenchFailed({ message: faults.join("\n") })
})

Effect.scoped(soak).pipe(
  Effect.tapError(({ message }) => progress(message)),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
