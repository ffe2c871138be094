/** What completing a task that recurs does, however often and by whichever request it is asked for, and taking it back. */
import { randomUUID } from "node:crypto"
import { describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { useServer } from "../support/TestServer.ts"
import { dateIn, datesOf, daysAfter, expectFaults } from "./dated.ts"
import { canonical, families, having, userScoped } from "./families.ts"

const server = useServer()

const user = async (family = canonical) => datesOf(server, await server.register(), family)
const daily = { due: { date: "2031-01-01" }, recurrence: { rule: "FREQ=DAILY" } }
const few = { due: { date: "2031-01-01" }, recurrence: { rule: "FREQ=DAILY;COUNT=2" } }

/** Without what every write changes. */
const still = ({ overdue: _, updated_at: __, version: ___, ...task }: Record<string, unknown>) => task

describe.each(families)("completing under $name", (family) => {
  it("counts once what was taken back after its rule had gone, by whichever request", async () => {
    const tasks = await user(family)
    const todayOf = async () => having(200, await tasks.send("GET", "/stats")).json.completed_by_day.at(-1).count
    const ways = [
      tasks.undo,
      (id: string) => tasks.patch(id, { completed: false }),
      (id: string) => tasks.operate({ op: "complete", id, completed: false }),
      (id: string) => tasks.bulkComplete([id], false)
    ]
    for (const [index, takeBack] of ways.entries()) {
      const { id } = await tasks.create({ ...few, recurrence: { rule: "FREQ=DAILY;COUNT=1" } })
      expect(await tasks.complete(id)).toMatchObject({ completed: true })
      await tasks.patch(id, { recurrence: null })
      await takeBack(id)
      expect(await tasks.read(id)).toMatchObject({ completed: false, due: few.due })
      expect(having(200, await tasks.send("GET", `/${id}/occurrences`)).json).toEqual({ past: [], next: [] })
      expect(await todayOf()).toBe(index)
      await tasks.complete(id)
      expect(await todayOf()).toBe(index + 1)
    }
  })

  it("keeps the task open, with a new version and all but its due date", async () => {
    const tasks = await user(family)
    const made = await tasks.create({
      ...daily,
      description: "d",
      priority: "high",
      tags: ["a"],
      due: { date: "2031-01-01", time: "09:00", time_zone: "Asia/Tokyo" },
      reminders: [{ before: "PT30M" }, { before: "P1D" }, { at: "2031-01-01T00:00:00.000Z" }]
    })
    const next = await tasks.complete(made.id)
    expect(next).toEqual({
      ...made,
      due: { ...made.due, date: "2031-01-02" },
      due_at: "2031-01-02T00:00:00.000Z",
      version: made.version + 1,
      updated_at: next.updated_at
    })
    expect(await tasks.read(made.id)).toEqual(next)
  })

  it("an occurrence that is named is done once: one in the ledger is answered as it is, another is refused", async () => {
    const tasks = await user(family)
    const { id } = await tasks.create(daily)
    const complete = (occurrence: string, more: object = {}) =>
      tasks.send("PATCH", `/${id}/complete`, { occurrence, ...more })
    const after = having(200, await complete("2031-01-01")).json
    expect(after.due.date).toBe("2031-01-02")
    for (let n = 0; n < 3; n++) expect(having(200, await complete("2031-01-01")).json).toEqual(after)
    // that another task was completed then does not count
    const another = await tasks.create({ ...daily, due: { date: "2031-01-03" } })
    await tasks.complete(another.id)
    for (const other of ["2031-01-03", "2030-12-31", "1970-01-01", "9999-12-31"]) {
      expectProblem(await complete(other), 409, "occurrence_mismatch")
    }
    for (const wrong of ["2031-02-30", "", "tomorrow", 5, null, {}]) {
      expectFaults(await tasks.send("PATCH", `/${id}/complete`, { occurrence: wrong }), "/occurrence")
    }
    expect(await tasks.read(id)).toEqual(after)
    having(200, await complete("2031-01-02", { completed: true }))
    expect(having(200, await complete("2031-01-01")).json.due.date).toBe("2031-01-03")
    // what was taken back can be done again
    await tasks.undo(id)
    expect(having(200, await complete("2031-01-02")).json.due.date).toBe("2031-01-03")
    await tasks.undo(id)
    await tasks.undo(id)
    expectProblem(await complete("2031-01-02"), 409, "occurrence_mismatch")
    expect(having(200, await complete("2031-01-01")).json.due.date).toBe("2031-01-02")
  })

  it("an occurrence of a task that does not recur is its due date", async () => {
    const tasks = await user(family)
    const plain = await tasks.create({ due: { date: "2031-01-01" } })
    const none = await tasks.create({})
    for (const id of [plain.id, none.id]) {
      expectProblem(
        await tasks.send("PATCH", `/${id}/complete`, { occurrence: "2031-01-02" }),
        409,
        "occurrence_mismatch"
      )
    }
    for (let n = 0; n < 2; n++) {
      expect(await tasks.complete(plain.id, { occurrence: "2031-01-01" })).toMatchObject({
        completed: true,
        due: { date: "2031-01-01" }
      })
    }
    expect(await tasks.undo(plain.id)).toMatchObject({ completed: false, due: { date: "2031-01-01" } })
  })

  it("the last occurrence really completes the task, and again changes nothing", async () => {
    const tasks = await user(family)
    const { id } = await tasks.create(few)
    expect(await tasks.complete(id)).toMatchObject({
      completed: false,
      completed_at: null,
      due: { date: "2031-01-02" }
    })
    const last = await tasks.complete(id)
    expect(last).toMatchObject({ completed: true, due: { date: "2031-01-02" }, overdue: false })
    expect(last.completed_at).toBe(last.updated_at)
    for (const body of [{}, { occurrence: "2031-01-02" }, { occurrence: "2031-01-01" }]) {
      expect(still(await tasks.complete(id, body) as never)).toEqual(still(last as never))
    }
    expectProblem(
      await tasks.send("PATCH", `/${id}/complete`, { occurrence: "2031-01-03" }),
      409,
      "occurrence_mismatch"
    )
    // a completion that was answered before has left no second line to take back
    expect(await tasks.undo(id)).toMatchObject({ completed: false, completed_at: null, due: { date: "2031-01-02" } })
    expect((await tasks.undo(id)).due!.date).toBe("2031-01-01")
    // one that has a new due date since is opened with that
    await tasks.complete(id)
    await tasks.complete(id)
    expect(await tasks.patch(id, { due: { date: "2031-06-01" } })).toMatchObject({ completed: true })
    expect(await tasks.undo(id)).toMatchObject({ completed: false, due: { date: "2031-06-01" } })
  })

  it("is not taken back with a completion of the time when its task did not recur", async () => {
    const tasks = await user(family)
    const { id } = await tasks.create({ due: { date: "2031-01-01" }, recurrence: { rule: "FREQ=DAILY" } })
    await tasks.complete(id)
    await tasks.patch(id, { recurrence: null })
    await tasks.complete(id)
    expect(await tasks.patch(id, { recurrence: { rule: "FREQ=DAILY" } })).toMatchObject({ completed: true })
    expect(await tasks.undo(id)).toMatchObject({ completed: false, due: { date: "2031-01-02" } })
    expect((await tasks.undo(id)).due!.date).toBe("2031-01-01")
  })

  it("is taken back one by one to the first, and done again", async () => {
    const tasks = await user(family)
    const made = await tasks.create({
      ...few,
      due: { date: "2031-01-31", time: "09:00" },
      recurrence: { rule: "FREQ=MONTHLY;COUNT=4" }
    })
    const { id } = made
    const states = [made]
    for (let n = 0; n < 4; n++) states.push(await tasks.complete(id))
    expect(states.map(({ completed, due }) => [due!.date, completed])).toEqual([
      ["2031-01-31", false],
      ["2031-02-28", false],
      ["2031-03-31", false],
      ["2031-04-30", false],
      ["2031-04-30", true]
    ])
    for (let round = 0; round < 2; round++) {
      let version = (await tasks.read(id)).version
      for (const before of states.slice(0, -1).reverse()) {
        const back = await tasks.undo(id)
        expect(still(back as never)).toEqual(still(before as never))
        expect(back.version).toBeGreaterThan(version)
        version = back.version
      }
      const first = await tasks.undo(id)
      expect(still(first as never)).toEqual(still(made as never))
      expect(first.version).toBe(version)
      for (const after of states.slice(1)) {
        expect({ ...still(await tasks.complete(id) as never), completed_at: null }).toEqual({
          ...still(after as never),
          completed_at: null
        })
      }
    }
  })

  it("is taken back over a change of the rule to where a new series begins", async () => {
    const tasks = await user(family)
    const { id } = await tasks.create(daily)
    for (let n = 0; n < 3; n++) await tasks.complete(id)
    await tasks.patch(id, { recurrence: { rule: "FREQ=DAILY;COUNT=3" } })
    expect((await tasks.undo(id)).due).toEqual({ date: "2031-01-03" })
    const dates: Array<unknown> = []
    for (let n = 0; n < 3; n++) {
      const { completed, due } = await tasks.complete(id)
      dates.push(completed ? "end" : due?.date)
    }
    expect(dates).toEqual(["2031-01-04", "2031-01-05", "end"])
  })

  it("by PUT and PATCH is that of the current occurrence, and false or nothing takes none back", async () => {
    const tasks = await user(family)
    const { id } = await tasks.create(few)
    const put = (body: object) => tasks.put(id, { title: "t", ...few, due: { date: "2031-01-02" }, ...body })
    expect(await tasks.patch(id, { completed: true, title: "u" })).toMatchObject({
      completed: false,
      title: "u",
      due: { date: "2031-01-02" }
    })
    for (const body of [{ completed: false }, { completed: null }, { title: "v" }]) {
      expect(await tasks.patch(id, body)).toMatchObject({ completed: false, due: { date: "2031-01-02" } })
    }
    for (const body of [{ completed: false }, {}]) {
      expect(await put(body)).toMatchObject({ completed: false, due: { date: "2031-01-02" } })
    }
    const last = await put({ completed: true })
    expect(last).toMatchObject({ completed: true, due: { date: "2031-01-02" } })
    for (const body of [{ completed: false }, { completed: null }, { completed: true }, { title: "w" }]) {
      expect(await tasks.patch(id, body)).toMatchObject({ completed: true, completed_at: last.completed_at })
    }
    for (const body of [{ completed: false }, {}]) expect(await put(body)).toMatchObject({ completed: true })
    expect(await tasks.undo(id)).toMatchObject({ completed: false, due: { date: "2031-01-02" } })
    expect(await tasks.undo(id)).toMatchObject({ completed: false, due: { date: "2031-01-01" } })
  })

  it("in the request that makes the task recur is that of the date it sets", async () => {
    const tasks = await user(family)
    for (const method of ["PUT", "PATCH"]) {
      const { id } = await tasks.create({})
      const body = { title: "t", ...daily, completed: true }
      expect(having(200, await tasks.send(method, `/${id}`, body)).json).toMatchObject({
        completed: false,
        due: { date: "2031-01-02" }
      })
      expect((await tasks.undo(id)).due!.date).toBe("2031-01-01")
    }
    const done = await tasks.create({ due: { date: "2031-01-01" } })
    await tasks.complete(done.id)
    expect(await tasks.patch(done.id, { recurrence: daily.recurrence })).toMatchObject({ completed: true })
    expect(await tasks.undo(done.id)).toMatchObject({ completed: false, due: { date: "2031-01-01" } })
    expect((await tasks.complete(done.id)).due!.date).toBe("2031-01-02")
    const stopped = await tasks.create(daily)
    expect(await tasks.patch(stopped.id, { recurrence: null, completed: true })).toMatchObject({
      completed: true,
      recurrence: null,
      due: daily.due
    })
  })

  it("again with its Idempotency-Key is the stored answer, and with an old version is refused", async () => {
    const tasks = await user(family)
    const { id, version } = await tasks.create(daily)
    const key = { "idempotency-key": randomUUID() }
    const first = having(200, await tasks.send("PATCH", `/${id}/complete`, {}, key))
    const again = having(200, await tasks.send("PATCH", `/${id}/complete`, {}, key))
    expect(again.headers.get("idempotent-replayed")).toBe("true")
    expect(again.json).toEqual(first.json)
    expect(await tasks.read(id)).toEqual(first.json)
    for (const body of [{}, { occurrence: "2031-01-01" }, { occurrence: "2031-01-09" }, { completed: false }]) {
      const stale = await tasks.send("PATCH", `/${id}/complete`, body, { "if-match": `"${version}"` })
      expectProblem(stale, 412, "stale_version")
      expect(stale.json.current).toEqual(first.json)
    }
    const now = { "if-match": `"${first.json.version}"` }
    expect(having(200, await tasks.send("PATCH", `/${id}/complete`, {}, now)).json.due.date).toBe("2031-01-03")
    expectProblem(await tasks.send("PATCH", `/${id}/complete`, { completed: false }, now), 412, "stale_version")
    expect((await tasks.read(id)).due!.date).toBe("2031-01-03")
  })

  it("of tasks whose rule finds no day from the completion goes on with the days from the due date", async () => {
    const tasks = await user(family)
    // from every day of the week but that of the due date, three days ago: never
    const date = daysAfter(dateIn("UTC", Date.now()), -3)
    const [weekday, other] = [0, 1].map((days) =>
      ["SU", "MO", "TU", "WE", "TH", "FR", "SA"][new Date(daysAfter(date, days)).getUTCDay()]
    )
    const recurring = (weekday: string | undefined) => ({
      title: "t",
      due: { date },
      recurrence: { rule: `FREQ=DAILY;INTERVAL=7;BYDAY=${weekday}`, anchor: "completion" }
    })
    expectFaults(await tasks.send("POST", "", recurring(other)), "/recurrence/rule")
    const { id } = await tasks.create(recurring(weekday))
    expect(await tasks.complete(id)).toMatchObject({ completed: false, due: { date: daysAfter(date, 7) } })
    expect(await tasks.undo(id)).toMatchObject({ completed: false, due: { date } })
  })

  it("ends the series where the calendar ends", async () => {
    const tasks = await user(family)
    const due = { date: "9999-12-30" }
    const { id } = await tasks.create({ due: { date: "9999-12-29" }, recurrence: { rule: "FREQ=DAILY" } })
    expect(await tasks.complete(id)).toMatchObject({ completed: false, due })
    expect(await tasks.complete(id)).toMatchObject({ completed: true, due })
    expect(await tasks.undo(id)).toMatchObject({ completed: false, due })
  })
})

it("a task that was deleted and restored goes on where it was, and one that is deleted is not found", async () => {
  const tasks = await user(userScoped)
  const { id } = await tasks.create(few)
  await tasks.complete(id)
  having(204, await tasks.send("DELETE", `/${id}`))
  for (const body of [{}, { occurrence: "2031-01-01" }, { completed: false }]) {
    expectProblem(await tasks.send("PATCH", `/${id}/complete`, body), 404, "not_found")
  }
  expect(await tasks.bulkComplete([id], false)).toEqual(["not_found"])
  expect(having(200, await tasks.send("POST", `/${id}/restore`)).json.due.date).toBe("2031-01-02")
  expect((await tasks.complete(id, { occurrence: "2031-01-02" })).completed).toBe(true)
})

it("a task of another user is not found, whatever occurrence is named", async () => {
  const tasks = await user()
  const { id } = await tasks.create(daily)
  const done = await tasks.complete(id)
  const other = await user()
  for (const body of [{}, { occurrence: "2031-01-01" }, { occurrence: "2031-01-02" }, { completed: false }]) {
    expectProblem(await other.send("PATCH", `/${id}/complete`, body), 404, "not_found")
  }
  expect(await tasks.read(id)).toEqual(done)
})
