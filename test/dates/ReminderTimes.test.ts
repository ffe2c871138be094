import { expect, it } from "vitest"
import { reminderAt } from "../../src/dates/ReminderTimes.ts"
import type { Due } from "../../src/domain/Due.ts"

const before = (duration: string, due: Due | undefined, zone = "Europe/Berlin") => {
  const at = reminderAt({ before: duration }, due, zone)
  return at === undefined ? undefined : new Date(at).toISOString()
}

it.each<[what: string, duration: string, due: Due, at: string]>([
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
  ["days and hours together", "P1DT3H", { date: "2026-12-01" }, "2026-11-30T20:00:00.000Z"]
])("%s", (_, duration, due, at) => expect(before(duration, due)).toBe(at))

it("is nowhere without a due date, unless it is absolute", () => {
  expect(before("PT30M", undefined)).toBeUndefined()
  expect(reminderAt({ at: "2026-12-01T09:00:00+01:00" }, undefined, "UTC")).toBe(Date.parse("2026-12-01T08:00:00Z"))
})
