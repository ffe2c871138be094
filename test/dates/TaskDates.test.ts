import { Result } from "effect"
import { describe, expect, it } from "vitest"
import {
  advanced,
  changed,
  delivered,
  noDates,
  reminderTimes,
  type SentDates,
  type TaskDates
} from "../../src/dates/TaskDates.ts"

const zone = "Europe/Berlin"
const set = (sent: SentDates, before = noDates): TaskDates => {
  const result = changed(before, sent, zone)
  if (Result.isFailure(result)) throw new Error(JSON.stringify(result.failure))
  return result.success
}
const fault = (sent: SentDates, before = noDates) => {
  const result = changed(before, sent, zone)
  return Result.isFailure(result) ? result.failure : undefined
}

const daily = set({ due: { date: "2026-12-01", time: "09:00" }, recurrence: { rule: "FREQ=DAILY" } })

describe("what is sent", () => {
  it("is merged inside of due, and valid afterwards", () => {
    expect(set({ due: { time: "10:00" } }, daily).due).toEqual({ date: "2026-12-01", time: "10:00" })
    expect(set({ due: { time_zone: "Asia/Tokyo" } }, daily).due).toEqual({
      date: "2026-12-01",
      time: "09:00",
      time_zone: "Asia/Tokyo"
    })
    expect(set({ due: { time: null } }, daily).due).toEqual({ date: "2026-12-01" })
    const fixed = set({ due: { time_zone: "Asia/Tokyo" } }, daily)
    expect(fault({ due: { time: null } }, fixed)).toEqual({ pointer: "/due", detail: "a time_zone needs a time" })
    expect(fault({ due: { time: "10:00" } })).toEqual({ pointer: "/due/date", detail: "is required" })
  })

  it("has a due date where it recurs, and a rule that can be followed", () => {
    expect(fault({ recurrence: { rule: "FREQ=DAILY" } })?.pointer).toBe("/recurrence")
    expect(fault({ due: null }, daily)?.pointer).toBe("/recurrence")
    expect(set({ due: null, recurrence: null }, daily)).toEqual(noDates)
    for (const rule of ["FREQ=YEARLY;BYMONTH=2;BYDAY=MO;BYSETPOS=6", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"]) {
      expect(fault({ recurrence: { rule } }, daily), rule)
        .toEqual({ pointer: "/recurrence/rule", detail: "never occurs, or too rarely to be found" })
    }
  })

  it("begins a series where the due date or the rule is new, and only there", () => {
    const third = advanced(advanced(daily, 0, zone)!, 0, zone)!
    expect(third.recurrence?.place).toEqual({ start: "2026-12-01", number: 3 })
    expect(set({ due: { ...third.due! }, recurrence: { rule: "FREQ=DAILY" } }, third).recurrence?.place).toEqual(
      third.recurrence?.place
    )
    for (const rule of ["freq=daily", "FREQ=DAILY;INTERVAL=1", "INTERVAL=+1;WKST=MO;FREQ=Daily"]) {
      const { recurrence } = set({ recurrence: { rule } }, third)
      expect(recurrence, rule).toMatchObject({ rule, place: third.recurrence!.place })
    }
    const weekly = advanced(set({ recurrence: { rule: "FREQ=WEEKLY;BYDAY=TU,TH" } }, daily), 0, zone)!
    expect(set({ recurrence: { rule: "FREQ=WEEKLY;BYDAY=TH,TU" } }, weekly).recurrence?.place.number).toBe(2)
    expect(set({ recurrence: { rule: "FREQ=WEEKLY;BYDAY=TH,TU;COUNT=5" } }, weekly).recurrence?.place.number).toBe(1)
    expect(set({ due: { time: "10:00" } }, third).recurrence?.place).toEqual({ start: "2026-12-03", number: 1 })
    expect(set({ recurrence: { rule: "FREQ=WEEKLY" } }, third).recurrence?.place).toEqual({
      start: "2026-12-03",
      number: 1
    })
  })
})

describe("reminders", () => {
  const half = Date.parse("2026-12-01T07:30:00Z")
  const all = (dates: TaskDates) => delivered(dates, half, zone)
  const reminded = set({ reminders: [{ before: "PT30M" }, { at: "2026-11-30T10:00:00+01:00" }] }, daily)

  it("have an instant each, relative ones only where something is due", () => {
    expect(reminderTimes(reminded, zone)).toEqual([half, Date.parse("2026-11-30T09:00:00Z")])
    expect(reminderTimes(set({ reminders: [{ before: "PT30M" }] }), zone)).toEqual([null])
  })

  it("are delivered when their time comes, and only once", () => {
    const first = delivered(reminded, half - 1, zone)
    expect(first.reminders.map(({ delivered_at }) => delivered_at)).toEqual([null, "2026-12-01T07:29:59.999Z"])
    const both = ["2026-12-01T07:30:00.000Z", "2026-12-01T07:29:59.999Z"]
    expect(all(first).reminders.map(({ delivered_at }) => delivered_at)).toEqual(both)
    expect(delivered(set({ reminders: [{ before: "PT30M" }] }), half, zone).reminders[0]?.delivered_at).toBeNull()
  })

  it("that move with the due date are to be delivered again, others not", () => {
    const next = advanced(all(reminded), 0, zone)!
    expect(next.reminders.map(({ delivered_at }) => delivered_at)).toEqual([null, "2026-12-01T07:30:00.000Z"])
    expect(reminderTimes(next, zone)[0]).toBe(Date.parse("2026-12-02T07:30:00Z"))
  })

  it("stay delivered when they are sent again for the same moment", () => {
    const sent = [{ before: "PT30M" }, { at: "2026-11-30T09:00:00.000Z" }, { before: "PT15M" }]
    expect(set({ reminders: sent }, all(reminded)).reminders.map((it) => it.delivered_at !== null)).toEqual([
      true,
      true,
      false
    ])
    const words = [{ before: "PT0H30M" }, { at: "2026-12-01T08:30:00+01:00" }, { before: "P1DT23H" }, {
      before: "PT31M"
    }]
    expect(set({ reminders: words }, all(reminded)).reminders.map((it) => it.delivered_at)).toEqual([
      "2026-12-01T07:30:00.000Z",
      "2026-12-01T07:30:00.000Z",
      null,
      null
    ])
    const moved = set({ due: { time: "10:00" } }, all(reminded))
    expect(moved.reminders.map((it) => it.delivered_at !== null)).toEqual([false, true])
  })
})
