/** A task as it is stored. */
import type { Due, LocalDate } from "../domain/Due.ts"
import type { Recurrence } from "../domain/Recurrence.ts"
import type { Reminder } from "../domain/Reminder.ts"
import { type ChangedTask, priorities, type Task, TaskId } from "../domain/Task.ts"
import { UserId } from "../domain/User.ts"

/** Whether a task is open, and its time has come. */
export const overdue = "coalesce(completed_at is null and due_at <= now(), false)"

/** The columns of a ChangedRow. A date is text: the driver would make an instant of it. */
export const changedColumns =
  `id, user_id, title, description, completed_at, priority, tags, version, created_at, updated_at,
  deleted_at, due_date::text as due_date, due_time, due_zone, due_at, recurrence, reminders`

/** The columns of a TaskRow. */
export const taskColumns = `${changedColumns}, ${overdue} as overdue`

export interface ChangedRow {
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
  readonly due_date: LocalDate | null
  readonly due_time: string | null
  readonly due_zone: string | null
  readonly due_at: Date | null
  readonly recurrence: Recurrence | null
  readonly reminders: ReadonlyArray<Reminder>
}

export interface TaskRow extends ChangedRow {
  readonly overdue: boolean
}

export const toDue = (row: Pick<TaskRow, "due_date" | "due_time" | "due_zone">): Due | null =>
  row.due_date === null ? null : {
    date: row.due_date,
    ...(row.due_time !== null && { time: row.due_time }),
    ...(row.due_zone !== null && { time_zone: row.due_zone })
  }

export const toChangedTask = (row: ChangedRow): ChangedTask => ({
  id: TaskId.make(row.id, { disableChecks: true }),
  user_id: UserId.make(row.user_id, { disableChecks: true }),
  title: row.title,
  description: row.description,
  completed: row.completed_at !== null,
  completed_at: row.completed_at?.toISOString() ?? null,
  priority: priorities[row.priority]!,
  tags: row.tags,
  due: toDue(row),
  due_at: row.due_at?.toISOString() ?? null,
  recurrence: row.recurrence,
  reminders: row.reminders,
  version: row.version,
  created_at: row.created_at.toISOString(),
  updated_at: row.updated_at.toISOString(),
  deleted_at: row.deleted_at?.toISOString() ?? null
})

export const toTask = (row: TaskRow): Task => ({ ...toChangedTask(row), overdue: row.overdue })
