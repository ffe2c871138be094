import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { dueAt } from "../../src/dates/LocalTimes.ts"
import { following, type Occurrence, TooRare, upcoming } from "../../src/dates/NextOccurrence.ts"
import type { Due } from "../../src/domain/Due.ts"
import { parseRule, type Rule } from "../../src/domain/Rule.ts"
import { type Recurrence, recurrenceDefaults } from "../../src/domain/Recurrence.ts"
import { daysOf } from "./reference.ts"

const occurrence = (
  due: Due,
  rule: string,
  options: Partial<Recurrence> = {},
  userZone = "Europe/Berlin"
): Occurrence => ({
  due,
  recurrence: { rule, ...recurrenceDefaults, ...options },
  start: due.date,
  number: 1,
  userZone
})

const at = (instant: string) => Date.parse(instant)

/** The dates that a task has when it is completed at each of these instants, one after another; null once it is done. */
const completed = (task: Occurrence, instants: ReadonlyArray<string>) => {
  const dates: Array<string | null> = []
  let current: Occurrence | undefined = task
  for (const instant of instants) {
    current = current && following(current, at(instant))
    dates.push(current?.due.date ?? null)
  }
  return dates
}

describe("the next occurrence", () => {
  it("follows the due date, however early the task is completed", () => {
    const task = occurrence({ date: "2026-12-10" }, "FREQ=WEEKLY")
    expect(completed(task, ["2026-11-01T12:00:00Z", "2026-11-01T12:00:00Z"])).toEqual(["2026-12-17", "2026-12-24"])
  })

  it("keeps its time through both clock changes", () => {
    const task = occurrence({ date: "2026-03-28", time: "09:00" }, "FREQ=DAILY")
    const next = following(task, at("2026-03-28T08:00:00Z"))!
    expect(new Date(dueAt(next.due, next.userZone)).toISOString()).toBe("2026-03-29T07:00:00.000Z")
    const autumn = following(
      occurrence({ date: "2026-10-24", time: "09:00" }, "FREQ=DAILY"),
      at("2026-10-24T07:00:00Z")
    )!
    expect(new Date(dueAt(autumn.due, autumn.userZone)).toISOString()).toBe("2026-10-25T08:00:00.000Z")
  })

  it("is after now, when three were missed", () => {
    const task = occurrence({ date: "2026-12-01", time: "09:00" }, "FREQ=DAILY")
    expect(completed(task, ["2026-12-04T07:59:59Z"])).toEqual(["2026-12-04"])
    expect(completed(task, ["2026-12-04T08:00:00Z"])).toEqual(["2026-12-05"])
  })

  it("is each of three that were missed, where they are to be done", () => {
    const task = occurrence({ date: "2026-12-01", time: "09:00" }, "FREQ=DAILY", { missed: "each" })
    const now = "2026-12-04T08:30:00Z"
    expect(completed(task, [now, now, now])).toEqual(["2026-12-02", "2026-12-03", "2026-12-04"])
  })

  it("counts what was missed", () => {
    const now = "2026-12-04T12:00:00Z"
    expect(completed(occurrence({ date: "2026-12-01" }, "FREQ=DAILY;COUNT=5"), [now, now])).toEqual([
      "2026-12-04",
      "2026-12-05"
    ])
    expect(completed(occurrence({ date: "2026-12-01" }, "FREQ=DAILY;COUNT=3"), [now])).toEqual([null])
  })

  it("ends with COUNT, to which a first date off the rule belongs", () => {
    const task = occurrence({ date: "2026-12-01" }, "FREQ=WEEKLY;BYDAY=MO;COUNT=3", { missed: "each" })
    const now = "2026-12-01T12:00:00Z"
    expect(completed(task, [now, now, now])).toEqual(["2026-12-07", "2026-12-14", null])
  })

  it.each([
    ["20261203", ["2026-12-02", "2026-12-03", null]],
    ["20261203T080000Z", ["2026-12-02", "2026-12-03", null]],
    ["20261203T075959Z", ["2026-12-02", null, null]],
    ["20261203T090000", ["2026-12-02", "2026-12-03", null]],
    ["20261203T085959", ["2026-12-02", null, null]]
  ])("ends with UNTIL=%s", (until, dates) => {
    const task = occurrence({ date: "2026-12-01", time: "09:00" }, `FREQ=DAILY;UNTIL=${until}`)
    const now = "2026-12-01T07:00:00Z"
    expect(completed(task, [now, now, now])).toEqual(dates)
  })

  it("counts from the day of completion in the task's zone, where it is anchored there", () => {
    const due = { date: "2026-12-01", time: "09:00", time_zone: "Pacific/Kiritimati" }
    const task = occurrence(due, "FREQ=DAILY;INTERVAL=3", { anchor: "completion" })
    expect(completed(task, ["2026-12-10T12:00:00Z"])).toEqual(["2026-12-14"])
    // earlier than due: still later than what was completed
    expect(completed(task, ["2026-11-20T09:59:59Z"])).toEqual(["2026-12-02"])
  })

  it("is the last day of a shorter month and the 31st again, wherever the completion is anchored to the due date", () => {
    const task = occurrence({ date: "2026-01-31" }, "FREQ=MONTHLY")
    const now = "2026-01-31T12:00:00Z"
    expect(completed(task, [now, now, now])).toEqual(["2026-02-28", "2026-03-31", "2026-04-30"])
  })

  it("is not found beyond the year 9999, nor a century later", () => {
    const after = (date: string, rule: string) => () => completed(occurrence({ date }, rule), ["2026-01-01T00:00:00Z"])
    expect(after("9999-12-31", "FREQ=DAILY")).toThrow(TooRare)
    expect(after("2026-01-01", "FREQ=YEARLY;INTERVAL=101")).toThrow(TooRare)
    expect(after("2026-01-01", "FREQ=YEARLY;INTERVAL=100")()).toEqual(["2126-01-01"])
  })

  it("counts from the due date again, where the rule has no day when it counts from the completion", () => {
    // after November come May and November, and so on
    const halfYearly = occurrence({ date: "2026-07-01" }, "FREQ=MONTHLY;INTERVAL=6;BYMONTH=1,7;BYMONTHDAY=1", {
      anchor: "completion"
    })
    expect(completed(halfYearly, ["2026-11-15T12:00:00Z", "2027-02-03T12:00:00Z", "2027-07-01T12:00:00Z"])).toEqual([
      "2027-01-01",
      "2027-07-01",
      "2028-01-01"
    ])
    const mondays = occurrence({ date: "2026-11-30" }, "FREQ=DAILY;INTERVAL=7;BYDAY=MO", { anchor: "completion" })
    expect(completed(mondays, ["2026-12-02T12:00:00Z"])).toEqual(["2026-12-07"])
    const twice = occurrence({ date: "2026-11-30" }, "FREQ=DAILY;INTERVAL=7;BYDAY=MO;COUNT=2", { anchor: "completion" })
    expect(completed(twice, ["2026-12-02T12:00:00Z", "2026-12-09T12:00:00Z"])).toEqual(["2026-12-07", null])
  })
})

const instants = fc.date({ min: new Date("2020-01-01"), max: new Date("2027-01-01"), noInvalidDate: true })
const rules = fc.constantFrom(
  "FREQ=DAILY",
  "FREQ=DAILY;INTERVAL=3",
  "FREQ=WEEKLY;BYDAY=MO,TH",
  "FREQ=WEEKLY;INTERVAL=3;BYDAY=FR",
  "FREQ=MONTHLY",
  "FREQ=MONTHLY;BYDAY=-1FR",
  "FREQ=YEARLY",
  "FREQ=MONTHLY;BYMONTHDAY=29,31"
)
const zones = fc.constantFrom("UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Australia/Lord_Howe")

it(
  "is the first day of the rule that is later than the due date and, where missed ones are skipped, has not passed",
  () => {
    fc.assert(
      fc.property(
        fc.record({
          start: instants,
          completed: instants,
          rule: rules,
          zone: zones,
          time: fc.constantFrom(undefined, "00:00", "02:30", "23:59"),
          missed: fc.constantFrom("skip" as const, "each" as const),
          month_end: fc.constantFrom("clamp" as const, "skip" as const),
          count: fc.option(fc.integer({ min: 1, max: 40 }), { nil: undefined })
        }),
        ({ completed, count, missed, month_end, rule: plain, start, time, zone }) => {
          const date = start.toISOString().slice(0, 10)
          const due = { date, ...(time !== undefined && { time }) }
          const rule = count === undefined ? plain : `${plain};COUNT=${count}`
          const next = following(occurrence(due, rule, { missed, month_end }, zone), completed.getTime())
          const all = daysOf(
            parseRule(plain) as Rule,
            date,
            month_end,
            count === undefined ? 3_000 : count - 1,
            "2035-12-31"
          )
          const expected = all.find((day) =>
            missed === "each" || dueAt({ ...due, date: day }, zone) > completed.getTime()
          )
          expect(next?.due.date).toBe(expected)
        }
      ),
      { numRuns: 150 }
    )
  },
  120_000
)

it("is, of those that come, what each would be if the one before it were completed in time and a late one now", () => {
  fc.assert(
    fc.property(
      fc.record({
        start: instants,
        now: instants,
        rule: fc.tuple(rules, fc.constantFrom("", ";COUNT=5", ";UNTIL=20300101")).map((it) => it.join("")),
        zone: zones,
        time: fc.constantFrom(undefined, "00:00", "02:30", "23:59"),
        anchor: fc.constantFrom("due" as const, "completion" as const),
        missed: fc.constantFrom("skip" as const, "each" as const)
      }),
      ({ anchor, missed, now, rule, start, time, zone }) => {
        const due = { date: start.toISOString().slice(0, 10), ...(time !== undefined && { time }) }
        const task = occurrence(due, rule, { anchor, missed }, zone)
        const expected: Array<Occurrence> = []
        let current: Occurrence | undefined = task
        while (current !== undefined && expected.length < 8) {
          const { due } = current
          const inTime = dueAt(due, zone) - (due.time === undefined ? 1 : 0)
          current = following(current, Math.max(now.getTime(), inTime))
          if (current !== undefined) expected.push(current)
        }
        expect([...upcoming(task, now.getTime()).take(8)]).toEqual(expected)
      }
    ),
    { numRuns: 150 }
  )
}, 120_000)

it("is, of those that come, within a century", () => {
  const monday = "FREQ=DAILY;INTERVAL=7;BYDAY=MO;BYMONTH=2;BYMONTHDAY=29"
  for (const anchor of ["due", "completion"] as const) {
    const days: Array<string> = []
    const all = upcoming(occurrence({ date: "2026-01-05" }, monday, { anchor }), at("2026-01-01T00:00:00Z"))
    const collect = () => {
      for (const { due } of all) days.push(due.date)
    }
    if (anchor === "due") expect(collect).toThrow(TooRare)
    else collect()
    expect(days).toEqual(["2044-02-29", "2072-02-29", "2112-02-29"])
  }
})
