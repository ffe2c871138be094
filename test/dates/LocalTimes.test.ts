import { describe, expect, it } from "vitest"
import { dateOf, dueAt } from "../../src/dates/LocalTimes.ts"
import type { Due } from "../../src/domain/Due.ts"

const iso = (due: Due, userZone = "UTC") => new Date(dueAt(due, userZone)).toISOString()

describe("a due date", () => {
  const cases: ReadonlyArray<readonly [what: string, due: Due, userZone: string, at: string]> = [
    ["of a whole day ends with it", { date: "2026-12-01" }, "Europe/Berlin", "2026-12-01T23:00:00.000Z"],
    ["of a whole day moves with its owner", { date: "2026-12-01" }, "America/New_York", "2026-12-02T05:00:00.000Z"],
    [
      "without a zone is in its owner's",
      { date: "2026-12-01", time: "09:00" },
      "Asia/Tokyo",
      "2026-12-01T00:00:00.000Z"
    ],
    [
      "with a zone stays there",
      { date: "2026-12-01", time: "09:00", time_zone: "Europe/Berlin" },
      "Asia/Tokyo",
      "2026-12-01T08:00:00.000Z"
    ],
    [
      "in the hour that is skipped is later by the gap",
      { date: "2026-03-29", time: "02:30" },
      "Europe/Berlin",
      "2026-03-29T01:30:00.000Z"
    ],
    [
      "in the hour that comes twice is in the first",
      { date: "2026-10-25", time: "02:30" },
      "Europe/Berlin",
      "2026-10-25T00:30:00.000Z"
    ],
    [
      "of a day before one without midnight ends where that begins",
      { date: "2026-09-05" },
      "America/Santiago",
      "2026-09-06T04:00:00.000Z"
    ],
    ["of a day in the farthest east", { date: "2026-12-01" }, "Pacific/Kiritimati", "2026-12-01T10:00:00.000Z"],
    ["of a day in the farthest west", { date: "2026-12-01" }, "Pacific/Pago_Pago", "2026-12-02T11:00:00.000Z"],
    ["before a day that a zone never had", { date: "2011-12-29" }, "Pacific/Apia", "2011-12-30T10:00:00.000Z"],
    ["of the last day there is", { date: "9999-12-31" }, "UTC", "+010000-01-01T00:00:00.000Z"]
  ]
  it.each(cases)("%s", (_, due, userZone, at) => expect(iso(due, userZone)).toBe(at))
})

it("a day is that of the zone", () => {
  const instant = Date.parse("2026-12-01T10:30:00Z")
  expect(["Pacific/Kiritimati", "UTC", "Pacific/Pago_Pago"].map((zone) => dateOf(instant, zone)))
    .toEqual(["2026-12-02", "2026-12-01", "2026-11-30"])
})
