/** What a request costs as one user's tasks, and the number of users, grow: whatever is not flat has no index. */
import { Effect } from "effect"
import { type Loader, startLoader } from "../load/Loader.ts"
import type { Round } from "../load/Order.ts"
import { median } from "../load/Statistics.ts"
import { BenchFailed } from "../machine/Children.ts"
import { loadedOfCrowd } from "../Options.ts"
import { figure, ratio, type Section, table } from "../Report.ts"
import { progress, type Run } from "../Run.ts"
import { type BenchUser, seed } from "../seed/Seed.ts"
import { type Server, startServer } from "../targets/Servers.ts"
import { deepPage, middleOfChanges } from "./Cursors.ts"
import { plans } from "./Plans.ts"

const endpoints = ["list", "get", "create", "changes"]
/** Few, so that a latency is what a request costs, and not the time that it waits for others. */
const connections = 4
/** What is within it counts as flat. */
const flat = 1.25

type Cost = readonly [p50: number, server: number, database: number]
const medians = (rounds: ReadonlyArray<Round>): Cost => [
  median(rounds.map(({ streams }) => streams[0]?.p50 ?? NaN)),
  median(rounds.map(({ serverMicros }) => serverMicros)),
  median(rounds.map(({ databaseMicros }) => databaseMicros))
]

const measure = Effect.fnUntraced(function* (
  run: Run,
  loader: Loader,
  server: Server,
  endpoint: string,
  users: ReadonlyArray<BenchUser>
) {
  loader.use(users)
  const round = yield* loader.load({
    port: server.port,
    seconds: run.options.seconds,
    streams: [{ endpoints: [endpoint], connections }],
    serverPid: server.pid,
    databasePid: run.cluster.pid
  })
  const [stream] = round.streams
  if (stream !== undefined && stream.errors === 0) return round
  return yield* new BenchFailed({ message: `${endpoint}: ${stream?.firstError}\n${server.lastWords()}` })
})

/** The costs of every case, which alternate; the first round of each warms up. */
const alternate = Effect.fnUntraced(function* (
  run: Run,
  loader: Loader,
  server: Server,
  cases: ReadonlyArray<readonly [endpoint: string, users: ReadonlyArray<BenchUser>]>
) {
  const rounds = cases.map((): Array<Round> => [])
  for (let round = 0; round <= run.options.rounds; round++) {
    for (const [index, [endpoint, users]] of cases.entries()) {
      const figures = yield* measure(run, loader, server, endpoint, users)
      if (round > 0) rounds[index]!.push(figures)
    }
    yield* progress(`growth: round ${round} of ${run.options.rounds}`)
  }
  return rounds.map(medians)
})

/** A row for each step, and one for what the last costs against the first. */
const costTable = (what: string, steps: ReadonlyArray<number>, costs: ReadonlyArray<ReadonlyArray<Cost>>) => {
  const total = ([, server, database]: Cost) => server + database
  const [first = [], last = []] = [costs[0], costs.at(-1)]
  return table([
    [what, ...endpoints.map((it) => `${it}: p50 ms, CPU µs, PostgreSQL µs`)],
    ...steps.map((step, index) => [
      step.toLocaleString("en"),
      ...costs[index]!.map((cost) => cost.map((it) => figure(it)).join(", "))
    ]),
    [
      "last to first",
      ...first.map((cost, index) => {
        const [latency, cpu] = [last[index]![0] / cost[0], total(last[index]!) / total(cost)]
        return `p50 ${ratio(latency)}, CPU ${ratio(cpu)}${latency <= flat && cpu <= flat ? ": flat" : ""}`
      })
    ]
  ])
}

const growingTasks = Effect.fnUntraced(function* (run: Run, loader: Loader) {
  const { rounds, seconds, sizes } = run.options
  const database = "growth_tasks"
  const databaseUrl = yield* run.cluster.create(database)
  const server = yield* startServer(run.target, run.on(databaseUrl))
  yield* progress(`growth: seeding users with ${sizes.join(", ")} tasks`)
  // the small one is what the deep page is compared with
  const crowds = [100, ...sizes].map((tasks, index) => ({ prefix: `step${index}`, users: 1, tasks }))
  // others, so that tables are not so small that reading all of one is the best plan
  const others = { prefix: "others", users: 1_000, tasks: 10, loaded: 0 }
  const [small, ...seeded] = (yield* seed(server.url, databaseUrl, [...crowds, others])).flatMap(([user]) => user ?? [])
  const users: Array<BenchUser> = []
  for (const user of seeded) users.push({ ...user, since: yield* middleOfChanges(server, user) })
  const cases = users.flatMap((user) => endpoints.map((endpoint) => [endpoint, [user]] as const))
  const costs = yield* alternate(run, loader, server, cases)

  const deepest = sizes.findLastIndex((size) => size <= 100_000)
  const deep = yield* deepPage(server, users[deepest] ?? users[0]!)
  const pages = [{ ...small!, page: "/api/v1/tasks?limit=20" }, { ...users[deepest]!, page: deep.path }]
  const pageCosts = yield* alternate(run, loader, server, pages.map((user) => ["page", [user]] as const))
  const [[firstP50, ...firstCpu], [deepP50, ...deepCpu]] = pageCosts as [Cost, Cost]

  yield* progress("growth: reading plans")
  const edges = new Map([0, sizes.length - 1].map((index) => [sizes[index]!.toLocaleString("en"), users[index]!]))
  const planTable = yield* plans(run, database, databaseUrl, endpoints, edges)
  const rowsOf = (index: number) => costs.slice(index * endpoints.length, (index + 1) * endpoints.length)
  return {
    title: "Growth of one user's tasks",
    lines: [
      `One user at a time over ${connections} connections, medians of ${rounds} rounds of ${seconds} s; changes from a ` +
      `cursor in their midst, 100 of them. Flat: within ${flat} ×.`,
      "",
      ...costTable("tasks", sizes, sizes.map((_, index) => rowsOf(index))),
      "",
      `Page ${deep.depth.toLocaleString("en")} of ${
        sizes[deepest]?.toLocaleString("en")
      } tasks against the first page of ` +
      `100 tasks (aimed at: 1.2 ×): p50 ${figure(deepP50)} to ${figure(firstP50)} ms, ${
        ratio(deepP50 / firstP50)
      }; CPU ` +
      `of server and PostgreSQL ${figure(deepCpu[0]! + deepCpu[1]!)} to ${figure(firstCpu[0]! + firstCpu[1]!)} µs, ` +
      `${ratio((deepCpu[0]! + deepCpu[1]!) / (firstCpu[0]! + firstCpu[1]!))}.`,
      "",
      "What `explain (analyze, buffers)` says of each statement that the server sends, at both ends:",
      "",
      ...planTable
    ]
  } satisfies Section
})

const growingUsers = Effect.fnUntraced(function* (run: Run, loader: Loader) {
  const { crowds, rounds, seconds } = run.options
  const databaseUrl = yield* run.cluster.create("growth_users")
  const server = yield* startServer(run.target, run.on(databaseUrl))
  const [seeded = []] = yield* seed(server.url, databaseUrl, [{ prefix: "loaded", users: loadedOfCrowd, tasks: 1_000 }])
  const users: Array<BenchUser> = []
  for (const user of seeded) users.push({ ...user, since: yield* middleOfChanges(server, user) })
  const costs: Array<ReadonlyArray<Cost>> = []
  let count = loadedOfCrowd
  for (const [index, crowd] of crowds.entries()) {
    yield* progress(`growth: ${crowd} users`)
    yield* seed(server.url, databaseUrl, [{ prefix: `rest${index}`, users: crowd - count, tasks: 10, loaded: 0 }])
    count = crowd
    costs.push(yield* alternate(run, loader, server, endpoints.map((endpoint) => [endpoint, users] as const)))
  }
  return {
    title: "Growth of the number of users",
    lines: [
      `${loadedOfCrowd} users with 1,000 tasks each are loaded over ${connections} connections, beside as many others ` +
      `with 10 tasks each; medians of ${rounds} rounds of ${seconds} s. Flat: within ${flat} ×.`,
      "",
      ...costTable("users", crowds, costs)
    ]
  } satisfies Section
})

export const growthSections = Effect.fnUntraced(function* (run: Run) {
  const loader = yield* startLoader
  return [yield* Effect.scoped(growingTasks(run, loader)), yield* Effect.scoped(growingUsers(run, loader))]
})
