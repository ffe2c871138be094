/** The rows of tasks. Every function takes the owner first, and every statement names the owner. */
import { Context, Effect, Layer } from "effect"
import { SqlClient, type Statement } from "effect/sql"
import { Writes } from "../changes/Writes.ts"
import { Reads } from "../database/Reads.ts"
import { priorities, type Priority, type Task, type TaskChange, type TaskCreate, TaskId } from "../domain/Task.ts"
import type { UserId } from "../domain/User.ts"
import { dateParts } from "./DatesRepo.ts"
import { type Filter, live as liveTasks, type Page, restorable as restorableTasks, taskList } from "./TaskList.ts"
import type { Position } from "./TaskOrder.ts"
import { taskColumns, type TaskRow, toTask } from "./TaskRow.ts"
import { tagTerms, wordTerms } from "./Terms.ts"
import { inTurns } from "./Turns.ts"

/** Priorities are stored by rank, so that they sort. */
const rank = (priority: Priority | undefined): number | null =>
  priority === undefined ? null : priorities.indexOf(priority)

/** The versions at which a write may change a task: undefined for any. */
export type ExpectedVersions = ReadonlyArray<number> | undefined

export interface NewTask extends TaskCreate {
  readonly id: TaskId
  /** of what was sent, where the id is the client's own */
  readonly creationHash: Uint8Array | undefined
  /** of DatesRepo; absent: it has none */
  readonly dates?: object
}

/** What of a task is to be written. */
export interface TaskWrite extends Target {
  readonly members: Pick<TaskChange, "title" | "description" | "completed" | "priority" | "tags">
  /** of DatesRepo; absent: they stay, and so does the task where the write has to be computed from them */
  readonly dates?: object
}

/** A write of one task of several, at one of the expected versions. */
export interface Target {
  readonly id: TaskId
  readonly expected: ExpectedVersions
}

/** Tasks by their ids. */
export type TasksById = ReadonlyMap<TaskId, Task>

/**
 * Those that write take many tasks, each at most once, and do it in one statement; they give back what they have
 * written. What they left out was not there, not at an expected version, or gone when its turn came.
 */
export class TasksRepo extends Context.Service<TasksRepo, {
  /** Leaves out whose id the owner has already, deleted or not, and everything where there is no such owner any more. */
  readonly insert: (userId: UserId, tasks: ReadonlyArray<NewTask>) => Effect.Effect<TasksById>
  /** A live task. */
  readonly get: (userId: UserId, id: TaskId) => Effect.Effect<Task | undefined>
  /** Those that are live, or can be restored. */
  readonly find: (
    userId: UserId,
    ids: ReadonlyArray<TaskId>,
    which: "live" | "restorable"
  ) => Effect.Effect<TasksById>
  /** Those of tasks, live or deleted, that there are, and whether they were created by requests with these hashes. */
  readonly findCreated: (
    userId: UserId,
    tasks: ReadonlyArray<Pick<NewTask, "id" | "creationHash">>
  ) => Effect.Effect<ReadonlyMap<TaskId, { readonly task: Task; readonly isSame: boolean }>>
  /** At most `limit` tasks after a position, each with its own position. */
  readonly list: (userId: UserId, filter: Filter, page: Page) => Effect.Effect<
    ReadonlyArray<{ readonly task: Task; readonly position: Position }>
  >
  readonly count: (userId: UserId, filter: Filter, zone: string) => Effect.Effect<number>
  /** Sets the given members of live tasks. */
  readonly update: (
    userId: UserId,
    changes: ReadonlyArray<TaskWrite>
  ) => Effect.Effect<TasksById>
  /** Completes live tasks, or opens them again; those that are so already, or whose dates matter, are left out. */
  readonly complete: (
    userId: UserId,
    ids: ReadonlyArray<TaskId>,
    completed: boolean
  ) => Effect.Effect<TasksById>
  /** Leaves tombstones, which sync clients need. */
  readonly remove: (userId: UserId, targets: ReadonlyArray<Target>) => Effect.Effect<TasksById>
  /** Takes back deletions of the last 30 days; without `dates`, where they do not matter. */
  readonly restore: (
    userId: UserId,
    targets: ReadonlyArray<Target & Pick<TaskWrite, "dates">>
  ) => Effect.Effect<TasksById>
}>()("tasks-api/tasks/TasksRepo") {
  static readonly layer = Layer.effect(
    TasksRepo,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const reads = yield* Reads
      const writes = yield* Writes
      const columns = sql.literal(taskColumns)
      const restorable = sql.literal(restorableTasks)
      const live = sql.literal(liveTasks)
      const lists = taskList(sql)

      const byId = Effect.map((rows: ReadonlyArray<TaskRow>): TasksById => {
        const tasks = rows.map(toTask)
        return new Map(tasks.map((task) => [task.id, task]))
      })

      /** Values as a table of these columns, numbered from 1. */
      const table = (values: ReadonlyArray<object>, columns: string) =>
        sql`
        select * from jsonb_to_recordset(${
          JSON.stringify(values.map((value, i) => ({ n: i + 1, ...value })))
        }::text::jsonb)
          as given(n integer, task_id uuid, ${sql.literal(columns)})`

      /**
       * One write of tasks that are there. They are looked at again after the wait for the owner's other writes, so the
       * guard holds for their latest state.
       */
      const write = (
        userId: UserId,
        targets: ReadonlyArray<Target & { readonly values?: object }>,
        { assignments, columns: own = "", guard }: {
          readonly guard: Statement.Fragment
          readonly columns?: string
          readonly assignments: Statement.Fragment
        }
      ) => {
        const ids = targets.map(({ id }) => id)
        // one id, as most writes have, leaves PostgreSQL with one plan for all of them; an array is planned each time
        const chosen = ids.length === 1 ? sql`id = ${ids[0]!}::uuid` : sql`id = any(${ids}::uuid[])`
        const target = sql`
        user_id = ${userId} and ${chosen} and id = task_id and ${guard}
        and (expected is null or version = any(expected))`
        return writes.write<TaskRow>(userId, {
          count: targets.length,
          given: table(
            targets.map(({ expected, id, values }) => ({ task_id: id, expected, ...values })),
            `expected bigint[]${own}`
          ),
          when: sql`exists (select 1 from tasks, given where ${target})`,
          statement: sql`
          update tasks set version = previous_version + n, updated_at = written_at, ${assignments}
          from given, next where ${target}
          returning ${columns}`
        }).pipe(byId, Effect.orDie)
      }

      /**
       * What is open means its instants in the zone that its owner has now. What is not may have those of another: the one
       * of when it was completed or deleted. Which zone that is can't be asked here: a statement that waited for the
       * owner's other writes sees of other tables what was there before the wait.
       */
      const hasOwnZone = "(due_date is null or due_zone is not null)"

      /** Whether completing a task, or opening it again, has nothing to do with its dates or with the ledger. */
      const isPlain = (userId: UserId, completed: string) =>
        sql`
        recurrence is null and (${sql.literal(completed)} or completed_at is null or ${
          sql.literal(hasOwnZone)
        } and not exists (
          select 1 from task_occurrences as occurrences
          where occurrences.user_id = ${userId} and task_id = tasks.id and occurrences.completed_at = tasks.completed_at))`

      const completion = (completed: string) =>
        `completed = ${completed}, completed_at = case ${completed} when true then coalesce(completed_at, written_at) end`

      return TasksRepo.of({
        insert: Effect.fnUntraced(function* (userId, tasks) {
          const parts = dateParts(tasks)
          const values = yield* inTurns(tasks, () => true, (task) => ({
            task_id: task.id,
            title: task.title,
            description: task.description ?? null,
            priority: rank(task.priority) ?? 0,
            tags: task.tags ?? [],
            creation_hash: task.creationHash && Buffer.from(task.creationHash).toString("hex"),
            title_terms: wordTerms(userId, task.title),
            description_terms: wordTerms(userId, task.description ?? null),
            tag_terms: tagTerms(userId, task.tags ?? []),
            ...task.dates
          }))
          return yield* writes.write<TaskRow>(userId, {
            count: tasks.length,
            given: table(
              values,
              `title text, description text, priority smallint, tags text[], creation_hash text, title_terms text[],
              description_terms text[], tag_terms text[]${parts.columns}`
            ),
            // only ids of the client's own can be taken
            ...(tasks.some(({ creationHash }) => creationHash !== undefined) && {
              when: sql`
              exists (select 1 from given
                where not exists (select 1 from tasks where user_id = ${userId} and id = task_id))`
            }),
            statement: sql`
            insert into tasks (user_id, id, version, title, description, priority, tags, created_at, updated_at,
              creation_hash, title_terms, description_terms, tag_terms${sql.literal(parts.names)})
            select ${userId}::uuid, task_id, previous_version + n, title, description, priority, tags, written_at,
              written_at, decode(creation_hash, 'hex'), array_to_tsvector(title_terms),
              array_to_tsvector(description_terms), array_to_tsvector(tag_terms)${sql.literal(parts.values)}
            from given, next
            on conflict (user_id, id) do nothing
            returning ${columns}`
          }).pipe(byId, Effect.orDie)
        }),
        get: (userId, id) =>
          reads<TaskRow>`select ${columns} from tasks where user_id = ${userId} and id = ${id} and ${live}`.pipe(
            Effect.map(([row]) => row && toTask(row)),
            Effect.orDie
          ),
        find: (userId, ids, which) =>
          sql<TaskRow>`
          select ${columns} from tasks
          where user_id = ${userId} and id = any(${ids}::uuid[])
            and ${which === "live" ? live : sql`(${live} or ${restorable})`}`.pipe(byId, Effect.orDie),
        findCreated: (userId, tasks) => {
          const hashes = new Map(tasks.map(({ creationHash, id }) => [id, creationHash]))
          return sql<TaskRow & { readonly creation_hash: Uint8Array | null }>`
          select ${columns}, creation_hash from tasks
          where user_id = ${userId} and id = any(${[...hashes.keys()]}::uuid[])`.pipe(
            Effect.map((rows) =>
              new Map(rows.map((row) => {
                const task = toTask(row)
                const [sent, stored] = [hashes.get(task.id), row.creation_hash]
                const isSame = sent !== undefined && stored !== null && Buffer.compare(sent, stored) === 0
                return [task.id, { task, isSame }]
              }))
            ),
            Effect.orDie
          )
        },
        list: (userId, filter, page) => {
          // what an index has in this order is short work
          const client = lists.isLong(filter, page.order) ? sql : reads
          return client<TaskRow & { readonly position: Position }>`${lists.page(userId, filter, page)}`.pipe(
            Effect.map((rows) => rows.map((row) => ({ task: toTask(row), position: row.position }))),
            Effect.orDie
          )
        },
        count: (userId, filter, zone) =>
          sql<{ readonly count: number }>`${lists.count(userId, filter, zone)}`.pipe(
            Effect.map(([row]) => row!.count),
            Effect.orDie
          ),
        update: Effect.fnUntraced(function* (userId, changes) {
          const parts = dateParts(changes)
          const hasText = ({ members: { description, tags, title } }: TaskWrite) =>
            (title ?? description ?? tags) !== undefined
          const targets = yield* inTurns(
            changes,
            hasText,
            ({ dates = { has_dates: false }, expected, id, members }) => ({
              id,
              expected,
              values: {
                new_title: members.title,
                new_title_terms: members.title && wordTerms(userId, members.title),
                has_description: members.description !== undefined,
                new_description: members.description,
                new_description_terms: wordTerms(userId, members.description ?? null),
                new_completed: members.completed,
                new_priority: rank(members.priority),
                new_tags: members.tags,
                new_tag_terms: members.tags && tagTerms(userId, members.tags),
                ...dates
              }
            })
          )
          return yield* write(
            userId,
            targets,
            {
              guard: sql`
              ${live} and (has_dates or new_completed is null or ${isPlain(userId, "new_completed")})`,
              columns: `, new_title text, new_title_terms text[], has_description boolean, new_description text,
                new_description_terms text[], new_completed boolean, new_priority smallint, new_tags text[],
                new_tag_terms text[]${parts.columns}`,
              assignments: sql`
              title = coalesce(new_title, title),
              title_terms = coalesce(array_to_tsvector(new_title_terms), title_terms),
              description = case when has_description then new_description else description end,
              description_terms = case when has_description then array_to_tsvector(new_description_terms)
                else description_terms end,
              ${sql.literal(completion("coalesce(new_completed, completed)"))},
              priority = coalesce(new_priority, priority),
              tags = coalesce(new_tags, tags),
              tag_terms = coalesce(array_to_tsvector(new_tag_terms), tag_terms)
              ${sql.literal(parts.assignments)}`
            }
          )
        }),
        complete: (userId, ids, completed) =>
          write(userId, ids.map((id) => ({ id, expected: undefined })), {
            guard: sql`
            ${live} and completed = ${!completed} and ${isPlain(userId, String(completed))}`,
            assignments: sql.literal(completion(String(completed)))
          }),
        remove: (userId, targets) => write(userId, targets, { guard: live, assignments: sql`deleted_at = written_at` }),
        restore: (userId, targets) => {
          const parts = dateParts(targets)
          return write(
            userId,
            targets.map(({ dates = { has_dates: false }, ...target }) => ({ ...target, values: dates })),
            {
              guard: sql`
              ${restorable} and (has_dates or completed_at is not null or ${sql.literal(hasOwnZone)})`,
              columns: parts.columns,
              assignments: sql.literal(`deleted_at = null${parts.assignments}`)
            }
          )
        }
      })
    })
  )
}
