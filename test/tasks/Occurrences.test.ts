import { describe, expect, it } from "vitest"
import { type Account, useServer } from "../support/TestServer.ts"
import { datesOf } from "./dated.ts"
import { families, type Family, having, newId, pointersOf } from "./families.ts"

const server = useServer()

const sender = (family: Family, account: Account) => datesOf(server, account, family).send

describe.each(families)("the occurrences of a task under $name", (family) => {
  it("are those that were completed, and those that come after the current one", async () => {
    const user = await server.register({ time_zone: "Europe/Berlin" })
    const send = sender(family, user)
    const { id } = having(
      201,
      await send("POST", "", {
        title: "a",
        due: { date: "2031-01-31", time: "09:00" },
        recurrence: { rule: "FREQ=MONTHLY;COUNT=6" }
      })
    ).json
    const of = async (query = "") => having(200, await send("GET", `/${id}/occurrences${query}`)).json
    const next = [
      { date: "2031-02-28", time: "09:00", due_at: "2031-02-28T08:00:00.000Z" },
      { date: "2031-03-31", time: "09:00", due_at: "2031-03-31T07:00:00.000Z" },
      { date: "2031-04-30", time: "09:00", due_at: "2031-04-30T07:00:00.000Z" },
      { date: "2031-05-31", time: "09:00", due_at: "2031-05-31T07:00:00.000Z" },
      { date: "2031-06-30", time: "09:00", due_at: "2031-06-30T07:00:00.000Z" }
    ]
    expect(await of()).toEqual({ past: [], next })
    expect(await of("?next=2")).toEqual({ past: [], next: next.slice(0, 2) })
    expect(await of("?next=0")).toEqual({ past: [], next: [] })
    expect(await of("?next=50")).toEqual({ past: [], next })
    const first = having(200, await send("PATCH", `/${id}/complete`)).json
    const again = having(200, await send("PATCH", `/${id}/complete`)).json
    const past = [
      { occurrence: "2031-01-31", due_at: "2031-01-31T08:00:00.000Z", completed_at: first.updated_at },
      { occurrence: "2031-02-28", due_at: "2031-02-28T08:00:00.000Z", completed_at: again.updated_at }
    ]
    expect(await of()).toEqual({ past, next: next.slice(2) })
    having(200, await send("PATCH", `/${id}/complete`, { completed: false }))
    expect(await of("?next=1")).toEqual({ past: past.slice(0, 1), next: next.slice(1, 2) })
    // what was completed stays when the rule goes
    having(200, await send("PATCH", `/${id}`, { recurrence: null }))
    expect(await of()).toEqual({ past: past.slice(0, 1), next: [] })
  })

  it("that are completed together with a change are those of after it", async () => {
    const user = await server.register()
    const send = sender(family, user)
    const due = { date: "2031-01-31", time: "09:00" }
    const change = { title: "a", due, recurrence: { rule: "FREQ=MONTHLY" }, completed: true }
    for (const before of [{}, { due: { date: "2030-05-05" } }, { ...change, due: { date: "2030-05-05" } }]) {
      for (const method of ["PATCH", "PUT"]) {
        const { completed: _, ...task } = { title: "a", completed: false, ...before }
        const { id } = having(201, await send("POST", "", task)).json
        const { completed, due: next } = having(200, await send(method, `/${id}`, change)).json
        expect({ completed, next }).toEqual({ completed: false, next: { date: "2031-02-28", time: "09:00" } })
        expect(having(200, await send("GET", `/${id}/occurrences?next=0`)).json.past).toEqual([
          { occurrence: "2031-01-31", due_at: "2031-01-31T09:00:00.000Z", completed_at: expect.any(String) }
        ])
      }
    }
  })

  it("are told as if each were completed in time, a late one now", async () => {
    const user = await server.register()
    const send = sender(family, user)
    const day = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10)
    const nextOf = async (due: object, recurrence: object) => {
      const { id } = having(201, await send("POST", "", { title: "a", due, recurrence })).json
      const { next } = having(200, await send("GET", `/${id}/occurrences?next=3`)).json
      return next.map(({ date }: { readonly date: string }) => date)
    }
    const daily = { rule: "FREQ=DAILY" }
    // a day ends while this runs: what was read before that is asked again
    let today = ""
    let told: ReadonlyArray<ReadonlyArray<string>> = []
    while (today !== day(0)) {
      today = day(0)
      told = [
        await nextOf({ date: day(-5) }, daily),
        await nextOf({ date: day(-5) }, { ...daily, missed: "each" }),
        await nextOf({ date: day(5) }, daily),
        await nextOf({ date: day(-5) }, { rule: "FREQ=DAILY;INTERVAL=3", anchor: "completion" }),
        await nextOf({ date: day(5) }, { rule: "FREQ=DAILY;INTERVAL=3", anchor: "completion" }),
        await nextOf({ date: day(5), time: "00:00" }, { rule: "FREQ=DAILY;INTERVAL=3", anchor: "completion" })
      ]
    }
    expect(told).toEqual([
      [day(0), day(1), day(2)],
      [day(-4), day(-3), day(-2)],
      [day(6), day(7), day(8)],
      [day(3), day(6), day(9)],
      [day(8), day(11), day(14)],
      [day(8), day(11), day(14)]
    ])
  })

  it("are none of a task that does not recur, and 404 of one that is not there", async () => {
    const user = await server.register()
    const send = sender(family, user)
    const { id } = having(201, await send("POST", "", { title: "a", due: { date: "2031-01-01" } })).json
    expect(having(200, await send("GET", `/${id}/occurrences`)).json).toEqual({ past: [], next: [] })
    const stranger = await server.register()
    expect((await sender(family, stranger)("GET", `/${id}/occurrences`)).status).toBe(404)
    expect((await send("GET", `/${newId()}/occurrences`)).status).toBe(404)
    for (const next of ["51", "-1", "1.5", "x", ""]) {
      expect(pointersOf(having(422, await send("GET", `/${id}/occurrences?next=${next}`))), next).toEqual(["?next"])
    }
  })

  it("that were completed are told up to the last hundred, oldest first", async () => {
    const user = await server.register()
    const send = sender(family, user)
    const { id } = having(
      201,
      await send("POST", "", { title: "a", due: { date: "2031-01-01" }, recurrence: { rule: "FREQ=DAILY" } })
    ).json
    for (let batch = 0; batch < 2; batch++) {
      const operations = Array.from({ length: 60 }, () => ({ op: "complete", id }))
      having(200, await send("POST", "/batch", { mode: "atomic", operations }))
    }
    const { past } = having(200, await send("GET", `/${id}/occurrences`)).json
    expect(past).toHaveLength(100)
    expect([past[0].occurrence, past[99].occurrence]).toEqual(["2031-01-21", "2031-04-30"])
  })
})
