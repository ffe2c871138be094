/** The rows of tasks. Every function takes the owner first, and every statement names the owner. */
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Writes } from "../changes/Writes.ts"
import { Reads } from "../database/Reads.ts"
import { priorities, type Priority, type Task, type TaskCreate, TaskId, type TaskUpdate } from "../domain/Task.ts"
import type { UserId } from "../domain/User.ts"
import { taskColumns, type TaskRow, toTask } from "./TaskRow.ts"

/** Priorities are stored by rank, so that they sort. */
const rank = (priority: Priority | undefined): number | null =>
  priority === undefined ? null : priorities.indexOf(priority)

/** The versions at which a write may change a task: undefined for any. */
export type ExpectedVersions = ReadonlyArray<number> | undefined

/**
 * A place in the list, everything after it in the order of the list: the time of creation in the database's own text,
 * because JavaScript's dates have no microseconds, and the id.
 */
export type Position = readonly [createdAt: string, id: TaskId]

export interface Page {
  readonly completed: boolean | undefined
  readonly newestFirst: boolean
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
  /** At most `limit` live tasks after a position, each with its own position. */
  readonly list: (userId: UserId, page: Page) => Effect.Effect<
    ReadonlyArray<{ readonly task: Task; readonly position: Position }>
  >
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
      const restorable = sql.literal("deleted_at > now() - interval '30 days'")
      const live = sql.literal("deleted_at is null")

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
              creation_hash)
            select ${userId}::uuid, ${task.id}::uuid, last_version, ${task.title}, ${task.description ?? null},
              ${rank(task.priority) ?? 0}::smallint, ${task.tags ?? []}::text[], written_at, written_at,
              ${task.creationHash ?? null}::bytea
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
        list: (userId, { after, completed, limit, newestFirst }) => {
          const direction = sql.literal(newestFirst ? "desc" : "asc")
          const beyond = sql.literal(newestFirst ? "<" : ">")
          const conditions = sql.and([
            sql`user_id = ${userId}`,
            live,
            ...(completed === undefined ? [] : [sql`completed = ${completed}`]),
            ...(after === undefined
              ? []
              : [sql`(created_at, id) ${beyond} (${after[0]}::text::timestamptz, ${after[1]})`])
          ])
          return reads<TaskRow & { readonly position: string }>`
          select ${columns}, created_at::text as position from tasks where ${conditions}
          order by created_at ${direction}, id ${direction} limit ${limit}`.pipe(
            Effect.map((rows) =>
              rows.map((row) => {
                const task = toTask(row)
                return { task, position: [row.position, task.id] as const }
              })
            ),
            Effect.orDie
          )
        },
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
            tags = coalesce(${members.tags ?? null}, tags)`
          ),
        remove: (userId, id, expected) => write(userId, id, expected, live, sql`deleted_at = next.written_at`),
        restore: (userId, id, expected) => write(userId, id, expected, restorable, sql`deleted_at = null`)
      })
    })
  )
}
