/** A task as it is stored. */
import { priorities, type Task, TaskId } from "../domain/Task.ts"
import { UserId } from "../domain/User.ts"

/** The columns of a TaskRow. */
export const taskColumns =
  "id, user_id, title, description, completed_at, priority, tags, version, created_at, updated_at, deleted_at"

export interface TaskRow {
  readonly id: string
  readonly user_id: string
  readonly title: string
  readonly description: string | null
  readonly completed_at: Date | null
  readonly priority: number
  readonly tags: ReadonlyArray<string>
  readonly version: number
  readonly created_at: Date
  readonly updated_at: Date
  readonly deleted_at: Date | null
}

export const toTask = (row: TaskRow): Task => ({
  id: TaskId.make(row.id, { disableChecks: true }),
  user_id: UserId.make(row.user_id, { disableChecks: true }),
  title: row.title,
  description: row.description,
  completed: row.completed_at !== null,
  completed_at: row.completed_at?.toISOString() ?? null,
  priority: priorities[row.priority]!,
  tags: row.tags,
  version: row.version,
  created_at: row.created_at.toISOString(),
  updated_at: row.updated_at.toISOString(),
  deleted_at: row.deleted_at?.toISOString() ?? null
})
