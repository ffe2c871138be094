/** Between the calendar on the wall and instants, in time zones with all their clock changes. */
import { Temporal } from "temporal-polyfill"
import type { Due, LocalDate } from "../domain/Due.ts"

/** Milliseconds since 1970. */
export type Instant = number

/** As instants are shown. */
export const rfc3339 = (instant: Instant): string => new Date(instant).toISOString()

/** The zone that a due date is meant in. */
export const zoneOf = (due: Due, userZone: string): string => due.time_zone ?? userZone

/**
 * The instant that a due date means: of a whole day, its end, which is the start of the next one. A time that a clock
 * change skips is later by the gap; of one that comes twice it is the first.
 */
export const dueAt = (due: Due, userZone: string): Instant => {
  const date = Temporal.PlainDate.from(due.date)
  const zone = zoneOf(due, userZone)
  return due.time === undefined
    ? date.add({ days: 1 }).toZonedDateTime(zone).epochMilliseconds
    : date.toZonedDateTime({ timeZone: zone, plainTime: due.time }).epochMilliseconds
}

/** The day that an instant belongs to in a zone. */
export const dateOf = (instant: Instant, zone: string): LocalDate =>
  Temporal.Instant.fromEpochMilliseconds(instant).toZonedDateTimeISO(zone).toPlainDate().toString()

/** The day that comes so many days later. */
export const dayAfter = (date: LocalDate, days: number): LocalDate =>
  Temporal.PlainDate.from(date).add({ days }).toString()
