/** The dates of tasks as they are stored, and the ledger of what was completed of those that recur. */
import { Context, Effect, Layer } from "effect"
import { SqlClient, type Statement } from "effect/sql"
import { rfc3339 } from "../dates/LocalTimes.ts"
import { dueAtOf, reminderTimes, type TaskDates } from "../dates/TaskDates.ts"
import type { Occurrences } from "../api/TaskDates.ts"
import { lockWrites } from "../changes/WriteLock.ts"
import { Reads } from "../database/Reads.ts"
import type { LocalDate } from "../domain/Due.ts"
import type { Recurrence } from "../domain/Recurrence.ts"
import { TaskId } from "../domain/Task.ts"
import type { UserId } from "../domain/User.ts"
import { live, restorable } from "./TaskList.ts"
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

const instant = (milliseconds: number | null | undefined): string | null =>
  typeof milliseconds === "number" ? rfc3339(milliseconds) : null

/** Dates as columns of a table of values, which have `new_` before the names of the task's own. */
const columns = `, has_dates boolean, new_due_date date, new_due_time text, new_due_zone text,
  new_due_at timestamptz, new_recurrence jsonb, new_series_start date, new_series_number integer, new_reminders jsonb,
  new_reminder_times timestamptz[], new_remind_at timestamptz, new_last_reminder_at timestamptz`

const names = [
  "due_date",
  "due_time",
  "due_zone",
  "due_at",
  "recurrence",
  "series_start",
  "series_number",
  "reminders",
  "reminder_times",
  "remind_at",
  "last_reminder_at"
] as const

/**
 * The parts of a statement that writes these tasks, each beginning with a comma. Most have nothing to do with dates, and
 * their statements are shorter by a dozen columns.
 */
export const dateParts = (tasks: ReadonlyArray<{ readonly dates?: object }>) => {
  const all = tasks.some(({ dates }) => dates !== undefined) ? names : []
  const each = (part: (name: string) => string) => all.map((name) => `, ${part(name)}`).join("")
  return {
    columns: all.length === 0 ? ", has_dates boolean" : columns,
    names: each((name) => name),
    values: each((name) => `new_${name}`),
    assignments: each((name) => `${name} = case when has_dates then new_${name} else ${name} end`)
  }
}

/** The values of those columns; where `dates` is absent, `has_dates` says that they are not to be written. */
export const dateValues = (dates: TaskDates | undefined, userZone: string): object => {
  if (dates === undefined) return { has_dates: false }
  const { due, recurrence, reminders } = dates
  const { place, ...rule } = recurrence ?? { place: undefined }
  const times = reminderTimes(dates, userZone)
  const known = times.filter((time) => time !== null)
  const open = times.flatMap((time, i) => time === null || reminders[i]!.delivered_at !== null ? [] : time)
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
    new_reminder_times: times.map(instant),
    new_remind_at: open.length === 0 ? null : instant(Math.min(...open)),
    new_last_reminder_at: known.length === 0 ? null : instant(Math.max(...known))
  }
}

/** What computing a user's dates depends on, beside them. */
export interface Moment {
  /** the zone whose days the owner means */
  readonly userZone: string
  /** by the database's clock, in milliseconds since 1970: instances have to agree */
  readonly now: number
}

/** One line of the ledger. */
export interface Completed {
  readonly id: TaskId
  readonly version: number
  readonly occurrence: LocalDate
  readonly place: { readonly start: LocalDate; readonly number: number }
}

/** No UUIDv7 comes before it. */
const beforeAll = "00000000-0000-0000-0000-000000000000"

export class DatesRepo extends Context.Service<DatesRepo, {
  /**
   * Puts what follows in the transaction behind every other write of the user. Undefined where there is no such user
   * any more, and, for who would rather come again than wait, while another write of the user is under way.
   */
  readonly lock: (userId: UserId, whenTaken?: "wait" | "skip") => Effect.Effect<Moment | undefined>
  /** Undefined where there is no such user any more. */
  readonly moment: (userId: UserId) => Effect.Effect<Moment | undefined>
  readonly find: (
    userId: UserId,
    ids: ReadonlyArray<TaskId>,
    which: "live" | "restorable"
  ) => Effect.Effect<ReadonlyMap<TaskId, DatedTask>>
  /** Open tasks whose dates are those of the user's zone, in the order of their ids. */
  readonly findInUserZone: (
    userId: UserId,
    after: TaskId | undefined,
    limit: number
  ) => Effect.Effect<ReadonlyArray<DatedTask>>
  /** Open tasks with a reminder whose time has come. */
  readonly findReminding: (userId: UserId, limit: number) => Effect.Effect<ReadonlyArray<DatedTask>>
  readonly isCompleted: (userId: UserId, id: TaskId, occurrence: LocalDate) => Effect.Effect<boolean>
  /** Writes the ledger, after the task was written: `completed_at` is the instant of that. */
  readonly add: (userId: UserId, completed: Completed, dueAt: number) => Effect.Effect<void>
  /** The last lines of a task, oldest first. */
  readonly ledger: (userId: UserId, id: TaskId, most: number) => Effect.Effect<Occurrences["past"]>
  /**
   * Takes the newest line of a task out of the ledger; of a task that is completed, only the line of that: it may have
   * been completed while it did not recur.
   */
  readonly takeNewest: (userId: UserId, id: TaskId) => Effect.Effect<Completed | undefined>
}>()("tasks-api/tasks/DatesRepo") {
  static readonly layer = Layer.effect(
    DatesRepo,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const reads = yield* Reads

      const moment = (client: Reads["Service"], userId: UserId): Effect.Effect<Moment | undefined> =>
        client<{ readonly time_zone: string; readonly now: Date }>`
        select time_zone, clock_timestamp() as now from users where id = ${userId}`.pipe(
          Effect.map(([row]) => row && { userZone: row.time_zone, now: row.now.getTime() }),
          Effect.orDie
        )

      const dated = (userId: UserId, condition: Statement.Fragment): Effect.Effect<ReadonlyArray<DatedTask>> =>
        sql<DatedRow>`
        select id, version, completed, due_date::text as due_date, due_time, due_zone, recurrence,
          series_start::text as series_start, series_number, reminders
        from tasks where user_id = ${userId} and ${condition}`.pipe(
          Effect.map((rows) => rows.map(toDated)),
          Effect.orDie
        )

      const open = sql.literal(`${live} and completed_at is null`)

      return DatesRepo.of({
        lock: Effect.fnUntraced(function* (userId, whenTaken = "wait") {
          const isLocked = yield* Effect.orDie(lockWrites(sql, userId, whenTaken))
          return isLocked ? yield* moment(sql, userId) : undefined
        }),
        moment: (userId) => moment(reads, userId),
        find: (userId, ids, which) =>
          Effect.map(
            dated(userId, sql`id = any(${ids}::uuid[]) and ${sql.literal(which === "live" ? live : restorable)}`),
            (tasks) => new Map(tasks.map((task) => [task.id, task]))
          ),
        findInUserZone: (userId, after, limit) =>
          dated(
            userId,
            sql`${open} and due_date is not null and due_zone is null
            and id > ${after ?? beforeAll}::uuid order by id limit ${limit}`
          ),
        findReminding: (userId, limit) =>
          dated(userId, sql`${open} and remind_at <= now() order by remind_at limit ${limit}`),
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
        ledger: (userId, id, most) =>
          sql<{ readonly occurrence: LocalDate; readonly due_at: Date; readonly completed_at: Date }>`
          select occurrence::text as occurrence, due_at, completed_at from task_occurrences
          where user_id = ${userId} and task_id = ${id} order by version desc limit ${most}`.pipe(
            Effect.map((rows) =>
              rows.toReversed().map(({ completed_at, due_at, occurrence }) => ({
                occurrence,
                due_at: due_at.toISOString(),
                completed_at: completed_at.toISOString()
              }))
            ),
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
          ) and exists (
            select 1 from tasks where user_id = ${userId} and id = ${id}
              and (tasks.completed_at is null or tasks.completed_at = task_occurrences.completed_at)
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
