import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { lastDays } from "../../src/tasks/Days.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { withinADay } from "./dated.ts"
import { create, families, having, listAll, patch, remove, type TaskAnswer } from "./families.ts"

const server = useServer()

const stats = async (account: Account, family = families[0]!) =>
  having(200, await server.request("GET", `${family.tasks(account)}/stats`, { token: account.access_token })).json

const dayIn = (zone: string, at: number) => new Intl.DateTimeFormat("en-CA", { timeZone: zone }).format(at)

/** Counted again from the list, with the days of another implementation. */
const recount = (tasks: ReadonlyArray<TaskAnswer>, zone: string, now: number) => {
  const countsOf = (tasks: ReadonlyArray<TaskAnswer>) => ({
    open: tasks.filter(({ completed }) => !completed).length,
    completed: tasks.filter(({ completed }) => completed).length
  })
  const today = Date.parse(dayIn(zone, now))
  const days = Array.from({ length: 30 }, (_, n) => new Date(today - (29 - n) * 86_400_000).toISOString().slice(0, 10))
  const tags = new Map<string, Array<TaskAnswer>>()
  for (const task of tasks) {
    for (const tag of task.tags) tags.set(tag.toLowerCase(), [...(tags.get(tag.toLowerCase()) ?? []), task])
  }
  const counts = countsOf(tasks)
  return {
    total: tasks.length,
    ...counts,
    overdue: tasks.filter(({ overdue }) => overdue).length,
    due_today: tasks.filter(({ completed, due, due_at }) =>
      !completed && due !== null &&
      (due.time_zone === undefined ? due.date : dayIn(zone, Date.parse(due_at!))) === dayIn(zone, now)
    ).length,
    completion_rate: tasks.length === 0 ? null : counts.completed / tasks.length,
    by_priority: Object.fromEntries(
      ["none", "low", "medium", "high", "urgent"].map((
        it
      ) => [it, countsOf(tasks.filter(({ priority }) => priority === it))])
    ),
    by_tag: new Map([...tags].map(([tag, tasks]) => [tag, countsOf(tasks)])),
    completed_by_day: days.map((date) => ({
      date,
      count: tasks.filter(({ completed_at }) => completed_at !== null && dayIn(zone, Date.parse(completed_at)) === date)
        .length
    }))
  }
}

describe("statistics", () => {
  it("R54 equal a recount of the user's own live tasks, while another user writes", async () => {
    const zones = ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Berlin", "America/St_Johns"]
    for (const [index, zone] of zones.entries()) {
      const user = await server.register({ time_zone: zone })
      const other = await server.register()
      const tasks = fc.sample(
        fc.record({
          title: fc.constant("task"),
          priority: fc.constantFrom("none", "low", "medium", "high", "urgent"),
          tags: fc.uniqueArray(fc.constantFrom("Home", "home", "garden", "Garden", "work"), {
            selector: (tag) => tag.toLowerCase()
          }),
          due: fc.option(
            fc.record({
              date: fc.integer({ min: -2, max: 2 }).map((days) => dayIn(zone, Date.now() + days * 86_400_000)),
              when: fc.constantFrom({}, { time: "00:00" }, { time: "12:34" }, {
                time: "23:59",
                time_zone: "Asia/Tokyo"
              }, {
                time: "00:01",
                time_zone: "America/New_York"
              })
            }).map(({ date, when }) => ({ date, ...when }))
          )
        }),
        { numRuns: 20, seed: index }
      )
      for (const [n, body] of tasks.entries()) {
        const { id } = await create(server, user, body)
        if (n % 5 === 0) await remove(server, user, id)
        else if (n % 2 === 0) {
          await patch(server, user, id, { completed: true })
          // around midnight in every zone, and beyond the days that are told
          await server.sql(
            "update tasks set completed_at = now() - $1 * interval '31 hours' - $1 * $1 * interval '7 minutes' where user_id = $2 and id = $3",
            [n * 1.7, user.id, id]
          )
        }
      }
      await withinADay(zone, async () => {
        const writing = Promise.all(
          Array.from({ length: 10 }, () => create(server, other, { title: "x", tags: ["home"] }))
        )
        const found = await stats(user, families[index % families.length])
        await writing
        const expected = recount(await listAll(server, user), zone, Date.now())
        const { by_tag, ...rest } = found
        const { by_tag: expectedTags, ...expectedRest } = expected
        expect(rest).toEqual(expectedRest)
        expect(new Map(by_tag.map(({ tag, ...counts }: { tag: string }) => [tag.toLowerCase(), counts]))).toEqual(
          expectedTags
        )
      })
    }
  })

  it("are empty for a user without tasks", async () => {
    const found = await stats(await server.register())
    expect(found).toMatchObject({ total: 0, open: 0, completed: 0, completion_rate: null, by_tag: [] })
    expect(found.completed_by_day).toHaveLength(30)
  })

  it("tell the 50 tags with the most tasks, in one of their spellings", async () => {
    const user = await server.register()
    for (let n = 0; n < 6; n++) {
      await create(server, user, { title: "t", tags: Array.from({ length: 10 }, (_, i) => `tag ${n} ${i}`) })
    }
    await create(server, user, { title: "t", tags: ["TAG 5 9"] })
    const { by_tag } = await stats(user)
    expect(by_tag).toHaveLength(50)
    expect(by_tag[0]).toMatchObject({ open: 2, completed: 0 })
    expect(by_tag[0].tag.toLowerCase()).toBe("tag 5 9")
  })
})

describe("the days of a zone", () => {
  it("begin where a clock change lets them, and are of 23 and 25 hours then", () => {
    const lengths = (zone: string, now: string, count: number) => {
      const days = lastDays(zone, Date.parse(now), count)
      return days.slice(0, -1).map(({ date, start }, i) => [date, (days[i + 1]!.start - start) / 3_600_000])
    }
    expect(lengths("Europe/Berlin", "2026-03-29T12:00:00Z", 2)).toEqual([["2026-03-28", 24], ["2026-03-29", 23]])
    expect(lengths("Europe/Berlin", "2026-10-25T12:00:00Z", 1)).toEqual([["2026-10-25", 25]])
    // the clock goes from 24:00 to 01:00
    expect(lengths("America/Santiago", "2026-09-06T12:00:00Z", 2)).toEqual([["2026-09-05", 24], ["2026-09-06", 23]])
    expect(lastDays("Pacific/Kiritimati", Date.parse("2026-01-01T11:00:00Z"), 1)[0]?.date).toBe("2026-01-02")
    expect(lastDays("Pacific/Pago_Pago", Date.parse("2026-01-01T10:00:00Z"), 1)[0]?.date).toBe("2025-12-31")
  })
})
