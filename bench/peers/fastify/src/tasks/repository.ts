/** The rows of tasks, by prepared statements. */
import type { Pool, QueryConfig, QueryResultRow } from "pg"
import { v7 as uuidv7 } from "uuid"
import { priorities } from "../schemas.ts"
import type { Position } from "./cursors.ts"

export type Priority = typeof priorities[number]

export interface Task {
  readonly id: string
  readonly user_id: string
  readonly title: string
  readonly description: string | null
  readonly completed: boolean
  readonly completed_at: Date | null
  readonly priority: Priority
  readonly tags: ReadonlyArray<string>
  readonly version: number
  readonly created_at: Date
  readonly updated_at: Date
  readonly deleted_at: Date | null
}

export interface NewTask {
  readonly title: string
  readonly description?: string | null
  readonly priority?: Priority
  readonly tags?: ReadonlyArray<string>
}

/** Members that are absent stay as they are. */
export type TaskChanges = Partial<NewTask> & { readonly completed?: boolean }

export interface Page {
  readonly completed: boolean | undefined
  readonly newestFirst: boolean
  readonly after: Position | undefined
  readonly limit: number
}

const columns = `id, user_id, title, description, completed, completed_at,
  (array['none', 'low', 'medium', 'high', 'urgent'])[priority + 1] as priority,
  tags, version, created_at, updated_at, deleted_at`

/** Priorities are stored by rank. */
const rank = (priority: Priority | undefined) => priority === undefined ? null : priorities.indexOf(priority)

/** Takes the user's next version where `condition` holds; the row's lock puts the user's writes in order. */
const withNextVersion = (condition: string, statement: string) => `
  with next as (
    update user_sequences set last_version = last_version + 1
    where user_id = $1 and ${condition}
    returning last_version, clock_timestamp() as written_at
  )
  ${statement}`

const target = "user_id = $1 and id = $2 and deleted_at is null and ($3::bigint[] is null or version = any($3))"

const statements = {
  get: `select ${columns} from tasks where user_id = $1 and id = $2 and deleted_at is null`,
  create: withNextVersion(
    "true",
    `insert into tasks (user_id, id, version, title, description, priority, tags, created_at, updated_at)
    select $1, $2, last_version, $3, $4, $5, $6, written_at, written_at from next
    returning ${columns}`
  ),
  update: withNextVersion(
    `exists (select 1 from tasks where ${target})`,
    `update tasks set
      version = next.last_version,
      updated_at = next.written_at,
      title = coalesce($4, title),
      description = case when $5 then $6 else description end,
      completed = coalesce($7, completed),
      completed_at = case when coalesce($7, completed) then coalesce(completed_at, next.written_at) end,
      priority = coalesce($8, priority),
      tags = coalesce($9, tags)
    from next where ${target}
    returning ${columns}`
  )
}

export const tasksRepository = (pool: Pool) => {
  const first = async <Row extends QueryResultRow>(query: QueryConfig): Promise<Row | undefined> =>
    (await pool.query<Row>(query)).rows[0]

  return {
    get: (userId: string, id: string) => first<Task>({ name: "get", text: statements.get, values: [userId, id] }),

    create: (userId: string, { description, priority, tags, title }: NewTask) =>
      first<Task>({
        name: "create",
        text: statements.create,
        values: [userId, uuidv7(), title, description, rank(priority) ?? 0, tags ?? []]
      }),

    /** undefined where there is no such task at one of the versions. */
    update: (userId: string, id: string, changes: TaskChanges, versions: ReadonlyArray<string> | undefined) =>
      first<Task>({
        name: "update",
        text: statements.update,
        values: [
          userId,
          id,
          versions,
          changes.title,
          changes.description !== undefined,
          changes.description,
          changes.completed,
          rank(changes.priority),
          changes.tags
        ]
      }),

    list: async (userId: string, { after, completed, limit, newestFirst }: Page) => {
      const values: Array<unknown> = [userId, limit]
      const bind = (value: unknown) => `$${values.push(value)}`
      const [direction, beyond] = newestFirst ? ["desc", "<"] : ["asc", ">"]
      const conditions = ["user_id = $1", "deleted_at is null"]
      if (completed !== undefined) conditions.push(`completed = ${bind(completed)}`)
      if (after !== undefined) {
        conditions.push(`(created_at, id) ${beyond} (${bind(after[0])}::timestamptz, ${bind(after[1])}::uuid)`)
      }
      const { rows } = await pool.query<Task & { readonly position: string }>({
        name: `list ${direction} ${completed === undefined} ${after === undefined}`,
        text: `
          select ${columns}, created_at::text as position from tasks where ${conditions.join(" and ")}
          order by created_at ${direction}, id ${direction} limit $2`,
        values
      })
      return rows
    }
  }
}
export type TasksRepository = ReturnType<typeof tasksRepository>
