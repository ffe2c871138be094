/** What a task's due date, recurrence and reminders become by each way to write them. */
import { Result } from "effect"
import type { Due, DuePatch, LocalDate } from "../domain/Due.ts"
import { type Recurrence, recurrenceDefaults, type RecurrencePatch } from "../domain/Recurrence.ts"
import type { Reminder, SentReminder, StoredReminder } from "../domain/Reminder.ts"
import { parseRule } from "../domain/Rule.ts"
import { dueAt, type Instant, rfc3339 } from "./LocalTimes.ts"
import { following, type Occurrence, TooRare, upcoming as upcomingAfter } from "./NextOccurrence.ts"
import { reminderAt } from "./ReminderTimes.ts"

/** Where a recurring task is in its series. */
export interface Place {
  /** the due date that the series began with */
  readonly start: LocalDate
  /** of the current occurrence, from 1 */
  readonly number: number
}

/** All that a task has of dates. */
export interface TaskDates {
  readonly due: Due | null
  readonly recurrence: (Recurrence & { readonly place: Place }) | null
  readonly reminders: ReadonlyArray<StoredReminder>
}

export const noDates: TaskDates = { due: null, recurrence: null, reminders: [] }

/** What is sent of them, as a merge patch (RFC 7396): what is absent stays, `null` goes. */
export interface SentDates {
  readonly due?: DuePatch | null
  readonly recurrence?: RecurrencePatch | null
  readonly reminders?: ReadonlyArray<SentReminder>
}

/** A member that can't be as it was sent, and why. */
export interface DatesFault {
  readonly pointer: string
  readonly detail: string
}

const isSameDue = (one: Due | null, other: Due | null): boolean =>
  one?.date === other?.date && one?.time === other?.time && one?.time_zone === other?.time_zone

/** A rule in one form: neither case nor order matters, nor a default that is written out. */
const formOf = ({ rule }: Recurrence): string =>
  JSON.stringify(
    parseRule(rule),
    (_, value: unknown) => Array.isArray(value) ? value.map((one) => JSON.stringify(one)).sort() : value
  )

/** Whether its days are counted from the same: what is left out of them does not matter. */
const isSameSeries = (one: Recurrence, other: Recurrence): boolean =>
  (one.rule === other.rule || formOf(one) === formOf(other)) && one.anchor === other.anchor

/** A merge patch of a due date, merged; what it lacks then is a fault. */
const mergedDue = (current: Due | null, sent: DuePatch | null): Result.Result<Due | null, DatesFault> => {
  if (sent === null) return Result.succeed(null)
  const date = sent.date ?? current?.date
  const time = sent.time === undefined ? current?.time : sent.time ?? undefined
  const zone = sent.time_zone === undefined ? current?.time_zone : sent.time_zone ?? undefined
  if (date === undefined) return Result.fail({ pointer: "/due/date", detail: "is required" })
  if (zone !== undefined && time === undefined) {
    return Result.fail({ pointer: "/due", detail: "a time_zone needs a time" })
  }
  return Result.succeed({
    date,
    ...(time !== undefined && { time }),
    ...(zone !== undefined && { time_zone: zone })
  })
}

/** The same of a recurrence: what is absent stays where there is one, and is its default where there is none. */
const mergedRecurrence = (
  current: Recurrence | null,
  sent: RecurrencePatch | null
): Result.Result<Recurrence | null, DatesFault> => {
  if (sent === null) return Result.succeed(null)
  const rule = sent.rule ?? current?.rule
  if (rule === undefined) return Result.fail({ pointer: "/recurrence/rule", detail: "is required" })
  const { anchor = current?.anchor, missed = current?.missed, month_end = current?.month_end } = sent
  return Result.succeed({
    rule,
    anchor: anchor ?? recurrenceDefaults.anchor,
    month_end: month_end ?? recurrenceDefaults.month_end,
    missed: missed ?? recurrenceDefaults.missed
  })
}

const sentOf = ({ at, before }: Reminder): SentReminder => before === undefined ? { at: at! } : { before }

/** Instants are shown in one form, however they were sent. */
const normal = (sent: SentReminder): SentReminder => "at" in sent ? { at: new Date(sent.at).toISOString() } : sent

/** A reminder stays delivered as long as there is one for the same moment, in whatever words. */
const remindersOf = (
  sent: ReadonlyArray<SentReminder>,
  due: Due | null,
  before: TaskDates,
  userZone: string
): ReadonlyArray<StoredReminder> => {
  const times = reminderTimes(before, userZone)
  const delivered = new Map(
    before.reminders.flatMap(({ at: _, before: __, ...delivered }, i) =>
      delivered.delivered_at === null ? [] : [[times[i], delivered]]
    )
  )
  return sent.map(normal).map((reminder) => ({
    ...reminder,
    delivered_at: null,
    ...delivered.get(reminderAt(reminder, due ?? undefined, userZone))
  }))
}

/** The dates of a task after some of them were sent. A new due date or rule begins a series. */
export const changed = (before: TaskDates, sent: SentDates, userZone: string): Result.Result<TaskDates, DatesFault> => {
  const due = sent.due === undefined ? Result.succeed(before.due) : mergedDue(before.due, sent.due)
  if (Result.isFailure(due)) return Result.fail(due.failure)
  const now = due.success
  const wanted = sent.recurrence === undefined
    ? Result.succeed(before.recurrence)
    : mergedRecurrence(before.recurrence, sent.recurrence)
  if (Result.isFailure(wanted)) return Result.fail(wanted.failure)
  const recurrence = wanted.success
  const reminders = remindersOf(sent.reminders ?? before.reminders.map(sentOf), now, before, userZone)
  if (recurrence === null) return Result.succeed({ due: now, recurrence, reminders })
  if (now === null) return Result.fail({ pointer: "/recurrence", detail: "needs a due date" })
  const goesOn = before.recurrence !== null && isSameDue(now, before.due) &&
    isSameSeries(recurrence, before.recurrence)
  const { anchor, missed, month_end, rule } = recurrence
  const place = goesOn ? before.recurrence.place : { start: now.date, number: 1 }
  const after = { due: now, recurrence: { rule, anchor, month_end, missed, place }, reminders }
  if (goesOn && month_end === before.recurrence.month_end) return Result.succeed(after)
  try {
    // whoever sets a rule is told at once that it can't be followed, not when the task is completed
    const onItsDay = dueAt({ time: "00:00", ...now }, userZone)
    next({ ...after, recurrence: { ...after.recurrence, missed: "each" } }, onItsDay, userZone)
    return Result.succeed(after)
  } catch (error) {
    if (!(error instanceof TooRare)) throw error
    return Result.fail({ pointer: "/recurrence/rule", detail: "never occurs, or too rarely to be found" })
  }
}

/** The occurrence that a recurring task is at; undefined of one that does not recur. */
const occurrenceOf = ({ due, recurrence }: TaskDates, userZone: string): Occurrence | undefined => {
  if (due === null || recurrence === null) return undefined
  const { place, ...rule } = recurrence
  return { due, recurrence: rule, ...place, userZone }
}

/** A reminder at a later occurrence: delivered only where a completion was taken back after it was. */
const moved = (reminder: StoredReminder, due: Due, userZone: string): StoredReminder => {
  const { before, delivered_for } = reminder
  if (before === undefined) return reminder
  const at = rfc3339(reminderAt({ before }, due, userZone)!)
  if (delivered_for === undefined || at > delivered_for) return { before, delivered_at: null }
  return { before, delivered_at: at, ...(at < delivered_for && { delivered_for }) }
}

/** The dates at the occurrence after the current one; undefined where that was the last. Throws `TooRare`. */
const next = (dates: TaskDates, completedAt: Instant, userZone: string): TaskDates | undefined => {
  const current = occurrenceOf(dates, userZone)
  const occurrence = current && following(current, completedAt)
  return occurrence && {
    due: occurrence.due,
    recurrence: { ...occurrence.recurrence, place: { start: occurrence.start, number: occurrence.number } },
    reminders: dates.reminders.map((reminder) => moved(reminder, occurrence.due, userZone))
  }
}

/** The dates at the occurrence after the current one; undefined where that was the last that can be found. */
export const advanced = (dates: TaskDates, completedAt: Instant, userZone: string): TaskDates | undefined => {
  try {
    return next(dates, completedAt, userZone)
  } catch (error) {
    if (error instanceof TooRare) return undefined
    throw error
  }
}

/** What comes after the current occurrence within a century: each completed in time, a late one now. */
export const upcoming = function* (dates: TaskDates, now: Instant, userZone: string): Generator<Due> {
  const current = occurrenceOf(dates, userZone)
  if (current === undefined) return
  try {
    for (const { due } of upcomingAfter(current, now)) yield due
  } catch (error) {
    if (!(error instanceof TooRare)) throw error
  }
}

/** When each reminder is to be delivered; null where it is relative and nothing is due. */
export const reminderTimes = ({ due, reminders }: TaskDates, userZone: string): ReadonlyArray<Instant | null> =>
  reminders.map((reminder) => reminderAt(sentOf(reminder), due ?? undefined, userZone) ?? null)

/** The reminders, of which those whose time has come are delivered now. */
export const delivered = (dates: TaskDates, now: Instant, userZone: string): TaskDates => {
  const times = reminderTimes(dates, userZone)
  return {
    ...dates,
    reminders: dates.reminders.map((reminder, i) =>
      reminder.delivered_at === null && times[i] !== null && times[i]! <= now
        ? { ...reminder, delivered_at: rfc3339(now) }
        : reminder
    )
  }
}

/** The instant that is due. */
export const dueAtOf = ({ due }: TaskDates, userZone: string): Instant | undefined =>
  due === null ? undefined : dueAt(due, userZone)
