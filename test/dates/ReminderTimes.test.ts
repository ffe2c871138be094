import { expect, it } from "vitest"
import { reminderAt } from "../../src/dates/ReminderTimes.ts"
import type { Due } from "../../src/domain/Due.ts"

const before = (duration: string, due: Due | undefined, zone = "Europe/Berlin") => {
  const at = reminderAt({ before: duration }, due, zone)
  return at === undefined ? undefined : new Date(at).toISOString()
}

it.each<[what: string, duration: string, due: Due, at: string, zone?: string]>([
  ["minutes are exact", "PT30M", { date: "2026-12-01", time: "09:00" }, "2026-12-01T07:30:00.000Z"],
  [
    "a day over a clock change keeps the time",
    "P1D",
    { date: "2026-03-29", time: "09:00" },
    "2026-03-28T08:00:00.000Z"
  ],
  ["24 hours over a clock change do not", "PT24H", { date: "2026-03-29", time: "09:00" }, "2026-03-28T07:00:00.000Z"],
  ["a week is seven days", "P1W", { date: "2026-03-29", time: "09:00" }, "2026-03-22T08:00:00.000Z"],
  ["a whole day counts from its end", "PT15H", { date: "2026-12-01" }, "2026-12-01T08:00:00.000Z"],
  // midnight of the 5th in Santiago and of the 30th in Cairo is skipped, and that of the day before is not
  [
    "a day before a midnight that is skipped is midnight",
    "P1D",
    { date: "2027-09-04" },
    "2027-09-04T04:00:00.000Z",
    "America/Santiago"
  ],
  [
    "hours before a midnight that is skipped are exact",
    "PT24H",
    { date: "2027-09-04" },
    "2027-09-04T04:00:00.000Z",
    "America/Santiago"
  ],
  [
    "a day before a midnight that is skipped in the east",
    "P1D",
    { date: "2027-04-29" },
    "2027-04-28T22:00:00.000Z",
    "Africa/Cairo"
  ],
  [
    "a day before a time that is skipped is that time",
    "P1D",
    { date: "2026-03-29", time: "02:30" },
    "2026-03-28T01:30:00.000Z"
  ],
  [
    "a day after a time that is skipped is later by the gap",
    "P1D",
    { date: "2026-03-30", time: "02:30" },
    "2026-03-29T01:30:00.000Z"
  ],
  [
    "days and hours together over a clock change",
    "P1DT2H",
    { date: "2026-03-29", time: "02:30" },
    "2026-03-27T23:30:00.000Z"
  ],
  ["days and hours together", "P1DT3H", { date: "2026-12-01" }, "2026-11-30T20:00:00.000Z"]
])("%s", (_, duration, due, at, zone) => expect(before(duration, due, zone)).toBe(at))

it("is nowhere without a due date, unless it is absolute", () => {
  expect(before("PT30M", undefined)).toBeUndefined()
  expect(reminderAt({ at: "2026-12-01T09:00:00+01:00" }, undefined, "UTC")).toBe(Date.parse("2026-12-01T08:00:00Z"))
})
