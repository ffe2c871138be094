/** What a due date may be, what it means, and what becomes of it by each way to write it. */
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { useServer } from "../support/TestServer.ts"
import { batch, resultsOf } from "./batches.ts"
import { datesOf, daysAfter, expectFaults, instantOf } from "./dated.ts"
import { canonical, families, userScoped } from "./families.ts"

const server = useServer()

const userIn = async (time_zone: string, family = canonical) =>
  datesOf(server, await server.register({ time_zone }), family)

const allDay = { date: "2030-12-01" }
const floating = { date: "2030-12-01", time: "09:00" }
const fixed = { date: "2030-12-01", time: "09:00", time_zone: "Asia/Tokyo" }

describe.each(families)("a due date under $name", (family) => {
  it("is a day, a time wherever the user is, or a time in a zone, and is shown as it was sent", async () => {
    const tasks = await userIn("Europe/Berlin", family)
    for (
      const [due, due_at] of [
        [allDay, "2030-12-01T23:00:00.000Z"],
        [floating, "2030-12-01T08:00:00.000Z"],
        [fixed, "2030-12-01T00:00:00.000Z"],
        [{ date: "2028-02-29" }, "2028-02-29T23:00:00.000Z"],
        [{ date: "2030-12-01", time: "00:00" }, "2030-11-30T23:00:00.000Z"],
        [{ date: "2030-12-01", time: "23:59", time_zone: "Pacific/Pago_Pago" }, "2030-12-02T10:59:00.000Z"]
      ] as const
    ) {
      const made = await tasks.create({ due })
      expect(made).toMatchObject({ due_at, overdue: false, completed: false })
      expect(made.due).toEqual(due)
      expect(await tasks.read(made.id)).toEqual(made)
    }
    expect(await tasks.create({})).toMatchObject({ due: null, due_at: null, overdue: false })
    expect(await tasks.create({ due: null })).toMatchObject({ due: null, due_at: null })
  })

  it("is refused where it is of no form, with the member that is wrong", async () => {
    const tasks = await userIn("UTC", family)
    const { id } = await tasks.create({ due: fixed })
    const dates = ["2026-02-30", "2027-02-29", "2100-02-29", "2026-13-01", "2026-00-10", "2026-12-00", "2026-1-1", ""]
      .concat("20261201", "2026-12-01T00:00", "2026-12-01Z", " 2026-12-01", "2026-12-01\n", "2026-12-01\u0000")
      .concat("+002026-12-01", "-2026-12-01", "２０２６-12-01", "infinity", "now", "today", "0000-01-01", "10000-01-01")
      .concat("+275760-09-13", "2026-W10-1", "2026-335", "2026/12/01")
    for (const date of [...dates, 20261201, true, {}, []]) {
      expectFaults(await tasks.send("POST", "", { title: "t", due: { date } }), "/due/date")
      expectFaults(await tasks.send("PATCH", `/${id}`, { due: { date } }), "/due/date")
    }
    const times = [
      "24:00",
      "9:00",
      "09:60",
      "09:00:00",
      "0900",
      "09:00Z",
      "09:00+01:00",
      "",
      "09:00\n",
      "\u0000",
      "noon"
    ]
    for (const time of [...times, "T09:00", "-1:00", "09:00\u0000", "０９:00", 900, true, {}]) {
      expectFaults(await tasks.send("POST", "", { title: "t", due: { date: "2030-12-01", time } }), "/due/time")
      expectFaults(await tasks.send("PATCH", `/${id}`, { due: { time } }), "/due/time")
    }
    const zones = ["Mars/Olympus", "+01:00", "-0800", "UTC+1", "Z", "", "Europe/Berlin\u0000", " UTC", "Local", "zone"]
    for (const time_zone of [...zones, "__proto__", "Europe", "x".repeat(65), "../etc/passwd", 1, true, {}]) {
      expectFaults(
        await tasks.send("POST", "", { title: "t", due: { ...floating, time_zone } }),
        "/due/time_zone"
      )
      expectFaults(await tasks.send("PATCH", `/${id}`, { due: { time_zone } }), "/due/time_zone")
    }
    for (const time_zone of ["IST", "pst", "Factory", "SystemV/PST8", "US/Pacific-New", "T12Z"]) {
      expectFaults(await tasks.send("POST", "", { title: "t", due: { ...floating, time_zone } }), "/due/time_zone")
    }
    expect((await tasks.read(id)).due).toEqual(fixed)
  })

  it("is refused where it is not whole, or more than that, with every fault at once", async () => {
    const tasks = await userIn("UTC", family)
    const post = (due: unknown) => tasks.send("POST", "", { title: "t", due })
    for (const due of ["2026-12-01", 5, true, [], ["2026-12-01"]]) expectFaults(await post(due), "/due")
    for (const due of [{}, { time: "09:00" }, { time: "09:00", time_zone: "UTC" }, { date: null }]) {
      expectFaults(await post(due), "/due/date")
    }
    expectFaults(await post({ date: "2030-12-01", time_zone: "UTC" }), "/due")
    expectFaults(await post({ ...fixed, due_at: "2030-12-01T00:00:00Z" }), "/due/due_at")
    expectFaults(
      await post({ date: "2030-02-30", time: "24:00", time_zone: "x" }),
      "/due/date",
      "/due/time",
      "/due/time_zone"
    )
    for (const member of ["due_at", "overdue"]) {
      expectFaults(await tasks.send("POST", "", { title: "t", due: fixed, [member]: null }), `/${member}`)
    }
    const both = await tasks.send("POST", "", { title: "", due: { date: "x" } })
    expectFaults(both, "/due/date", "/title")
    for (const fault of both.json.errors) {
      expect(fault).toEqual({
        pointer: fault.pointer,
        code: expect.stringMatching(/./),
        detail: expect.stringMatching(/./)
      })
    }
  })

  it("is merged into by PATCH, and by an update in a batch, and valid afterwards or as it was", async () => {
    const tasks = await userIn("Europe/Berlin", family)
    const ways = [
      (id: string, due: unknown) => tasks.send("PATCH", `/${id}`, { due }),
      async (id: string, due: unknown) => {
        const { problem, status, task } = await tasks.operate({ op: "update", id, task: { due } })
        return { status, json: task ?? problem }
      }
    ]
    const merged = [
      [allDay, { time: "09:00" }, floating],
      [allDay, { time: "09:00", time_zone: "Asia/Tokyo" }, fixed],
      [allDay, {}, allDay],
      [floating, { time: null }, allDay],
      [floating, { time: null, time_zone: null }, allDay],
      [floating, { time_zone: "Asia/Tokyo" }, fixed],
      [fixed, { time_zone: null }, floating],
      [fixed, { time: null, time_zone: null }, allDay],
      [fixed, { date: "2030-12-02" }, { ...fixed, date: "2030-12-02" }],
      [fixed, null, null],
      [null, allDay, allDay],
      [null, { date: "2030-12-01", time: null, time_zone: null }, allDay],
      [null, null, null]
    ] as const
    const refused = [
      [fixed, { time: null }, "/due"],
      [allDay, { time_zone: "UTC" }, "/due"],
      [null, { time: "09:00" }, "/due/date"],
      [null, {}, "/due/date"]
    ] as const
    for (const [due, pointer] of [[{ date: null }, "/due/date"], [{ day: "2030-12-01" }, "/due/day"]] as const) {
      const { id } = await tasks.create({ due: fixed })
      expectFaults(await tasks.send("PATCH", `/${id}`, { due }), pointer)
      const body = { mode: "partial", operations: [{ op: "update", id, task: { due } }] }
      expectFaults(await tasks.send("POST", "/batch", body), `/operations/0/task${pointer}`)
      expect((await tasks.read(id)).due).toEqual(fixed)
    }
    for (const [index, change] of ways.entries()) {
      for (const [before, sent, after] of merged) {
        const { id } = await tasks.create({ due: before })
        const { json, status } = await change(id, sent)
        expect([before, sent, status, json.due]).toEqual([before, sent, 200, after])
        expect(json.due_at === null).toBe(after === null)
        expect(await tasks.read(id)).toEqual(json)
      }
      for (const [before, sent, pointer] of refused) {
        const made = await tasks.create({ due: before })
        const { json, status } = await change(made.id, sent)
        const within = index === 0 ? pointer : `/operations/0/task${pointer}`
        expect([before, sent, status, json.code, json.errors]).toMatchObject([before, sent, 422, "validation_failed", [{
          pointer: within
        }]])
        expect(await tasks.read(made.id)).toEqual(made)
      }
    }
  })

  it("sets due_at anew with each change, and is overdue from that instant on", async () => {
    const tasks = await userIn("Europe/Berlin", family)
    const { id } = await tasks.create({ due: floating })
    expect(await tasks.patch(id, { due: { date: "2020-07-01" } })).toMatchObject({
      due_at: "2020-07-01T07:00:00.000Z",
      overdue: true
    })
    expect(await tasks.patch(id, { completed: true })).toMatchObject({
      overdue: false,
      due_at: "2020-07-01T07:00:00.000Z"
    })
    expect(await tasks.patch(id, { completed: false })).toMatchObject({ overdue: true })
    expect(await tasks.patch(id, { title: "other" })).toMatchObject({
      overdue: true,
      due: { ...floating, date: "2020-07-01" }
    })
    expect(await tasks.patch(id, { due: { time_zone: "America/New_York" } })).toMatchObject({
      due_at: "2020-07-01T13:00:00.000Z"
    })
  })

  it("of a task that is created again with its id has to be the same", async () => {
    const tasks = await userIn("UTC", family)
    const body = { id: "0198f5a0-1c2d-7e3f-8a4b-5c6d7e8f9a0b", title: "t", due: fixed }
    const made = await tasks.create(body)
    const again = await tasks.send("POST", "", body)
    expect([again.status, again.json]).toEqual([200, made])
    const { date, time, time_zone } = fixed
    expect((await tasks.send("POST", "", { ...body, due: { time_zone, time, date }, recurrence: null })).status).toBe(
      200
    )
    for (const due of [undefined, null, floating, allDay, { ...fixed, time_zone: "Asia/Seoul" }]) {
      expectProblem(await tasks.send("POST", "", { ...body, due }), 409, "id_reused")
    }
  })
})

describe("PUT", () => {
  it("under /api/v1/tasks changes the given members, and takes due whole", async () => {
    const tasks = await userIn("UTC")
    const { id } = await tasks.create({ due: fixed })
    expect((await tasks.put(id, { title: "other" })).due).toEqual(fixed)
    expect((await tasks.put(id, { due: allDay })).due).toEqual(allDay)
    expectFaults(await tasks.send("PUT", `/${id}`, { due: { time: "09:00" } }), "/due/date")
    expectFaults(await tasks.send("PUT", `/${id}`, { due: { ...floating, time_zone: null } }), "/due/time_zone")
    expect((await tasks.put(id, { due: null })).due).toBeNull()
  })

  it("under /api/{user_id}/tasks takes away what it does not name", async () => {
    const tasks = await userIn("UTC", userScoped)
    const { id } = await tasks.create({ due: fixed })
    expect((await tasks.put(id, { title: "t", due: floating })).due).toEqual(floating)
    expect((await tasks.put(id, { title: "t", due: allDay })).due).toEqual(allDay)
    expectFaults(await tasks.send("PUT", `/${id}`, { title: "t", due: { time: "09:00" } }), "/due/date")
    expect(await tasks.put(id, { title: "t" })).toMatchObject({ due: null, due_at: null })
  })
})

describe("the instant of a due date", () => {
  it.each([
    // skipped: later by the gap; twice: the first
    ["Europe/Berlin", "2027-03-28", "02:30", "2027-03-28T01:30:00.000Z"],
    ["Europe/Berlin", "2027-03-28", "03:00", "2027-03-28T01:00:00.000Z"],
    ["Europe/Berlin", "2027-10-31", "02:30", "2027-10-31T00:30:00.000Z"],
    ["Europe/Berlin", "2027-10-31", "03:00", "2027-10-31T02:00:00.000Z"],
    ["America/New_York", "2027-03-14", "02:30", "2027-03-14T07:30:00.000Z"],
    ["America/New_York", "2027-11-07", "01:30", "2027-11-07T05:30:00.000Z"],
    ["Australia/Lord_Howe", "2027-10-03", "02:15", "2027-10-02T15:45:00.000Z"],
    ["Australia/Lord_Howe", "2027-04-04", "01:45", "2027-04-03T14:45:00.000Z"],
    ["Pacific/Apia", "2011-12-30", "09:00", "2011-12-30T19:00:00.000Z"],
    ["Asia/Kathmandu", "2027-01-01", "00:00", "2026-12-31T18:15:00.000Z"],
    // the end of the day, also where midnight is skipped, comes twice, or the next day does not exist
    ["Europe/Berlin", "2027-03-28", undefined, "2027-03-28T22:00:00.000Z"],
    ["America/Santiago", "2026-09-05", undefined, "2026-09-06T04:00:00.000Z"],
    ["America/Havana", "2027-11-06", undefined, "2027-11-07T04:00:00.000Z"],
    ["Pacific/Apia", "2011-12-29", undefined, "2011-12-30T10:00:00.000Z"],
    ["Pacific/Apia", "2011-12-30", undefined, "2011-12-30T10:00:00.000Z"],
    ["Pacific/Apia", "2011-12-31", undefined, "2011-12-31T10:00:00.000Z"],
    ["Pacific/Kiritimati", "2026-12-31", undefined, "2026-12-31T10:00:00.000Z"],
    ["Pacific/Pago_Pago", "2026-12-31", undefined, "2027-01-01T11:00:00.000Z"]
  ])("in %s of %s %s is right", async (zone, date, time, due_at) => {
    const home = await userIn(zone)
    expect(await home.create({ due: { date, ...(time !== undefined && { time }) } })).toMatchObject({ due_at })
    if (time === undefined) return
    const elsewhere = await userIn("Asia/Tokyo")
    for (const time_zone of [zone, zone.toLowerCase()]) {
      expect(await elsewhere.create({ due: { date, time, time_zone } })).toMatchObject({ due_at })
    }
  })

  it("is that of another implementation, for any date, time and zone", async () => {
    const home = "Antarctica/Troll"
    const tasks = await userIn(home)
    const two = (most: number) => fc.integer({ min: 0, max: most }).map((n) => String(n).padStart(2, "0"))
    const zones = ["Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "America/Havana", "Africa/Casablanca"]
    const dues = fc.record({
      date: fc.integer({ min: 0, max: 33_000 }).map((days) => daysAfter("1970-01-01", days)),
      clock: fc.option(fc.tuple(two(23), two(59))),
      time_zone: fc.option(fc.constantFrom(...zones, "Pacific/Kwajalein", "Asia/Tehran", "America/Caracas"))
    }).map(({ clock, date, time_zone }) => ({
      date,
      ...(clock !== null && { time: clock.join(":"), ...(time_zone !== null && { time_zone }) })
    }))
    await fc.assert(
      fc.asyncProperty(fc.array(dues, { minLength: 100, maxLength: 100 }), async (sent) => {
        const operations = sent.map((due) => ({ op: "create", task: { title: "t", due } }))
        const results = resultsOf(await batch(server, tasks.account, "atomic", operations))
        const found = results.map(({ task }) => [task!.due, task!.due_at])
        expect(found).toEqual(sent.map((due) => [due, new Date(instantOf(due, home)).toISOString()]))
      }),
      { numRuns: 5 }
    )
  })

  it("is kept at the ends of the calendar, or the date is refused", async () => {
    for (const zone of ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"]) {
      const tasks = await userIn(zone)
      for (const date of ["0001-01-01", "1582-10-10", "1883-11-18", "1970-01-01", "9999-12-30", "9999-12-31"]) {
        for (const time of [undefined, "00:00", "23:59"]) {
          const answer = await tasks.send("POST", "", {
            title: "t",
            due: { date, ...(time !== undefined && { time }) }
          })
          expect([201, 422], `${zone} ${date} ${time}: ${answer.text}`).toContain(answer.status)
          if (answer.status === 422) expectFaults(answer, "/due/date")
          else {
            expect(answer.json.due_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
            expect(await tasks.read(answer.json.id)).toEqual(answer.json)
          }
        }
      }
      await tasks.list("?sort=due")
    }
  })
})
