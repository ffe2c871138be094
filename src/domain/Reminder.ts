/** When a user wants to be reminded of a task. */
import { Schema } from "effect"
import { closed } from "./Closed.ts"
import { Instant, SentInstant } from "./Instant.ts"

/** Reminders of one task. */
const most = 10

const duration = /^P(?=\d|T\d)(?:(\d{1,2})W)?(?:(\d{1,3})D)?(?:T(?=\d)(?:(\d{1,4})H)?(?:(\d{1,5})M)?)?$/

/** How long before the due date, at most about a year. */
const Before = Schema.String.check(Schema.makeFilter((text) => {
  const [, weeks = 0, days = 0, hours = 0, minutes = 0] = (duration.exec(text) ?? []).map((part) => Number(part ?? 0))
  const isWithin = weeks * 7 + days + hours / 24 + minutes / 1_440 <= 366
  return duration.test(text) && isWithin ||
    "must be a duration of weeks, days, hours and minutes up to 366 days, such as PT30M"
}, { toJsonSchema: () => ({ format: "duration", pattern: duration.source }) })).annotate({
  description: "an ISO 8601 duration; days and weeks are those of the calendar in the task's zone",
  examples: ["PT30M", "P1D"]
})

/** Absolute, or moving with the due date. */
export const SentReminder = Schema.Union([closed({ at: SentInstant }), closed({ before: Before })])
  .annotate({ identifier: "SentReminder" })
export type SentReminder = typeof SentReminder.Type

export const SentReminders = Schema.Array(SentReminder).check(Schema.isMaxLength(most))

/** A reminder as it is shown. */
export const Reminder = Schema.Struct({
  at: Schema.optionalKey(Instant),
  before: Schema.optionalKey(Schema.String),
  delivered_at: Schema.NullOr(Instant)
}).annotate({ identifier: "Reminder" })
export type Reminder = typeof Reminder.Type

/** A reminder as it is stored. */
export interface StoredReminder extends Reminder {
  /** the last moment for which one that moves was delivered, where it was for a later occurrence: a completion was taken back */
  readonly delivered_for?: string
}
