/** Which tasks are due when, in the zone of their user: filters, order, pages and counts. */
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { useServer } from "../support/TestServer.ts"
import { batch, resultsOf } from "./batches.ts"
import { dateIn, type Dates, datesOf, daysAfter, expectFaults, instantOf, withinADay } from "./dated.ts"
import { canonical, families, having, listAll, nextOf, type TaskAnswer } from "./families.ts"

const server = useServer()

type Due = TaskAnswer["due"]
const farZones = ["Pacific/Kiritimati", "Pacific/Pago_Pago"]
const zones = [...farZones, "UTC", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Chatham"]
const userIn = async (time_zone: string, family = canonical) =>
  datesOf(server, await server.register({ time_zone }), family)

/** Creates tasks with these due dates, whose titles are their places. */
const createAll = async (
  { account }: Dates,
  dues: ReadonlyArray<Due>,
  more: (place: number) => object = () => ({})
) => {
  const operations = dues.map((due, place) => ({ op: "create", task: { title: `${place}`, due, ...more(place) } }))
  const made = resultsOf(await batch(server, account, "atomic", operations))
  return made.map(({ task }) => task!)
}

/** The day that filters and counts go by. */
const dayOf = ({ due, due_at }: TaskAnswer, zone: string): string | undefined =>
  due === null ? undefined : due.time_zone === undefined ? due.date : dateIn(zone, due_at!)

const titles = (tasks: ReadonlyArray<TaskAnswer>) => tasks.map(({ title }) => title)
const inOrder = (titles: ReadonlyArray<string>) => [...titles].sort((a, b) => Number(a) - Number(b))

describe.each(families)("the list of tasks by due date under $name", (family) => {
  it.each(["Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Berlin"])(
    "is filtered by the day of the due date, or of its instant where that is fixed, in %s",
    async (zone) => {
      const tasks = await userIn(zone, family)
      const days = ["2030-06-14", "2030-06-15", "2030-06-16"]
      const made = await createAll(tasks, [
        null,
        ...days.flatMap((date): ReadonlyArray<Due> => [
          { date },
          ...["00:00", "23:59"].map((time) => ({ date, time })),
          ...["00:00", "09:59", "10:00", "11:00", "23:59"].flatMap((time) =>
            [zone, "UTC", ...farZones].map((time_zone) => ({ date, time, time_zone }))
          )
        ])
      ])
      const found = async (query: string) => inOrder(titles(await tasks.list(`?limit=100${query}`)))
      for (const from of [undefined, "2030-06-13", ...days]) {
        for (const to of [undefined, ...days, "2030-06-17"]) {
          if (from === undefined && to === undefined) continue
          const query = `${from === undefined ? "" : `&due_from=${from}`}${to === undefined ? "" : `&due_to=${to}`}`
          const expected = made.filter((task) => {
            const day = dayOf(task, zone)
            return day !== undefined && (from === undefined || day >= from) && (to === undefined || day <= to)
          })
          expect([query, await found(query)]).toEqual([query, inOrder(titles(expected))])
        }
      }
      expect(await found("&due_from=1970-01-01&due_to=9999-12-31")).toHaveLength(made.length - 1)
      expect(await found("&due_from=9999-12-31")).toEqual([])
      expect(await found("&due_to=1970-01-01")).toEqual([])
    }
  )

  it.each([farZones, [...farZones].reverse()])(
    "has completed tasks on their days also when their user has gone from %s to %s",
    async (before, after) => {
      const tasks = await userIn(before, family)
      const day = "2030-06-15"
      const made = await createAll(tasks, [{ date: day }, { date: day, time: "00:00" }, { date: day, time: "23:59" }])
      await tasks.bulkComplete(made.map(({ id }) => id))
      const { access_token: token } = tasks.account
      having(200, await server.request("PATCH", "/api/v1/auth/me", { token, body: { time_zone: after } }))
      expect(inOrder(titles(await tasks.list(`?due_from=${day}&due_to=${day}`)))).toEqual(["0", "1", "2"])
      expect(await tasks.list(`?due_to=${daysAfter(day, -1)}`)).toEqual([])
      expect(await tasks.list(`?due_from=${daysAfter(day, 1)}`)).toEqual([])
    }
  )

  it("takes dates, and true or false, and nothing else", async () => {
    const tasks = await userIn("UTC", family)
    const wrong = ["2026-02-30", "", "today", "2026-12-01T00:00:00Z", "2026-12-01%00", "9999-12-32", "20261201", "1"]
    for (const name of ["due_from", "due_to"]) {
      for (const value of wrong) expectFaults(await tasks.send("GET", `?${name}=${value}`), `?${name}`)
      expectFaults(await tasks.send("GET", `?${name}=2026-12-01&${name}=2026-12-02`), `?${name}`)
    }
    for (const value of ["", "1", "TRUE", "yes", "true,false"]) {
      expectFaults(await tasks.send("GET", `?overdue=${value}`), "?overdue")
    }
    expectFaults(await tasks.send("GET", "?sort=due,-due"), "?sort")
    expectFaults(await tasks.send("GET", "?sort=due_at"), "?sort")
  })

  it("has those that are open and whose instant has come as overdue, and all others as not", () =>
    withinADay("Pacific/Kiritimati", async () => {
      const tasks = await userIn("Pacific/Kiritimati", family)
      const now = Date.now()
      const at = (minutes: number) => {
        const instant = new Date(now + minutes * 60_000).toISOString()
        return { date: instant.slice(0, 10), time: instant.slice(11, 16), time_zone: "UTC" }
      }
      const today = dateIn("Pacific/Kiritimati", now)
      const late = [at(-2), at(-3000), { date: "2020-01-01" }, { date: daysAfter(today, -1) }]
      const notYet = [at(10), at(3000), { date: today }, { date: daysAfter(today, 1) }, null]
      const made = await createAll(tasks, [...late, ...notYet, at(-5)])
      await tasks.complete(made.at(-1)!.id)
      const found = async (query: string) => inOrder(titles(await tasks.list(query)))
      expect(await found("?overdue=true")).toEqual(["0", "1", "2", "3"])
      expect(await found("?overdue=false")).toEqual(["4", "5", "6", "7", "8", "9"])
      expect(await found("?overdue=true&completed=true")).toEqual([])
      expect(await found(`?overdue=true&due_from=${daysAfter(today, -1)}`)).not.toContain("2")
      for (const task of await tasks.list("")) {
        expect([task.title, task.overdue]).toEqual([task.title, task.title < "4"])
      }
    }))

  it("goes by the instants in pages of any length, with those that have none last in both directions", async () => {
    const tasks = await userIn("Europe/Berlin", family)
    const made = await createAll(tasks, [
      null,
      { date: "2030-06-15" },
      { date: "2030-06-16", time: "00:00" },
      { date: "2030-06-15", time: "22:00", time_zone: "UTC" },
      { date: "2030-06-15", time: "23:59" },
      { date: "2030-06-16", time: "07:01", time_zone: "Asia/Tokyo" },
      { date: "2030-06-14" },
      null,
      { date: "1970-01-01" },
      { date: "9999-12-30" },
      null
    ], (place) => ({ priority: ["low", "high", "none"][place % 3] }))
    const ranks = ["none", "low", "medium", "high", "urgent"]
    const by = (...keys: ReadonlyArray<(a: TaskAnswer, b: TaskAnswer) => number>) =>
      titles([...made].sort((a, b) => keys.map((key) => key(a, b)).find((order) => order !== 0) ?? 0))
    const due = (sign: number) => (a: TaskAnswer, b: TaskAnswer) => {
      if (a.due_at === null || b.due_at === null) return Number(a.due_at === null) - Number(b.due_at === null)
      return sign * (Date.parse(a.due_at) - Date.parse(b.due_at))
    }
    const priority = (a: TaskAnswer, b: TaskAnswer) => ranks.indexOf(a.priority) - ranks.indexOf(b.priority)
    const id = (sign: number) => (a: TaskAnswer, b: TaskAnswer) => sign * (a.id < b.id ? -1 : 1)
    const orders = {
      "due": by(due(1), id(1)),
      "-due": by(due(-1), id(-1)),
      "due,-priority": by(due(1), (a, b) => -priority(a, b), id(1)),
      "-priority,-due": by((a, b) => -priority(a, b), due(-1), id(-1)),
      "priority,due": by(priority, due(1), id(1))
    }
    for (const [sort, expected] of Object.entries(orders)) {
      for (const limit of [1, 2, 3, 4, 100]) {
        const all = await listAll(server, tasks.account, `?sort=${sort}&limit=${limit}`)
        expect([sort, limit, titles(all)]).toEqual([sort, limit, expected])
      }
    }
    const filtered = await listAll(server, tasks.account, "?sort=-due&limit=1&due_from=2030-06-15&due_to=2030-06-16")
    const wanted = new Set(["1", "2", "3", "4", "5"])
    expect(titles(filtered)).toEqual(orders["-due"].filter((title) => wanted.has(title)))
  })

  it("has cursors that are for its filter and its order only", async () => {
    const tasks = await userIn("UTC", family)
    await createAll(tasks, Array.from({ length: 3 }, () => ({ date: "2020-06-15" })))
    const filter = "sort=due&limit=1&due_from=2020-06-15&due_to=2020-06-15&overdue=true"
    const first = await tasks.send("GET", `?${filter}`)
    const cursor = new URL(nextOf(server, first)!, server.url).searchParams.get("cursor")!
    expect((await tasks.send("GET", `?${filter}&cursor=${cursor}`)).status).toBe(200)
    for (
      const [part, other] of [
        ["due_from=2020-06-15", "due_from=2020-06-14"],
        ["&due_from=2020-06-15", ""],
        ["due_to=2020-06-15", "due_to=2020-06-16"],
        ["&due_to=2020-06-15", ""],
        ["overdue=true", "overdue=false"],
        ["&overdue=true", ""],
        ["sort=due", "sort=-due"],
        ["sort=due&", ""]
      ] as const
    ) {
      const query = filter.replace(part, other)
      expectProblem(await tasks.send("GET", `?${query}&cursor=${cursor}`), 400, "invalid_cursor")
    }
  })
})

const dues = (zone: string) =>
  fc.record({
    days: fc.integer({ min: -2, max: 2 }),
    time: fc.option(fc.tuple(fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 59 })), { nil: undefined }),
    time_zone: fc.option(fc.constantFrom(...zones), { nil: undefined })
  }).map(({ days, time, time_zone }): Due => ({
    date: daysAfter(dateIn(zone, Date.now()), days),
    ...(time !== undefined && {
      time: time.map((part) => String(part).padStart(2, "0")).join(":"),
      ...(time_zone !== undefined && { time_zone })
    })
  }))

it.each(zones)("GET /tasks/stats counts as due today and overdue what a model does, in %s", async (zone) => {
  const tasks = await userIn(zone)
  await fc.assert(
    fc.asyncProperty(fc.array(fc.option(dues(zone)), { minLength: 10, maxLength: 30 }), async (sent) => {
      const made = await createAll(tasks, sent)
      for (const { due, due_at } of made) {
        expect([due, due_at && Date.parse(due_at)]).toEqual([due, due && instantOf(due, zone)])
      }
      const { results } = (await tasks.send("POST", "/bulk/complete", {
        ids: made.slice(0, 5).map(({ id }) => id)
      })).json
      expect(results).toHaveLength(5)
      await tasks.send("POST", "/bulk/delete", { ids: made.slice(3, 8).map(({ id }) => id) })
      const open = [...made.slice(8)]
      const from = Date.now()
      const { due_today, overdue } = (await tasks.send("GET", "/stats")).json
      const listed = await tasks.list(
        `?completed=false&due_from=${dateIn(zone, from)}&due_to=${dateIn(zone, from)}&limit=100`
      )
      const until = Date.now()
      // a day that began meanwhile would be told from neither side
      if (dateIn(zone, from) === dateIn(zone, until)) {
        const today = open.filter((task) => dayOf(task, zone) === dateIn(zone, from))
        expect(due_today).toBe(today.length)
        expect(inOrder(titles(listed))).toEqual(inOrder(titles(today)))
      }
      const late = (now: number) => open.filter(({ due }) => due !== null && instantOf(due, zone) <= now).length
      expect(overdue).toBeGreaterThanOrEqual(late(from))
      expect(overdue).toBeLessThanOrEqual(late(until))
      await tasks.send("POST", "/bulk/delete", { ids: made.map(({ id }) => id) })
    }),
    { numRuns: 3 }
  )
})
