/** The dates of tasks as they are stored, and the ledger of what was completed of those that recur. */
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { dueAtOf, remindAt, type TaskDates } from "../dates/TaskDates.ts"
import { Reads } from "../database/Reads.ts"
import type { LocalDate } from "../domain/Due.ts"
import type { Recurrence } from "../domain/Recurrence.ts"
import { TaskId } from "../domain/Task.ts"
import type { UserId } from "../domain/User.ts"
import { live } from "./TaskList.ts"
import { type TaskRow, toDue } from "./TaskRow.ts"

/** A task as far as its dates go. */
export interface DatedTask {
  readonly id: TaskId
  readonly version: number
  readonly completed: boolean
  readonly dates: TaskDates
}

interface DatedRow extends Pick<TaskRow, "id" | "version" | "due_date" | "due_time" | "due_zone" | "reminders"> {
  readonly completed: boolean
  readonly recurrence: Recurrence | null
  readonly series_start: LocalDate | null
  readonly series_number: number | null
}

const toDated = (row: DatedRow): DatedTask => {
  const { completed, recurrence, reminders, series_number, series_start, version } = row
  return {
    id: TaskId.make(row.id, { disableChecks: true }),
    version,
    completed,
    dates: {
      due: toDue(row),
      // the database sees to it that a recurrence has its place
      recurrence: recurrence && { ...recurrence, place: { start: series_start!, number: series_number! } },
      reminders
    }
  }
}

const instant = (milliseconds: number | undefined): string | null =>
  milliseconds === undefined ? null : new Date(milliseconds).toISOString()

/** Dates as columns of a table of values, which have `new_` before the names of the task's own. */
export const dateColumns = `, has_dates boolean, new_due_date date, new_due_time text, new_due_zone text,
  new_due_at timestamptz, new_recurrence jsonb, new_series_start date, new_series_number integer, new_reminders jsonb,
  new_remind_at timestamptz`

export const dateNames = [
  "due_date",
  "due_time",
  "due_zone",
  "due_at",
  "recurrence",
  "series_start",
  "series_number",
  "reminders",
  "remind_at"
] as const

/** The values of those columns; where `dates` is absent, `has_dates` says that they are not to be written. */
export const dateValues = (dates: TaskDates | undefined, userZone: string): object => {
  if (dates === undefined) return { has_dates: false }
  const { due, recurrence, reminders } = dates
  const { place, ...rule } = recurrence ?? { place: undefined }
  return {
    has_dates: true,
    new_due_date: due?.date,
    new_due_time: due?.time,
    new_due_zone: due?.time_zone,
    new_due_at: instant(dueAtOf(dates, userZone)),
    new_recurrence: recurrence && rule,
    new_series_start: place?.start,
    new_series_number: place?.number,
    new_reminders: reminders,
    new_remind_at: instant(remindAt(dates, userZone))
  }
}

/** One line of the ledger. */
export interface Completed {
  readonly id: TaskId
  readonly version: number
  readonly occurrence: LocalDate
  readonly place: { readonly start: LocalDate; readonly number: number }
}

export class DatesRepo extends Context.Service<DatesRepo, {
  /**
   * Puts what follows in the transaction behind every other write of the user, and gives back the user's time zone;
   * undefined where there is no such user any more.
   */
  readonly lock: (userId: UserId) => Effect.Effect<string | undefined>
  /** The zone whose days the owner means; undefined where there is no such owner any more. */
  readonly timeZone: (userId: UserId) => Effect.Effect<string | undefined>
  /** Those that are live. */
  readonly find: (userId: UserId, ids: ReadonlyArray<TaskId>) => Effect.Effect<ReadonlyMap<TaskId, DatedTask>>
  readonly isCompleted: (userId: UserId, id: TaskId, occurrence: LocalDate) => Effect.Effect<boolean>
  /** Writes the ledger: `due_at` and `completed_at` are those of the task before and after its write. */
  readonly add: (userId: UserId, completed: Completed, dueAt: number) => Effect.Effect<void>
  /** Takes the newest line of a task out of the ledger. */
  readonly takeNewest: (userId: UserId, id: TaskId) => Effect.Effect<Completed | undefined>
}>()("tasks-api/tasks/DatesRepo") {
  static readonly layer = Layer.effect(
    DatesRepo,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const reads = yield* Reads
      return DatesRepo.of({
        lock: (userId) =>
          sql`select 1 from user_sequences where user_id = ${userId} for update`.pipe(
            // a statement of its own: one that waited still sees what was there before the wait
            Effect.andThen(sql<{ readonly time_zone: string }>`select time_zone from users where id = ${userId}`),
            Effect.map(([row]) => row?.time_zone),
            Effect.orDie
          ),
        timeZone: (userId) =>
          reads<{ readonly time_zone: string }>`select time_zone from users where id = ${userId}`.pipe(
            Effect.map(([row]) => row?.time_zone),
            Effect.orDie
          ),
        find: (userId, ids) =>
          sql<DatedRow>`
          select id, version, completed, due_date::text as due_date, due_time, due_zone, recurrence,
            series_start::text as series_start, series_number, reminders
          from tasks where user_id = ${userId} and id = any(${ids}::uuid[]) and ${sql.literal(live)}`.pipe(
            Effect.map((rows) => new Map(rows.map(toDated).map((task) => [task.id, task]))),
            Effect.orDie
          ),
        isCompleted: (userId, id, occurrence) =>
          sql`
          select 1 from task_occurrences
          where user_id = ${userId} and task_id = ${id} and occurrence = ${occurrence}::text::date limit 1`.pipe(
            Effect.map((rows) => rows.length > 0),
            Effect.orDie
          ),
        add: (userId, { id, occurrence, place, version }, dueAt) =>
          sql`
          insert into task_occurrences (user_id, task_id, version, occurrence, due_at, completed_at, series_start, series_number)
          select user_id, id, version, ${occurrence}::text::date, ${instant(dueAt)}::text::timestamptz, updated_at,
            ${place.start}::text::date, ${place.number}
          from tasks where user_id = ${userId} and id = ${id} and version = ${version}`.pipe(
            Effect.asVoid,
            Effect.orDie
          ),
        takeNewest: (userId, id) =>
          sql<{
            readonly version: number
            readonly occurrence: LocalDate
            readonly series_start: LocalDate
            readonly series_number: number
          }>`
          delete from task_occurrences
          where user_id = ${userId} and task_id = ${id} and version = (
            select max(version) from task_occurrences where user_id = ${userId} and task_id = ${id}
          )
          returning version, occurrence::text as occurrence, series_start::text as series_start, series_number`.pipe(
            Effect.map(([row]) =>
              row && {
                id,
                version: row.version,
                occurrence: row.occurrence,
                place: { start: row.series_start, number: row.series_number }
              }
            ),
            Effect.orDie
          )
      })
    })
  )
}
