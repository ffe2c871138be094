/** When a task is due: a day, a time wherever its owner is, or a time in one place. */
import { Schema } from "effect"
import { closed } from "./Closed.ts"
import { supportedYears } from "./Instant.ts"
import { TimeZone } from "./TimeZone.ts"

const isDate = (text: string): boolean => {
  const [, year, month, day] = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text)?.map(Number) ?? []
  if (year === undefined || month === undefined || day === undefined || year < 1970) return false
  const date = new Date(Date.UTC(year, month - 1, day))
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day
}

/** A day of the Gregorian calendar from 1970 to 9999 (RFC 3339 full-date). */
export const LocalDate = Schema.String.check(
  Schema.makeFilter((text) => isDate(text) || "must be a date YYYY-MM-DD from 1970 to 9999", {
    toJsonSchema: () => ({ format: "date", pattern: supportedYears })
  })
).annotate({ examples: ["2026-12-01"] })
export type LocalDate = typeof LocalDate.Type

/** The last day whose end is in the year 9999 in every zone: instants are shown with four digits of the year. */
export const lastDueDate = "9999-12-30"

const DueDate = LocalDate.check(Schema.makeFilter((date) => date <= lastDueDate || `must not be after ${lastDueDate}`))

const localTime = /^(?:[01]\d|2[0-3]):[0-5]\d$/

/** A time of the clock on the wall, to the minute. */
export const LocalTime = Schema.String.check(
  Schema.isPattern(localTime, {
    message: "must be a time HH:MM from 00:00 to 23:59",
    toJsonSchema: () => ({ pattern: localTime.source })
  })
).annotate({ examples: ["09:00"] })

/** `time_zone` fixes the place; without it the time is that of the owner's zone, and without a time it is the whole day. */
export const Due = closed({
  date: DueDate,
  time: Schema.optionalKey(LocalTime),
  time_zone: Schema.optionalKey(TimeZone)
}).check(Schema.makeFilter(
  ({ time, time_zone }) => time_zone === undefined || time !== undefined || "a time_zone needs a time",
  { toJsonSchema: () => ({ dependentRequired: { time_zone: ["time"] } }) }
)).annotate({ identifier: "Due", examples: [{ date: "2026-12-01", time: "09:00", time_zone: "Europe/Berlin" }] })
export type Due = typeof Due.Type

/** A due date as it is shown: what it has not is absent. */
export const ShownDue = Schema.Struct({
  date: Schema.String.annotate({ format: "date" }),
  time: Schema.optionalKey(Schema.String.annotate({ description: "HH:MM; without it, the whole day" })),
  time_zone: Schema.optionalKey(
    Schema.String.annotate({ description: "without it, the time is that of the owner's zone" })
  )
}).annotate({ identifier: "ShownDue" })

/** What of a due date is to be otherwise (RFC 7396): what is absent stays, `null` goes. */
export const DuePatch = closed({
  date: Schema.optionalKey(DueDate),
  time: Schema.optionalKey(Schema.NullOr(LocalTime)),
  time_zone: Schema.optionalKey(Schema.NullOr(TimeZone))
}).annotate({ identifier: "DuePatch" })
export type DuePatch = typeof DuePatch.Type
