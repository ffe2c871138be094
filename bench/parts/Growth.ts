/** What a request costs as one user's tasks, and the number of users, grow: whatever is not flat has no index. */
import { Effect } from "effect"
import { type Loader, startLoader } from "../load/Loader.ts"
import { deepName, deepOrders, type Group, groups } from "../load/ManyTasks.ts"
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

/** Where the number of users grows. */
const endpoints = ["list", "get", "create", "changes"]
/** One, so that a latency is what a request costs, and not the time that it waits for others. */
const connections = 1
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
  what: string,
  cases: ReadonlyArray<readonly [endpoint: string, users: ReadonlyArray<BenchUser>]>
) {
  const rounds = cases.map((): Array<Round> => [])
  for (let round = 0; round <= run.options.rounds; round++) {
    for (const [index, [endpoint, users]] of cases.entries()) {
      const figures = yield* measure(run, loader, server, endpoint, users)
      if (round > 0) rounds[index]!.push(figures)
    }
    yield* progress(`growth: ${what}, round ${round} of ${run.options.rounds}`)
  }
  return rounds.map(medians)
})

interface CostRow {
  readonly name: string
  /** by step */
  readonly costs: ReadonlyArray<Cost>
}

/** A row for each request, with its cost at each step, and what the last costs against the first. */
const costTable = (steps: ReadonlyArray<string>, rows: ReadonlyArray<CostRow>) => {
  const total = ([, server, database]: Cost) => server + database
  return table([
    ["request", ...steps, "last to first"],
    ...rows.map(({ costs, name }) => {
      const [first, last] = [costs[0]!, costs.at(-1)!]
      const [latency, cpu] = [last[0] / first[0], total(last) / total(first)]
      return [
        name,
        ...costs.map((cost) => cost.map((it) => figure(it)).join(" / ")),
        `p50 ${ratio(latency)}, CPU ${ratio(cpu)}${latency <= flat && cpu <= flat ? ": flat" : ""}`
      ]
    })
  ])
}
const legend = "Each cell: p50 in ms / CPU time of the server in µs / CPU time of PostgreSQL in µs."

const growingTasks = Effect.fnUntraced(function* (run: Run, loader: Loader) {
  const { rounds, seconds, sizes } = run.options
  const database = "growth_tasks"
  const databaseUrl = yield* run.cluster.create(database)
  const server = yield* startServer(run.target, run.on(databaseUrl))
  yield* progress(`growth: seeding users with ${sizes.join(", ")} tasks`)
  // those with few tasks are many, so that tables are not so small that reading all of one is the best plan, and that
  // the tasks that are written while this measures are not many for any of them; the first one is for the deep page
  const crowds = sizes.map((tasks, index) => ({ prefix: `step${index}`, users: tasks > 10_000 ? 1 : 100, tasks }))
  const [[small] = [], ...steps] = yield* seed(server.url, databaseUrl, [
    { prefix: "small", users: 1, tasks: 100 },
    ...crowds
  ])
  const names = sizes.map((size) => size.toLocaleString("en"))
  const readers: Array<BenchUser> = []
  const deepPages: Array<ReadonlyMap<string, string>> = []
  yield* progress("growth: looking for deep pages")
  for (const [user] of steps) {
    readers.push({ ...user!, since: yield* middleOfChanges(server, user!) })
    const paths = new Map<string, string>()
    for (const order of deepOrders) paths.set(deepName(order), (yield* deepPage(server, user!, order)).path)
    deepPages.push(paths)
  }
  /** Who asks at a step. */
  const usersOf = ({ writes }: Group, endpoint: string, step: number): ReadonlyArray<BenchUser> => {
    if (writes) return steps[step]!
    const page = deepPages[step]!.get(endpoint)
    return [{ ...readers[step]!, ...(page !== undefined && { page }) }]
  }

  const deepest = sizes.findLastIndex((size) => size <= 100_000)
  const deep = deepPages[deepest]?.get(deepName(deepOrders[0])) ?? ""
  const compared = [{ ...small!, page: "/api/v1/tasks?limit=20" }, { ...readers[deepest]!, page: deep }]
  const pageCosts = yield* alternate(
    run,
    loader,
    server,
    "deep page",
    compared.map((user) => ["page", [user]] as const)
  )
  const [[firstP50, ...firstCpu], [deepP50, ...deepCpu]] = pageCosts as [Cost, Cost]

  // writes last: they make the tasks more
  const lines = new Map<Group, ReadonlyArray<string>>()
  for (const writes of [undefined, true]) {
    const chosen = groups.filter((group) => group.writes === writes)
    const costs = new Map<Group, ReadonlyArray<string>>()
    for (const group of chosen) {
      const cases = group.endpoints.flatMap(({ name }) =>
        sizes.map((_, step) => [name, usersOf(group, name, step)] as const)
      )
      const all = yield* alternate(run, loader, server, group.title, cases)
      const rows = group.endpoints.map(({ name }, index) => ({
        name,
        costs: all.slice(index * sizes.length, (index + 1) * sizes.length)
      }))
      costs.set(group, costTable(names, rows))
    }
    yield* progress("growth: reading plans")
    const edges = [...new Set([0, sizes.length - 1])]
    const tables = yield* plans(
      run,
      database,
      databaseUrl,
      chosen.map((group) =>
        group.endpoints.flatMap(({ name }) =>
          edges.map((step) => ({ endpoint: name, tasks: names[step]!, user: usersOf(group, name, step)[0]! }))
        )
      )
    )
    for (const [index, group] of chosen.entries()) {
      lines.set(group, ["", `### ${group.title}`, "", group.lesson, "", ...costs.get(group)!, "", ...tables[index]!])
    }
  }
  return {
    title: "Growth of one user's tasks",
    lines: [
      `One user at a time over one connection, medians of ${rounds} rounds of ${seconds} s, pages of 20; beside 100 ` +
      `users with 1,000 tasks and 100 with 10,000, who share the writes. ${legend} Flat: within ${flat} ×. Below, what ` +
      "`explain (analyze, buffers)` says of each statement that the server sends, at both ends.",
      "",
      `Page 1,000 of ${names[deepest]} tasks against the first page of 100 tasks (aimed at: 1.2 ×): p50 ` +
      `${figure(deepP50)} to ${figure(firstP50)} ms, ${ratio(deepP50 / firstP50)}; CPU of server and PostgreSQL ` +
      `${figure(deepCpu[0]! + deepCpu[1]!)} to ${figure(firstCpu[0]! + firstCpu[1]!)} µs, ` +
      `${ratio((deepCpu[0]! + deepCpu[1]!) / (firstCpu[0]! + firstCpu[1]!))}.`,
      ...groups.flatMap((group) => lines.get(group) ?? [])
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
    costs.push(yield* alternate(run, loader, server, "users", endpoints.map((endpoint) => [endpoint, users] as const)))
  }
  return {
    title: "Growth of the number of users",
    lines: [
      `${loadedOfCrowd} users with 1,000 tasks each are loaded over one connection, beside as many others with 10 tasks ` +
      `each; medians of ${rounds} rounds of ${seconds} s. ${legend} Flat: within ${flat} ×.`,
      "",
      ...costTable(
        crowds.map((crowd) => crowd.toLocaleString("en")),
        endpoints.map((name, index) => ({ name, costs: costs.map((row) => row[index]!) }))
      )
    ]
  } satisfies Section
})

export const growthSections = Effect.fnUntraced(function* (run: Run) {
  const loader = yield* startLoader
  const ofTasks = yield* Effect.scoped(growingTasks(run, loader))
  return run.options.crowds.length === 0 ? [ofTasks] : [ofTasks, yield* Effect.scoped(growingUsers(run, loader))]
})
