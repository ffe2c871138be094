/** The rows of tasks. Every function takes the owner first, and every statement names the owner. */
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Writes } from "../changes/Writes.ts"
import { Reads } from "../database/Reads.ts"
import { priorities, type Priority, type Task, type TaskCreate, TaskId, type TaskUpdate } from "../domain/Task.ts"
import type { Order } from "../domain/TaskQuery.ts"
import type { UserId } from "../domain/User.ts"
import { type Position, taskOrder } from "./TaskOrder.ts"
import { tagTerms, termQuery, wordTerms } from "./Terms.ts"
import { taskColumns, type TaskRow, toTask } from "./TaskRow.ts"

/** Priorities are stored by rank, so that they sort. */
const rank = (priority: Priority | undefined): number | null =>
  priority === undefined ? null : priorities.indexOf(priority)

/** The versions at which a write may change a task: undefined for any. */
export type ExpectedVersions = ReadonlyArray<number> | undefined

/** Which tasks a list has; what is undefined or empty does not matter. */
export interface Filter {
  /** the trash: deleted tasks that can be restored, instead of the live ones */
  readonly deleted: boolean
  readonly completed: boolean | undefined
  readonly priorities: ReadonlyArray<Priority> | undefined
  /** all of them, whatever their case */
  readonly tags: ReadonlyArray<string>
  /** an instant, inclusive */
  readonly updatedSince: string | undefined
  /** the beginnings of words, all of which must be there; an empty list matches nothing */
  readonly words: ReadonlyArray<string> | undefined
}

export interface Page {
  readonly order: ReadonlyArray<Order>
  readonly after: Position | undefined
  readonly limit: number
}

export interface NewTask extends TaskCreate {
  readonly id: TaskId
  /** of what was sent, where the id is the client's own */
  readonly creationHash: Uint8Array | undefined
}

export class TasksRepo extends Context.Service<TasksRepo, {
  /** undefined where the owner has a task with this id, deleted or not, or where there is no such owner any more. */
  readonly insert: (userId: UserId, task: NewTask) => Effect.Effect<Task | undefined>
  /** A live task. */
  readonly get: (userId: UserId, id: TaskId) => Effect.Effect<Task | undefined>
  /** A task that is live or can be restored. */
  readonly getRestorable: (userId: UserId, id: TaskId) => Effect.Effect<Task | undefined>
  /** A task, live or deleted, and whether it was created by a request with this hash. */
  readonly findCreated: (userId: UserId, id: TaskId, creationHash: Uint8Array | undefined) => Effect.Effect<
    { readonly task: Task; readonly isSame: boolean } | undefined
  >
  /** At most `limit` tasks after a position, each with its own position. */
  readonly list: (userId: UserId, filter: Filter, page: Page) => Effect.Effect<
    ReadonlyArray<{ readonly task: Task; readonly position: Position }>
  >
  readonly count: (userId: UserId, filter: Filter) => Effect.Effect<number>
  /** Sets the given members of a live task at one of the expected versions; undefined where there is none. */
  readonly update: (
    userId: UserId,
    id: TaskId,
    members: TaskUpdate,
    expected: ExpectedVersions
  ) => Effect.Effect<Task | undefined>
  /** Leaves a tombstone, which sync clients need. */
  readonly remove: (userId: UserId, id: TaskId, expected: ExpectedVersions) => Effect.Effect<Task | undefined>
  /** Takes back a deletion of the last 30 days. */
  readonly restore: (userId: UserId, id: TaskId, expected: ExpectedVersions) => Effect.Effect<Task | undefined>
}>()("tasks-api/tasks/TasksRepo") {
  static readonly layer = Layer.effect(
    TasksRepo,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const reads = yield* Reads
      const writes = yield* Writes
      const columns = sql.literal(taskColumns)
      // as the index has it
      const terms = sql.literal("(title_terms || description_terms || tag_terms)")
      const restorable = sql.literal("deleted_at > now() - interval '30 days'")
      const live = sql.literal("deleted_at is null")

      const vector = (terms: ReadonlyArray<string>) => sql`array_to_tsvector(${terms}::text[])`

      const isByTerms = ({ tags, words }: Filter) => tags.length > 0 || words !== undefined

      const conditionsOf = (userId: UserId, filter: Filter) => {
        const { completed, deleted, priorities, tags, updatedSince, words } = filter
        return [
          sql`user_id = ${userId}`,
          deleted ? restorable : live,
          ...(completed === undefined ? [] : [sql`completed = ${completed}`]),
          ...(priorities === undefined ? [] : [sql`priority = any(${priorities.map(rank)}::smallint[])`]),
          ...(updatedSince === undefined ? [] : [sql`updated_at >= ${updatedSince}::text::timestamptz`]),
          ...(words?.length === 0 ? [sql.literal("false")] : []),
          ...(isByTerms(filter) && words?.length !== 0
            ? [sql`${terms} @@ ${termQuery(userId, { tags, words: words ?? [] })}::text::tsquery`]
            : [])
        ]
      }

      /** The tasks of a filter. What is found by terms is found first and sorted then, however few of it are asked for. */
      const tasksOf = (userId: UserId, filter: Filter) => {
        const conditions = sql.and(conditionsOf(userId, filter))
        return isByTerms(filter)
          ? sql`(select * from tasks where ${conditions} offset 0) as tasks where true`
          : sql`tasks where ${conditions}`
      }

      /**
       * One write of one task. It is looked at again after the wait for the owner's other writes, so the guard holds for
       * its latest state.
       */
      const write = (
        userId: UserId,
        id: TaskId,
        expected: ExpectedVersions,
        guard: typeof live,
        assignments: ReturnType<typeof sql.literal>
      ) => {
        const target = sql`
        user_id = ${userId} and id = ${id} and ${guard}
        and (${expected ?? null}::bigint[] is null or version = any(${expected ?? null}::bigint[]))`
        return writes.write<TaskRow>(userId, {
          when: sql`exists (select 1 from tasks where ${target})`,
          statement: sql`
          update tasks set version = next.last_version, updated_at = next.written_at, ${assignments}
          from next where ${target}
          returning ${columns}`
        }).pipe(Effect.map(([row]) => row && toTask(row)), Effect.orDie)
      }

      return TasksRepo.of({
        insert: (userId, task) =>
          writes.write<TaskRow>(userId, {
            // only an id of the client's own can be taken
            ...(task.creationHash !== undefined && {
              when: sql`not exists (select 1 from tasks where user_id = ${userId} and id = ${task.id})`
            }),
            statement: sql`
            insert into tasks (user_id, id, version, title, description, priority, tags, created_at, updated_at,
              creation_hash, title_terms, description_terms, tag_terms)
            select ${userId}::uuid, ${task.id}::uuid, last_version, ${task.title}, ${task.description ?? null},
              ${rank(task.priority) ?? 0}::smallint, ${task.tags ?? []}::text[], written_at, written_at,
              ${task.creationHash ?? null}::bytea, ${vector(wordTerms(userId, task.title))},
              ${vector(wordTerms(userId, task.description ?? null))}, ${vector(tagTerms(userId, task.tags ?? []))}
            from next
            on conflict (user_id, id) do nothing
            returning ${columns}`
          }).pipe(Effect.map(([row]) => row && toTask(row)), Effect.orDie),
        get: (userId, id) =>
          reads<TaskRow>`select ${columns} from tasks where user_id = ${userId} and id = ${id} and ${live}`.pipe(
            Effect.map(([row]) => row && toTask(row)),
            Effect.orDie
          ),
        getRestorable: (userId, id) =>
          reads<TaskRow>`
          select ${columns} from tasks
          where user_id = ${userId} and id = ${id} and (${live} or ${restorable})`.pipe(
            Effect.map(([row]) => row && toTask(row)),
            Effect.orDie
          ),
        findCreated: (userId, id, creationHash) =>
          sql<TaskRow & { readonly is_same: boolean }>`
          select ${columns}, coalesce(creation_hash = ${creationHash ?? null}::bytea, false) as is_same from tasks
          where user_id = ${userId} and id = ${id}`.pipe(
            Effect.map(([row]) => row && { task: toTask(row), isSame: row.is_same }),
            Effect.orDie
          ),
        list: (userId, filter, { after, limit, order }) => {
          const { orderBy, position, ranges } = taskOrder(sql, order)
          const tasks = tasksOf(userId, filter)
          const [first, ...others] = ranges(after).map((range) =>
            sql`
            select ${columns}, ${position} as position from ${tasks} and ${range.condition}
            order by ${range.orderBy} limit ${limit}`
          )
          const statement = others.length === 0 ? first! : sql`
          select * from (${others.reduce((all, one) => sql`${all} union all (${one})`, sql`(${first!})`)}) as ranges
          order by ${orderBy} limit ${limit}`
          // what an index has in this order is short work
          const client = isByTerms(filter) || order.length > 1 ? sql : reads
          return client<TaskRow & { readonly position: Position }>`${statement}`.pipe(
            Effect.map((rows) => rows.map((row) => ({ task: toTask(row), position: row.position }))),
            Effect.orDie
          )
        },
        count: (userId, filter) =>
          sql<{ readonly count: number }>`
          select count(*)::int as count from ${tasksOf(userId, filter)}`.pipe(
            Effect.map(([row]) => row!.count),
            Effect.orDie
          ),
        update: (userId, id, members, expected) =>
          write(
            userId,
            id,
            expected,
            live,
            sql`
            title = coalesce(${members.title ?? null}, title),
            description = case when ${members.description !== undefined} then ${
              members.description ?? null
            } else description end,
            completed = coalesce(${members.completed ?? null}, completed),
            completed_at = case coalesce(${members.completed ?? null}, completed)
              when true then coalesce(completed_at, next.written_at) end,
            priority = coalesce(${rank(members.priority)}, priority),
            tags = coalesce(${members.tags ?? null}, tags),
            title_terms = case when ${members.title !== undefined}
              then ${vector(wordTerms(userId, members.title ?? null))} else title_terms end,
            description_terms = case when ${members.description !== undefined}
              then ${vector(wordTerms(userId, members.description ?? null))} else description_terms end,
            tag_terms = case when ${members.tags !== undefined}
              then ${vector(tagTerms(userId, members.tags ?? []))} else tag_terms end`
          ),
        remove: (userId, id, expected) => write(userId, id, expected, live, sql`deleted_at = next.written_at`),
        restore: (userId, id, expected) => write(userId, id, expected, restorable, sql`deleted_at = null`)
      })
    })
  )
}
