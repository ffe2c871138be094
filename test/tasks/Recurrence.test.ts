/** On which dates a task that recurs is due, one completion after the other. */
import { describe, expect, it } from "vitest"
import { useServer } from "../support/TestServer.ts"
import { dateIn, type Dates, datesOf, daysAfter, expectFaults } from "./dated.ts"
import { canonical, families, type TaskAnswer } from "./families.ts"

const server = useServer()

const userIn = async (time_zone: string, family = canonical) =>
  datesOf(server, await server.register({ time_zone }), family)

/** The dates of the next so many occurrences; "end" where the last one is completed. */
const series = async (tasks: Dates, { id }: TaskAnswer, count: number) => {
  const dates: Array<string> = []
  for (let n = 0; n < count; n++) {
    const { completed, due } = await tasks.complete(id)
    dates.push(completed ? "end" : due!.date)
  }
  return dates
}
const january = { date: "2031-01-31" }

describe.each(families)("a task that recurs under $name", (family) => {
  it.each<[rule: string, more: object, from: string, dates: string]>([
    ["FREQ=MONTHLY;BYMONTHDAY=31", {}, "2031-01-31", "2031-02-28 2031-03-31 2031-04-30 2031-05-31 2031-06-30"],
    ["FREQ=MONTHLY", {}, "2031-01-31", "2031-02-28 2031-03-31 2031-04-30"],
    ["FREQ=MONTHLY", { month_end: "skip" }, "2031-01-31", "2031-03-31 2031-05-31 2031-07-31"],
    ["FREQ=MONTHLY;BYMONTHDAY=31", { month_end: "skip" }, "2031-01-31", "2031-03-31 2031-05-31 2031-07-31"],
    [
      "FREQ=MONTHLY;BYMONTHDAY=29,30,31",
      {},
      "2031-01-31",
      "2031-02-28 2031-03-29 2031-03-30 2031-03-31 2031-04-29 2031-04-30 2031-05-29"
    ],
    ["FREQ=MONTHLY;INTERVAL=3", {}, "2030-11-30", "2031-02-28 2031-05-30 2031-08-30"],
    ["FREQ=MONTHLY;BYMONTHDAY=-1", {}, "2031-01-31", "2031-02-28 2031-03-31"],
    ["FREQ=MONTHLY;COUNT=3", {}, "2031-01-31", "2031-02-28 2031-03-31 end end"],
    ["FREQ=MONTHLY;UNTIL=20310331", {}, "2031-01-31", "2031-02-28 2031-03-31 end"],
    ["FREQ=YEARLY", {}, "2032-02-29", "2033-02-28 2034-02-28 2035-02-28 2036-02-29 2037-02-28"],
    ["FREQ=YEARLY", { month_end: "skip" }, "2032-02-29", "2036-02-29 2040-02-29"],
    [
      "FREQ=YEARLY",
      {},
      "2096-02-29",
      "2097-02-28 2098-02-28 2099-02-28 2100-02-28 2101-02-28 2102-02-28 2103-02-28 2104-02-29"
    ],
    ["FREQ=YEARLY;BYMONTH=2,4;BYMONTHDAY=31", {}, "2031-02-28", "2031-04-30 2032-02-29 2032-04-30"],
    ["FREQ=YEARLY;BYMONTH=11;BYDAY=4TH", {}, "2031-11-27", "2032-11-25 2033-11-24"],
    ["FREQ=YEARLY;INTERVAL=2", {}, "2031-06-15", "2033-06-15 2035-06-15"],
    [
      "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
      {},
      "2031-01-31",
      "2031-02-28 2031-03-31 2031-04-30 2031-05-30 2031-06-30"
    ],
    ["FREQ=MONTHLY;BYDAY=2TU", {}, "2031-01-14", "2031-02-11 2031-03-11"],
    ["FREQ=MONTHLY;BYDAY=-1FR", {}, "2031-01-31", "2031-02-28 2031-03-28"],
    ["FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", {}, "2031-06-13", "2032-02-13 2032-08-13"],
    ["FREQ=WEEKLY;INTERVAL=3", {}, "2031-01-06", "2031-01-27 2031-02-17 2031-03-10"],
    ["FREQ=WEEKLY;BYDAY=MO,TH", {}, "2031-01-06", "2031-01-09 2031-01-13 2031-01-16"],
    ["FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO", {}, "2031-01-06", "2031-01-12 2031-01-20 2031-01-26"],
    ["FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO;WKST=SU", {}, "2031-01-06", "2031-01-19 2031-01-20 2031-02-02"],
    ["FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR", {}, "2031-01-03", "2031-01-06 2031-01-07"],
    ["FREQ=DAILY;INTERVAL=10", {}, "2031-02-25", "2031-03-07 2031-03-17"],
    ["FREQ=DAILY;COUNT=1", {}, "2031-01-01", "end end"],
    ["FREQ=DAILY;COUNT=3", {}, "2031-01-01", "2031-01-02 2031-01-03 end end"],
    ["FREQ=DAILY;UNTIL=20310103", {}, "2031-01-01", "2031-01-02 2031-01-03 end end"],
    // the due date is on no day of the rule, and counts
    ["FREQ=WEEKLY;BYDAY=MO", {}, "2031-01-01", "2031-01-06 2031-01-13"],
    ["FREQ=WEEKLY;BYDAY=MO;COUNT=2", {}, "2031-01-01", "2031-01-06 end"],
    ["FREQ=MONTHLY;BYMONTHDAY=10", {}, "2031-01-31", "2031-02-10 2031-03-10"],
    ["FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", {}, "2031-01-01", "2031-01-13 2031-01-27"]
  ])("%s %j from %s is due on %s", async (rule, more, date, dates) => {
    const tasks = await userIn("Europe/Berlin", family)
    for (const when of [{}, { time: "09:00" }, { time: "23:30", time_zone: "America/New_York" }]) {
      const made = await tasks.create({ due: { date, ...when }, recurrence: { rule, ...more } })
      const expected = dates.split(" ")
      expect(await series(tasks, made, expected.length)).toEqual(expected)
    }
  })

  it("ends at the instant of UNTIL, which may be one of a time", async () => {
    const tasks = await userIn("Europe/Berlin", family)
    const due = { date: "2031-01-01", time: "09:00", time_zone: "Europe/Berlin" }
    for (
      const [until, dates] of [["20310103T080000Z", ["2031-01-02", "2031-01-03", "end"]], ["20310103T075959Z", [
        "2031-01-02",
        "end"
      ]]] as const
    ) {
      const answer = await tasks.send("POST", "", {
        title: "t",
        due,
        recurrence: { rule: `FREQ=DAILY;UNTIL=${until}` }
      })
      if (answer.status === 201) expect(await series(tasks, answer.json, dates.length)).toEqual(dates)
      else expectFaults(answer, "/recurrence/rule")
    }
  })

  it.each([{}, { time_zone: "Europe/Berlin" }])(
    "stays at its time of the day over clock changes, with %j",
    async (place) => {
      const tasks = await userIn("time_zone" in place ? "Asia/Tokyo" : "Europe/Berlin", family)
      const instants = async (date: string, time: string) => {
        const { due_at, id } = await tasks.create({ due: { date, time, ...place }, recurrence: { rule: "FREQ=DAILY" } })
        const all = [due_at]
        for (let n = 0; n < 2; n++) {
          const next = await tasks.complete(id)
          expect(next.due).toEqual({ date: daysAfter(date, n + 1), time, ...place })
          all.push(next.due_at)
        }
        return all.map((at) => at!.slice(0, 16))
      }
      expect(await instants("2031-03-29", "09:00")).toEqual([
        "2031-03-29T08:00",
        "2031-03-30T07:00",
        "2031-03-31T07:00"
      ])
      expect(await instants("2031-10-25", "09:00")).toEqual([
        "2031-10-25T07:00",
        "2031-10-26T08:00",
        "2031-10-27T08:00"
      ])
      expect(await instants("2031-03-29", "02:30")).toEqual([
        "2031-03-29T01:30",
        "2031-03-30T01:30",
        "2031-03-31T00:30"
      ])
      expect(await instants("2031-10-25", "02:30")).toEqual([
        "2031-10-25T00:30",
        "2031-10-26T00:30",
        "2031-10-27T01:30"
      ])
    }
  )

  it("leaves out what was missed, or has each of them", async () => {
    const tasks = await userIn("UTC", family)
    const at = (minutes: number) => new Date(Math.floor(Date.now() / 60_000 + minutes) * 60_000).toISOString()
    const dueAt = (instant: string) => ({ date: instant.slice(0, 10), time: instant.slice(11, 16), time_zone: "UTC" })
    const day = 1440
    for (const [minutes, next] of [[10, 10], [-10, day - 10]] as const) {
      const due = dueAt(at(minutes - 3 * day))
      const wanted = at(next)
      const { id } = await tasks.create({ due, recurrence: { rule: "FREQ=DAILY" } })
      expect((await tasks.complete(id)).due_at).toBe(wanted)
      const each = await tasks.create({ due, recurrence: { rule: "FREQ=DAILY", missed: "each" } })
      expect(await series(tasks, each, 4)).toEqual([1, 2, 3, 4].map((days) => daysAfter(due.date, days)))
      const few = await tasks.create({ due, recurrence: { rule: "FREQ=DAILY;COUNT=3" } })
      expect((await tasks.complete(few.id)).completed).toBe(true)
      const fewEach = await tasks.create({ due, recurrence: { rule: "FREQ=DAILY;COUNT=3", missed: "each" } })
      expect(await series(tasks, fewEach, 3)).toEqual([daysAfter(due.date, 1), daysAfter(due.date, 2), "end"])
    }
    const future = await tasks.create({ due: january, recurrence: { rule: "FREQ=DAILY" } })
    expect((await tasks.complete(future.id)).due!.date).toBe("2031-02-01")
  })

  it.each(["Pacific/Kiritimati", "Pacific/Pago_Pago"])(
    "of days leaves out those that have ended in %s",
    async (zone) => {
      const tasks = await userIn(zone, family)
      const today = dateIn(zone, Date.now())
      const { id } = await tasks.create({ due: { date: daysAfter(today, -3) }, recurrence: { rule: "FREQ=DAILY" } })
      const next = (await tasks.complete(id)).due!.date
      // a day may have ended meanwhile
      expect([today, dateIn(zone, Date.now())]).toContain(next)
    }
  )

  it.each([
    ["Pacific/Kiritimati", {}, "Pacific/Kiritimati"],
    ["Pacific/Pago_Pago", { time: "12:00" }, "Pacific/Pago_Pago"],
    ["Pacific/Pago_Pago", { time: "12:00", time_zone: "Pacific/Kiritimati" }, "Pacific/Kiritimati"],
    ["Pacific/Kiritimati", { time: "12:00", time_zone: "Pacific/Pago_Pago" }, "Pacific/Pago_Pago"]
  ])("counts from the day of the completion in %s with %j", async (userZone, when, zone) => {
    const tasks = await userIn(userZone, family)
    const today = () => dateIn(zone, Date.now())
    for (const missed of ["skip", "each"]) {
      const recurrence = { rule: "FREQ=DAILY;INTERVAL=3;COUNT=3", anchor: "completion", missed }
      const days = [today()]
      const { id } = await tasks.create({ due: { date: "2020-02-01", ...when }, recurrence })
      const next = (await tasks.complete(id)).due!
      days.push(today())
      expect(days.map((day) => daysAfter(day, 3))).toContain(next.date)
      expect(next).toEqual({ date: next.date, ...when })
      // before its time: later than the one that is completed, all the same
      const last = await tasks.complete(id)
      expect(last.due!.date > next.date).toBe(true)
      expect(last.completed).toBe(false)
      expect((await tasks.complete(id)).completed).toBe(true)
    }
    const weekly = await tasks.create({
      due: { date: "2020-02-01", ...when },
      recurrence: { rule: "FREQ=WEEKLY;BYDAY=MO", anchor: "completion" }
    })
    const monday = (await tasks.complete(weekly.id)).due!.date
    expect(new Date(monday).getUTCDay()).toBe(1)
    expect([1, 2, 3, 4, 5, 6, 7, 8].map((days) => daysAfter(today(), days - 1))).toContain(monday)
  })

  it("begins its series again with a new due date or a new rule, and with nothing else", async () => {
    const tasks = await userIn("UTC", family)
    const started = async () => {
      const made = await tasks.create({ due: { date: "2031-01-01" }, recurrence: { rule: "FREQ=DAILY;COUNT=3" } })
      expect(await series(tasks, made, 1)).toEqual(["2031-01-02"])
      return made
    }
    const goesOn = ["2031-01-03", "end"]
    for (
      const [change, dates] of [
        [{ title: "other" }, goesOn],
        [{ due: { date: "2031-01-02" } }, goesOn],
        [{ recurrence: { rule: "FREQ=DAILY;COUNT=3" } }, goesOn],
        [{ recurrence: { missed: "each" } }, goesOn],
        [{ recurrence: { month_end: "skip" } }, goesOn],
        [{ due: { date: "2031-02-01" } }, ["2031-02-02", "2031-02-03", "end"]],
        [{ due: { time: "09:00" } }, ["2031-01-03", "2031-01-04", "end"]],
        [{ recurrence: { rule: "FREQ=WEEKLY;COUNT=3" } }, ["2031-01-09", "2031-01-16", "end"]],
        [{ due: { date: "2031-02-01" }, recurrence: { rule: "FREQ=WEEKLY;COUNT=2" } }, ["2031-02-08", "end"]]
      ] as const
    ) {
      const made = await started()
      await tasks.patch(made.id, change)
      expect([change, await series(tasks, made, dates.length)]).toEqual([change, dates])
    }
    const ended = await tasks.create({ due: { date: "2031-01-01" }, recurrence: { rule: "FREQ=MONTHLY" } })
    await tasks.patch(ended.id, { due: { date: "2031-01-31" } })
    expect(await series(tasks, ended, 2)).toEqual(["2031-02-28", "2031-03-31"])
    await tasks.patch(ended.id, { due: { date: "2031-04-28" } })
    expect(await series(tasks, ended, 2)).toEqual(["2031-05-28", "2031-06-28"])
  })

  it("ends where the calendar does", async () => {
    const tasks = await userIn("UTC", family)
    const ends = { "FREQ=DAILY": "9999-12-28", "FREQ=MONTHLY": "9999-10-05", "FREQ=YEARLY": "9997-06-01" }
    for (const [rule, date] of Object.entries(ends)) {
      const { id } = await tasks.create({ due: { date }, recurrence: { rule } })
      let task = await tasks.complete(id)
      for (let n = 0; n < 4 && !task.completed; n++) {
        expect(task.due!.date.length).toBe(10)
        task = await tasks.complete(id)
      }
      expect(task.completed).toBe(true)
    }
    // a rule that goes on nowhere is told at once
    const late = { title: "a", due: { date: "9999-12-28" }, recurrence: { rule: "FREQ=MONTHLY" } }
    expectFaults(await tasks.send("POST", "", late), "/recurrence/rule")
  })
})
