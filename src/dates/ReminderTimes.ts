/** When reminders are to be delivered. */
import { Temporal } from "temporal-polyfill"
import type { Due } from "../domain/Due.ts"
import type { SentReminder } from "../domain/Reminder.ts"
import { dayAfter, dueAt, type Instant } from "./LocalTimes.ts"

/**
 * The instant of a reminder; undefined where it is relative and nothing is due. Weeks and days are taken from the date
 * of what is due, hours and minutes from the instant that the earlier date means then.
 */
export const reminderAt = (reminder: SentReminder, due: Due | undefined, userZone: string): Instant | undefined => {
  if ("at" in reminder) return Temporal.Instant.from(reminder.at).epochMilliseconds
  if (due === undefined) return undefined
  const { days, hours, minutes, weeks } = Temporal.Duration.from(reminder.before)
  return dueAt({ ...due, date: dayAfter(due.date, -7 * weeks - days) }, userZone) - (hours * 60 + minutes) * 60_000
}
