/** How PostgreSQL executes lists and what looks for dates: an index serves each, whatever else there is. */
import process from "node:process"
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, ManagedRuntime, Redacted } from "effect"
import { SqlClient, type Statement } from "effect/sql"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Writes } from "../../src/changes/Writes.ts"
import { Reads } from "../../src/database/Reads.ts"
import { type Order, sortKeys } from "../../src/domain/TaskQuery.ts"
import { TaskId } from "../../src/domain/Task.ts"
import { UserId } from "../../src/domain/User.ts"
import type { Filter } from "../../src/tasks/TaskList.ts"
import type { Position } from "../../src/tasks/TaskOrder.ts"
import { DatedWrites } from "../../src/tasks/DatedWrites.ts"
import { DatesRepo } from "../../src/tasks/DatesRepo.ts"
import { Reminders } from "../../src/tasks/Reminders.ts"
import { TasksRepo } from "../../src/tasks/TasksRepo.ts"
import { emptyDatabase, type TestDatabase } from "../operation/postgres.ts"
import { run, useFinished } from "../operation/program.ts"

const isServer = process.env["TEST_DATABASE_URL"] !== undefined && process.env["TEST_DATABASE_URL"] !== ""
const finished = useFinished()
const user = UserId.make("01a1fac0-4e02-72a2-8cd2-8c8f56d917f1", { disableChecks: true })
const tasks = 20_000
/** Of the same user, where all are open, and due where and when the owner is. */
const openTasks = 5_000

/** The first of its tasks. */
const some = TaskId.make("0198f5a0-1c2d-7e3f-8a4b-5c6d7e8f9a0b")

const everything: Filter = {
  deleted: false,
  completed: undefined,
  priorities: undefined,
  tags: [],
  updatedSince: undefined,
  due: undefined,
  overdue: undefined,
  words: undefined
}

interface Node {
  readonly "Node Type": string
  readonly "Index Name"?: string
  readonly "Actual Rows": number
  readonly "Actual Loops": number
  readonly "Rows Removed by Filter"?: number
  readonly "Rows Removed by Index Recheck"?: number
  readonly Plans?: ReadonlyArray<Node>
}

const flatten = (node: Node): ReadonlyArray<Node> => [node, ...(node.Plans ?? []).flatMap(flatten)]

/** The scans of tables and indexes that a plan has executed. */
const scansOf = (nodes: ReadonlyArray<Node>) =>
  nodes.filter((node) =>
    node["Actual Loops"] > 0 && node["Node Type"].includes("Scan") && !/Subquery|CTE/.test(node["Node Type"])
  )

/** Rows that they have read, whether they were wanted or not. */
const rowsRead = (scans: ReadonlyArray<Node>) =>
  scans.reduce(
    (sum, node) =>
      sum + node["Actual Loops"] *
        (node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0) + (node["Rows Removed by Index Recheck"] ?? 0)),
    0
  )

/** The statement that a call of the repository sends, told by the last one that it makes. */
const statements: Array<Statement.Statement<unknown>> = []
const watched = (client: SqlClient.SqlClient): SqlClient.SqlClient =>
  new Proxy(client, {
    apply: (target, self, args) => {
      const made = Reflect.apply(target, self, args)
      statements.push(made)
      return made
    }
  })

const literal = (value: unknown): string => {
  if (value === null || value === undefined) return "null"
  if (value instanceof Date) return literal(value.toISOString())
  if (Array.isArray(value)) return literal(`{${value.map((it) => JSON.stringify(it)).join(",")}}`)
  return `'${String(value).replaceAll("'", "''")}'`
}

type Services = TasksRepo | DatesRepo | Reminders | SqlClient.SqlClient
type Runtime = ManagedRuntime.ManagedRuntime<Services, unknown>

/** The repositories on a database of its own, with its tables and what fills them. */
const runtimeOn = async (fill: (sql: TestDatabase["sql"]) => Promise<unknown>): Promise<Runtime> => {
  const { sql, url } = await emptyDatabase(finished)
  await run(
    "src/migrate.ts",
    { DATABASE_URL: url, JWT_SECRET: "a test secret with more than 32 bytes in it" },
    finished
  )
  await sql("insert into users (id) values ($1)", [user])
  await sql("insert into users (id) select gen_random_uuid() from generate_series(1, 200)")
  await fill(sql)
  await sql("vacuum analyze")
  const client = PgClient.layer({ url: Redacted.make(url), maxConnections: 1 })
  const services = Layer.effect(SqlClient.SqlClient, Effect.map(SqlClient.SqlClient, watched)).pipe(
    Layer.provide(client)
  )
  return ManagedRuntime.make(
    Layer.mergeAll(TasksRepo.layer, DatesRepo.layer, Reminders.layer).pipe(
      Layer.provide(Layer.mock(DatedWrites, { deliver: () => Effect.succeed(0) })),
      Layer.provide(Layer.succeed(Writes, { write: () => Effect.die("nothing is written here") })),
      Layer.provideMerge(Layer.effect(Reads, SqlClient.SqlClient)),
      Layer.provideMerge(services)
    )
  )
}

/** The nodes of the plan that PostgreSQL makes for these values of a statement, and of the one for any values. */
const plansOfWork = (runtime: Runtime, work: Effect.Effect<unknown, never, Services>, sent = /^/) =>
  runtime.runPromise(Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* work
    const [text, values] = statements.map((it) => it.compile()).findLast(([text]) => sent.test(text))!
    yield* sql.unsafe(`prepare listed as ${text}`)
    const plans: Array<ReadonlyArray<Node>> = []
    for (const mode of ["force_custom_plan", "force_generic_plan"]) {
      yield* sql.unsafe(`set plan_cache_mode = ${mode}`)
      const execute = values.length === 0 ? "execute listed" : `execute listed (${values.map(literal).join(", ")})`
      const [row] = yield* sql.unsafe<{ readonly "QUERY PLAN": ReadonlyArray<{ readonly Plan: Node }> }>(
        `explain (analyze, timing off, format json) ${execute}`
      )
      plans.push(flatten(row!["QUERY PLAN"][0]!.Plan))
    }
    yield* sql.unsafe("deallocate listed")
    return plans
  }))

describe.skipIf(!isServer)("a list of 20,000 tasks", () => {
  let runtime: Runtime

  beforeAll(async () => {
    runtime = await runtimeOn((sql) =>
      sql(
        `insert into tasks (user_id, id, version, title, priority, created_at, updated_at, completed, completed_at,
          title_terms, due_date, due_time, due_zone, due_at)
        select id, gen_random_uuid(), n, 'task ' || n % 5000, n % 5, now() - n * interval '1 minute',
          now() - n * interval '1 minute', n <= $2 - 30, case when n <= $2 - 30 then now() - n * interval '1 second' end,
          array_to_tsvector(array[right(id::text, 4) || 'task', right(id::text, 4) || 'word' || n % 5000]),
          due::date, to_char(due, 'HH24:MI'), case when due is not null then 'UTC' end, due
        from users, lateral generate_series(1, case when id = $1 then $2::int else 50 end) as n
        -- every fourth is due, one an hour, the last in a month
        cross join lateral (
          select case when n % 4 = 0 then now() at time zone 'UTC' + ((n - $2 + 2880) / 4) * interval '1 hour' end as due
        ) as dues`,
        [user, tasks]
      )
    )
  })
  afterAll(() => runtime?.dispose())

  const plansOf = (filter: Filter, order: ReadonlyArray<Order>, after: Position | undefined) =>
    plansOfWork(
      runtime,
      Effect.flatMap(TasksRepo, (repo) => repo.list(user, filter, { order, after, limit: 21, zone: "UTC" }))
    )

  const indexes: Record<string, ReadonlyArray<string>> = {
    created_at: ["tasks_created_at"],
    updated_at: ["tasks_updated_at"],
    priority: ["tasks_priority"],
    title: ["tasks_title"],
    completed_at: ["tasks_completed_at", "tasks_open"],
    due: ["tasks_due", "tasks_undated"]
  }
  const positions: Record<string, ReadonlyArray<Position | undefined>> = {
    created_at: [undefined, ["2026-01-01 00:00:00+00", some]],
    updated_at: [undefined, ["2026-01-01 00:00:00+00", some]],
    priority: [undefined, ["2", some]],
    title: [undefined, ["task 77", some]],
    completed_at: [undefined, ["2026-01-01 00:00:00+00", some], [null, some]],
    due: [undefined, ["2026-01-01 00:00:00+00", some], [null, some]]
  }

  for (const key of sortKeys) {
    for (const descending of [false, true]) {
      it(`sorted by ${descending ? "-" : ""}${key} reads no more than a page, at any depth`, async () => {
        for (const after of positions[key]!) {
          for (const nodes of await plansOf(everything, [{ key, descending }], after)) {
            const types = nodes.map((node) => node["Node Type"])
            expect(types).not.toContain("Seq Scan")
            const used = new Set(nodes.flatMap((node) => node["Index Name"] ?? []))
            const expected = after?.[0] === null ? indexes[key]!.slice(1) : indexes[key]!
            expect([...used].sort()).toEqual(expected)
            // the two ranges of a key that may be null are put together from a page of each
            const sorts = nodes.filter((node) => node["Node Type"].includes("Sort"))
            if (indexes[key]!.length === 1 || after?.[0] === null) expect(sorts).toEqual([])
            for (const sort of sorts) {
              const isPage = (node: Node): boolean =>
                node["Node Type"] === "Limit" ||
                ["Append", "Subquery Scan"].includes(node["Node Type"]) && (node.Plans ?? []).every(isPage)
              expect(sort.Plans?.every(isPage)).toBe(true)
            }
          }
        }
      })
    }
  }

  it("found by a word or a tag is found by the index of terms, and nothing else is sorted", async () => {
    const filters: ReadonlyArray<Filter> = [
      { ...everything, words: ["word77"] },
      { ...everything, words: ["nothing"] },
      { ...everything, tags: ["home"] },
      { ...everything, words: ["word77"], completed: true, priorities: ["low"] }
    ]
    for (const filter of filters) {
      for (const order of sortKeys.map((key): Order => ({ key, descending: true }))) {
        for (const nodes of await plansOf(filter, [order], undefined)) {
          expect(nodes.map((node) => node["Node Type"])).not.toContain("Seq Scan")
          expect(nodes.flatMap((node) => node["Index Name"] ?? [])).toContain("tasks_terms")
        }
      }
    }
  })

  it("filtered reads a part of the tasks alone, whether many or few of them match", async () => {
    const hourAgo = new Date(Date.now() - 3_600_000).toISOString()
    const filters: ReadonlyArray<Filter> = [
      // the 30 oldest
      { ...everything, completed: false },
      { ...everything, completed: true },
      { ...everything, updatedSince: hourAgo },
      { ...everything, priorities: ["urgent"] },
      { ...everything, priorities: ["urgent"], completed: false },
      // all of them, four, and none
      { ...everything, words: ["task"] },
      { ...everything, words: ["word77"] },
      { ...everything, words: ["nothing"] },
      { ...everything, words: ["task"], completed: false },
      // a week of those that are due, all of them, and none
      { ...everything, due: { from: day(0), to: day(6) } },
      { ...everything, due: { from: undefined, to: day(40) } },
      { ...everything, due: { from: day(1_000), to: undefined } },
      { ...everything, due: { from: day(-1), to: undefined }, completed: false },
      { ...everything, overdue: true },
      { ...everything, overdue: false }
    ]
    const orders: ReadonlyArray<Order> = sortKeys.flatMap((key) =>
      [false, true].map((descending) => ({ key, descending }))
    )
    for (const filter of filters) {
      for (const order of orders) {
        // the least urgent first, and of them the urgent: all of these are collected
        if (filter.priorities !== undefined && order.key === "priority" && !order.descending) continue
        for (const nodes of await plansOf(filter, [order], undefined)) {
          const scans = scansOf(nodes)
          expect(scans.map((node) => node["Node Type"])).not.toContain("Seq Scan")
          expect([filter, order, rowsRead(scans)]).toSatisfy(([, , rows]) => rows < 2_000)
        }
      }
    }
  })

  const day = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10)

  it("in the trash is in the order of an index, too", async () => {
    for (
      const nodes of await plansOf(
        { ...everything, deleted: true },
        [{ key: "created_at", descending: true }],
        undefined
      )
    ) {
      expect(nodes.flatMap((node) => node["Index Name"] ?? [])).toEqual(["tasks_trash"])
    }
  })
})

describe.skipIf(!isServer)("of many users' dates", () => {
  let runtime: Runtime

  beforeAll(async () => {
    runtime = await runtimeOn(async (sql) => {
      // everybody has reminders that are late, and far more that are to come
      await sql(
        `insert into tasks (user_id, id, version, title, created_at, updated_at, due_date, due_time, due_at, reminders,
          reminder_times, remind_at, last_reminder_at)
        select id, case when id = $1 and n = 1 then $3 else gen_random_uuid() end, n, 'task', now(), now(), at::date,
          to_char(at, 'HH24:MI'), at, '[{"before":"PT0M","delivered_at":null}]', array[at], at, at
        from users, lateral generate_series(1, case when id = $1 then $2::int else 100 end) as n
        cross join lateral (select now() + (n - 4) * interval '1 hour' as at) as times`,
        [user, openTasks, some]
      )
      await sql(
        `insert into task_occurrences (user_id, task_id, version, occurrence, due_at, completed_at, series_start,
          series_number)
        select user_id, id, version + n, current_date - n, now(), now() - n * interval '1 minute', current_date, n
        from (select * from tasks where user_id = $1 order by version limit 100) as tasks, generate_series(1, 200) as n`,
        [user]
      )
    })
  })
  afterAll(() => runtime?.dispose())

  const found = <A>(find: (repo: DatesRepo["Service"]) => Effect.Effect<A>) => Effect.flatMap(DatesRepo, find)
  const searches: ReadonlyArray<
    readonly [
      what: string,
      work: Effect.Effect<unknown, never, DatesRepo | Reminders>,
      sent: RegExp,
      index: string,
      rows: number
    ]
  > = [
    [
      "open tasks in the zone of their owner, from the first",
      found((repo) => repo.findInUserZone(user, undefined, 50)),
      /^/,
      "tasks_open",
      50
    ],
    [
      "open tasks in the zone of their owner, from any",
      found((repo) => repo.findInUserZone(user, TaskId.make("80000000-0000-7000-8000-000000000000"), 50)),
      /^/,
      "tasks_open",
      50
    ],
    [
      "tasks of one user whose reminders are late",
      found((repo) => repo.findReminding(user, 500)),
      /^/,
      "tasks_reminding",
      4
    ],
    [
      "users whose reminders are late",
      Effect.flatMap(Reminders, ({ deliver }) => deliver),
      /select distinct user_id/,
      "tasks_remind_at",
      201 * 4
    ],
    [
      "the ledger of a task",
      found((repo) => repo.ledger(user, some, 100)),
      /^/,
      "task_occurrences_pkey",
      100
    ],
    [
      "an occurrence in the ledger",
      found((repo) => repo.isCompleted(user, some, "2026-01-01")),
      /^/,
      "task_occurrences_pkey",
      200
    ]
  ]

  it.each(searches)("%s are found by an index, which reads no others", async (_, work, sent, index, rows) => {
    for (const nodes of await plansOfWork(runtime, work, sent)) {
      const scans = scansOf(nodes)
      expect(scans.flatMap((node) => node["Index Name"] ?? [])).toEqual([index])
      // a bitmap's rows are read from the table
      const read = scans.filter((node) => node["Node Type"] !== "Bitmap Index Scan")
      expect(rowsRead(read)).toBeLessThanOrEqual(rows)
    }
  })
})
