/** What this server holds and how fast it starts, alone: the bundle on PostgreSQL, and the default start. */
import { rmSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import type { Loader } from "../load/Loader.ts"
import { median } from "../load/Statistics.ts"
import { BenchFailed } from "../machine/Children.ts"
import { residentMegabytes } from "../machine/Processes.ts"
import { figure, type Section, table } from "../Report.ts"
import { progress, type Run } from "../Run.ts"
import { type BenchUser, emailOf, register } from "../seed/Seed.ts"
import { type Server, source, startServer } from "../targets/Servers.ts"

const starts = 5
/** Seconds after the start until the process is idle. */
const settling = 3
/** What people do most. */
const mixed = ["list", "list", "list", "get", "get", "create", "update", "complete"]

/** Medians of the milliseconds to the first good answer, each start in a scope of its own. */
const startMillis = <E>(begin: Effect.Effect<number, E>, times: number) =>
  Effect.map(Effect.replicateEffect(begin, times), median)

const loaded = Effect.fnUntraced(function* (run: Run, loader: Loader, server: Server) {
  yield* Effect.sleep(settling * 1_000)
  const idle = residentMegabytes(server.pid)
  const round = yield* loader.load({
    port: server.port,
    seconds: run.options.memorySeconds,
    streams: [{ endpoints: mixed, connections: run.options.connections }],
    serverPid: server.pid,
    databasePid: run.cluster.pid
  })
  const [stream] = round.streams
  if (stream === undefined || stream.errors > 0) {
    return yield* new BenchFailed({ message: `the load for memory: ${stream?.firstError}\n${server.lastWords()}` })
  }
  return { idle, loaded: residentMegabytes(server.pid), stream }
})

type Loaded = Effect.Success<ReturnType<typeof loaded>>

/** Users of a database that nobody has seeded: a few, over HTTP. */
const registerUsers = Effect.fnUntraced(function* (url: string) {
  const indices = Array.from({ length: 20 }, (_, index) => index)
  return yield* Effect.forEach(indices, (index) =>
    Effect.gen(function* () {
      const { access_token, user } = yield* register(url, emailOf("memory", index))
      const taskIds = yield* Effect.tryPromise({
        try: async () => {
          const ids: Array<string> = []
          for (let n = 0; n < 30; n++) {
            const response = await fetch(`${url}/api/v1/tasks`, {
              method: "POST",
              headers: { "content-type": "application/json", authorization: `Bearer ${access_token}` },
              body: JSON.stringify({ title: `Water the plants on the ${n}. balcony`, tags: ["home"] })
            })
            ids.push((await response.json() as { readonly id: string }).id)
          }
          return ids
        },
        catch: (error) => new BenchFailed({ message: `tasks for memory: ${String(error)}` })
      })
      return { id: user.id, tokens: [access_token], taskIds, recurringIds: [], loginEmail: "" } satisfies BenchUser
    }))
})

export const measureMemory = Effect.fnUntraced(function* (
  run: Run,
  loader: Loader,
  databaseUrl: string,
  users: ReadonlyArray<BenchUser>
) {
  const { connections, memorySeconds } = run.options
  const row = (what: string, start: number, { idle, loaded, stream }: Loaded) => [
    what,
    figure(start),
    figure(idle),
    figure(loaded),
    figure(stream.perSecond),
    figure(stream.p95),
    figure(stream.p99)
  ]

  yield* progress(`memory of the bundle: ${memorySeconds} s of load`)
  const bundle = startServer(run.target, run.on(databaseUrl))
  const bundleStart = yield* startMillis(Effect.scoped(Effect.map(bundle, (it) => it.startMillis)), starts)
  const ofBundle = yield* Effect.scoped(Effect.flatMap(bundle, (server) => loaded(run, loader, server)))

  yield* progress(`memory of the default start: ${memorySeconds} s of load`)
  const dataDir = join(run.directory, "data")
  const embedded = startServer(source(dataDir), run.on(undefined))
  const firstStart = yield* startMillis(
    Effect.suspend(() => {
      rmSync(dataDir, { recursive: true, force: true })
      return Effect.scoped(Effect.map(embedded, (it) => it.startMillis))
    }),
    2
  )
  const [nextStart, ofEmbedded] = yield* Effect.scoped(Effect.gen(function* () {
    const server = yield* embedded
    loader.use(yield* registerUsers(server.url))
    return [server.startMillis, yield* loaded(run, loader, server)] as const
  }))
  loader.use(users)

  return {
    title: "Memory and start",
    lines: [
      `Resident megabytes ${settling} s after the start and after ${memorySeconds} s of mixed load over ${connections} ` +
      `connections; milliseconds from the start to the first 200 of /health/ready (medians of ${starts} starts of the ` +
      `bundle, PostgreSQL up and migrated; the first start with the embedded database makes it, in ` +
      `${figure(firstStart)} ms).`,
      "",
      ...table([
        ["what", "start ms", "idle MB", "loaded MB", "req/s", "p95 ms", "p99 ms"],
        row("production bundle, PostgreSQL", bundleStart, ofBundle),
        row("default start: source, embedded database", nextStart, ofEmbedded)
      ])
    ]
  } satisfies Section
})
