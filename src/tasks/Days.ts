/** Days as people count them: from midnight to midnight in a time zone. */
import { Temporal } from "temporal-polyfill"

export interface Day {
  /** YYYY-MM-DD */
  readonly date: string
  /** its first instant, in milliseconds since 1970; a clock change may have moved it from midnight */
  readonly start: number
}

/** The last `count` days of a zone up to that of the instant, oldest first, and the day after them. */
export const lastDays = (zone: string, now: number, count: number): ReadonlyArray<Day> => {
  const today = Temporal.Instant.fromEpochMilliseconds(now).toZonedDateTimeISO(zone).toPlainDate()
  return Array.from({ length: count + 1 }, (_, index) => {
    const date = today.add({ days: index + 1 - count })
    return { date: date.toString(), start: date.toZonedDateTime(zone).epochMilliseconds }
  })
}
