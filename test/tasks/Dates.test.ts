import { describe, expect, it } from "vitest"
import { useServers } from "../support/TestServer.ts"
import { families, having, newId } from "./families.ts"

const [server, second] = useServers(2)

describe.each(families)("dates of tasks under $name", ({ tasks }) => {
  it("are stored, and completing goes on to the next occurrence", async () => {
    const user = await server.register({ time_zone: "Europe/Berlin" })
    const token = user.access_token
    const send = (method: string, path: string, body?: unknown) =>
      server.request(method, tasks(user) + path, { token, ...(body !== undefined && { body }) })
    const created = having(
      201,
      await send("POST", "", {
        title: "Water",
        due: { date: "2031-12-01", time: "09:00" },
        recurrence: { rule: "FREQ=DAILY" },
        reminders: [{ before: "PT30M" }]
      })
    ).json
    expect(created).toMatchObject({
      due: { date: "2031-12-01", time: "09:00" },
      due_at: "2031-12-01T08:00:00.000Z",
      overdue: false,
      recurrence: { rule: "FREQ=DAILY", anchor: "due", month_end: "clamp", missed: "skip" },
      reminders: [{ before: "PT30M", delivered_at: null }]
    })
    const next = having(200, await send("PATCH", `/${created.id}/complete`)).json
    expect(next).toMatchObject({
      completed: false,
      due: { date: "2031-12-02", time: "09:00" },
      version: created.version + 1
    })
    expect(having(200, await send("PATCH", `/${created.id}/complete`, { occurrence: "2031-12-01" })).json).toEqual(next)
    expect((await send("PATCH", `/${created.id}/complete`, { occurrence: "2031-12-09" })).status).toBe(409)
    const back = having(200, await send("PATCH", `/${created.id}/complete`, { completed: false })).json
    expect(back.due.date).toBe("2031-12-01")
    const moved = having(200, await send("PATCH", `/${created.id}`, { due: { time: null } })).json
    expect(moved).toMatchObject({ due: { date: "2031-12-01" }, due_at: "2031-12-01T23:00:00.000Z" })
    expect((await send("PATCH", `/${created.id}`, { due: null })).status).toBe(422)
    const plain = having(200, await send("PATCH", `/${created.id}`, { due: null, recurrence: null })).json
    expect(plain).toMatchObject({ due: null, due_at: null, recurrence: null })
  })

  it("are the same creation whatever the order of their members and whether defaults are spelled out", async () => {
    const user = await server.register()
    const post = (task: object) =>
      server.request("POST", tasks(user), { token: user.access_token, body: { title: "Water", id, ...task } })
    const id = newId()
    const due = { date: "2030-01-01", time: "09:00" }
    const reminders = [{ before: "PT1H" }]
    const created = having(201, await post({ due, recurrence: { rule: "FREQ=DAILY" }, reminders })).json
    const again = { missed: "skip", rule: "FREQ=DAILY", month_end: "clamp", anchor: "due" }
    const same = { reminders, recurrence: again, due: { time: "09:00", date: "2030-01-01" } }
    expect(having(200, await post(same)).json).toEqual(created)
    for (
      const other of [
        { due: { ...due, time: "09:01" } },
        { due: { ...due, time_zone: "UTC" } },
        { recurrence: { ...again, missed: "each" } },
        { reminders: [{ before: "PT2H" }] },
        { reminders: [] }
      ]
    ) expect((await post({ ...same, ...other })).status, JSON.stringify(other)).toBe(409)
  })

  it("move on once however many complete an occurrence at once", async () => {
    const user = await server.register()
    const token = user.access_token
    const { id } = having(
      201,
      await server.request("POST", tasks(user), {
        token,
        body: { title: "Water", due: { date: "2030-01-01" }, recurrence: { rule: "FREQ=DAILY" } }
      })
    ).json
    const answers = await Promise.all(
      Array.from(
        { length: 20 },
        (_, i) =>
          (i % 2 === 0 ? server : second).request("PATCH", `${tasks(user)}/${id}/complete`, {
            token,
            body: { occurrence: "2030-01-01" }
          })
      )
    )
    for (const answer of answers) expect(having(200, answer).json.due.date).toBe("2030-01-02")
  })
})
