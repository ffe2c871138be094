/** When reminders are to be delivered. */
import { Temporal } from "temporal-polyfill"
import type { Due } from "../domain/Due.ts"
import type { SentReminder } from "../domain/Reminder.ts"
import { dueAt, type Instant, zoneOf } from "./LocalTimes.ts"

/** The instant of a reminder; undefined where it is relative and nothing is due. Of a whole day it counts back from its end. */
export const reminderAt = (reminder: SentReminder, due: Due | undefined, userZone: string): Instant | undefined => {
  if ("at" in reminder) return Temporal.Instant.from(reminder.at).epochMilliseconds
  if (due === undefined) return undefined
  return Temporal.Instant.fromEpochMilliseconds(dueAt(due, userZone)).toZonedDateTimeISO(zoneOf(due, userZone))
    .subtract(reminder.before).epochMilliseconds
}
