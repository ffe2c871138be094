import { expect, it } from "vitest"
import { connectTo, testDatabaseUrl, untilLocked } from "../operation/postgres.ts"
import { useServers } from "../support/TestServer.ts"
import { feedOf } from "./batches.ts"
import { having, patiently, type TaskAnswer } from "./families.ts"

const [server, second] = useServers(2)

const kiritimati = "Pacific/Kiritimati"
const pagoPago = "Pacific/Pago_Pago"

const userIn = async (time_zone: string) => {
  const user = await server.register({ time_zone })
  const token = user.access_token
  const send = (method: string, path: string, body?: unknown, to = server) =>
    to.request(method, path, { token, ...(body !== undefined && { body }) })
  return {
    user,
    send,
    create: async (task: object): Promise<TaskAnswer> =>
      having(201, await send("POST", "/api/v1/tasks", { title: "a", ...task })).json,
    read: async (id: string): Promise<TaskAnswer> => having(200, await send("GET", `/api/v1/tasks/${id}`)).json,
    moveTo: async (time_zone: string) =>
      having(200, await patiently(() => send("PATCH", "/api/v1/auth/me", { time_zone })))
  }
}

it("gives open whole days and times without a zone their new instants, and a version each", async () => {
  const { create, moveTo, read, user } = await userIn(kiritimati)
  const wholeDay = await create({ due: { date: "2031-03-01" }, reminders: [{ before: "PT1H" }] })
  const floating = await create({ due: { date: "2031-03-01", time: "09:00" } })
  const fixed = await create({ due: { date: "2031-03-01", time: "09:00", time_zone: "Europe/Berlin" } })
  const undated = await create({})
  expect([wholeDay.due_at, floating.due_at]).toEqual(["2031-03-01T10:00:00.000Z", "2031-02-28T19:00:00.000Z"])
  const { cursor } = await feedOf(server, user)
  await moveTo(pagoPago)
  const after = await Promise.all([wholeDay, floating, fixed, undated].map(({ id }) => read(id)))
  expect(after.map(({ due_at }) => due_at)).toEqual([
    "2031-03-02T11:00:00.000Z",
    "2031-03-01T20:00:00.000Z",
    fixed.due_at,
    null
  ])
  expect(after.slice(2)).toEqual([fixed, undated])
  expect(after.map(({ due }) => due)).toEqual([wholeDay, floating, fixed, undated].map(({ due }) => due))
  expect((await feedOf(server, user, cursor)).changes).toEqual([after[0], after[1]])
  expect(after.slice(0, 2).map(({ version }) => version)).toEqual([5, 6])
})

it("moves the reminders of whole days and times without a zone", async () => {
  const { create, moveTo, send } = await userIn(kiritimati)
  await create({ due: { date: "2031-03-01" }, reminders: [{ before: "P1D" }, { at: "2031-01-01T00:00:00Z" }] })
  await moveTo(pagoPago)
  const query = "?from=2031-01-01T00:00:00Z&to=2032-01-01T00:00:00Z"
  const times = having(200, await send("GET", `/api/v1/tasks/reminders${query}`)).json.map(({ at }: { at: string }) =>
    at
  )
  expect(times).toEqual(["2031-01-01T00:00:00.000Z", "2031-03-01T11:00:00.000Z"])
})

it("changes nothing where the zone stays, or only the name changes", async () => {
  const { create, moveTo, read, send } = await userIn(kiritimati)
  const task = await create({ due: { date: "2031-03-01" } })
  await moveTo(kiritimati)
  having(200, await send("PATCH", "/api/v1/auth/me", { name: "Ada" }))
  expect(await read(task.id)).toEqual(task)
})

it("leaves what is completed or deleted as it was, until it is open again", async () => {
  const { create, moveTo, read, send } = await userIn(kiritimati)
  const due = { date: "2031-03-01" }
  const completed = await create({ due })
  const deleted = await create({ due })
  const both = await create({ due })
  const inBulk = await create({ due })
  const before = having(200, await send("PATCH", `/api/v1/tasks/${completed.id}/complete`)).json
  for (const { id } of [both, inBulk]) having(200, await send("PATCH", `/api/v1/tasks/${id}/complete`))
  for (const { id } of [deleted, both]) having(200, await send("DELETE", `/api/v1/tasks/${id}`))
  await moveTo(pagoPago)
  expect(await read(completed.id)).toEqual(before)
  const there = "2031-03-02T11:00:00.000Z"
  const reopened = having(200, await send("PATCH", `/api/v1/tasks/${completed.id}`, { completed: false })).json
  expect(reopened).toMatchObject({ completed: false, due, due_at: there })
  const restored = having(200, await send("POST", `/api/v1/tasks/${deleted.id}/restore`)).json
  expect(restored).toMatchObject({ deleted_at: null, due, due_at: there })
  having(200, await send("POST", `/api/v1/tasks/${both.id}/restore`))
  for (const { id } of [both, inBulk]) {
    having(200, await send("POST", "/api/v1/tasks/bulk/complete", { ids: [id], completed: false }))
    expect(await read(id)).toMatchObject({ completed: false, due_at: there })
  }
})

it("opens what was completed or deleted before, after and between changes of the zone in the last one", async () => {
  const { create, moveTo, read, send } = await userIn("UTC")
  const complete = (id: string, completed: boolean) =>
    send("PATCH", `/api/v1/tasks/${id}/complete`, { completed }).then((answer) => having(200, answer))
  const closed: Array<readonly [id: string, reopen: () => Promise<unknown>]> = []
  for (const zone of [kiritimati, pagoPago, kiritimati, "Europe/Berlin"]) {
    await moveTo(zone)
    const [completed, deleted] = [
      await create({ due: { date: "2031-03-01" } }),
      await create({ due: { date: "2031-03-01" } })
    ]
    await complete(completed.id, true)
    having(200, await send("DELETE", `/api/v1/tasks/${deleted.id}`))
    closed.push([completed.id, () => complete(completed.id, false)])
    closed.push([deleted.id, () => send("POST", `/api/v1/tasks/${deleted.id}/restore`).then((it) => having(200, it))])
  }
  // a write that changes nothing about when it was completed
  having(200, await send("PATCH", `/api/v1/tasks/${closed[0]![0]}`, { title: "b" }))
  for (const [id, reopen] of closed) {
    await reopen()
    expect(await read(id)).toMatchObject({ completed: false, due_at: "2031-03-01T23:00:00.000Z" })
  }
})

it.skipIf(testDatabaseUrl === undefined)(
  "reaches what is opened or restored behind it",
  async ({ onTestFinished }) => {
    const { create, read, send, user } = await userIn("UTC")
    const due = { date: "2031-03-01" }
    const [completed, deleted] = [await create({ due }), await create({ due, reminders: [{ before: "PT1H" }] })]
    having(200, await send("PATCH", `/api/v1/tasks/${completed.id}/complete`))
    having(200, await send("DELETE", `/api/v1/tasks/${deleted.id}`))
    const [{ name } = { name: "" }] = await server.sql<{ name: string }>("select current_database() as name")
    const url = new URL(testDatabaseUrl ?? "")
    url.pathname = `/${name}`
    const holder = connectTo(url.href, onTestFinished)
    // who sees what everybody waits for
    const admin = connectTo(url.href, onTestFinished)
    await holder.sql("begin")
    await holder.sql("select 1 from user_sequences where user_id = $1 for update", [user.id])
    const move = send("PATCH", "/api/v1/auth/me", { time_zone: kiritimati })
    await untilLocked(admin, 1)
    const writes = [
      send("PATCH", `/api/v1/tasks/${completed.id}`, { completed: false }),
      send("POST", `/api/v1/tasks/${deleted.id}/restore`, undefined, second)
    ]
    await untilLocked(admin, 3)
    await holder.sql("rollback")
    for (const answer of await Promise.all([move, ...writes])) having(200, answer)
    for (const { id } of [completed, deleted]) {
      expect(await read(id)).toMatchObject({ completed: false, due_at: "2031-03-01T10:00:00.000Z" })
    }
    const query = "?from=2031-01-01T00:00:00Z&to=2032-01-01T00:00:00Z"
    const reminders = having(200, await send("GET", `/api/v1/tasks/reminders${query}`)).json
    expect(reminders.map(({ at }: { at: string }) => at)).toEqual(["2031-03-01T09:00:00.000Z"])
  }
)

it("is complete or not at all, also of many tasks, and beside other writes", async () => {
  const { create, moveTo, send, user } = await userIn("UTC")
  const operations = Array.from({ length: 100 }, (_, i) => ({
    op: "create",
    task: { title: `${i}`, due: { date: "2031-03-01" } }
  }))
  for (let i = 0; i < 12; i++) having(200, await send("POST", "/api/v1/tasks/batch", { mode: "atomic", operations }))
  const taken = await server.register({ username: `taken${Date.now()}` })
  const username =
    having(200, await server.request("GET", "/api/v1/auth/me", { token: taken.access_token })).json.username
  expect((await send("PATCH", "/api/v1/auth/me", { time_zone: kiritimati, username })).status).toBe(409)
  const { changes, cursor } = await feedOf(server, user)
  expect(new Set(changes.map(({ due_at }) => due_at))).toEqual(new Set(["2031-03-02T00:00:00.000Z"]))

  const writes = Array.from(
    { length: 10 },
    (_, i) => {
      const task = { title: `beside ${i}`, due: { date: "2031-03-01" } }
      return patiently(() => send("POST", "/api/v1/tasks", task, i % 2 === 0 ? server : second))
    }
  )
  const [, ...created] = await Promise.all([moveTo(kiritimati), ...writes])
  for (const one of created) having(201, one)
  await create({ due: { date: "2031-03-01" } })
  const all = (await feedOf(server, user)).changes
  expect(all).toHaveLength(1_211)
  // whichever came first, the zone or the task
  expect(new Set(all.map(({ due_at }) => due_at))).toEqual(new Set(["2031-03-01T10:00:00.000Z"]))
  const versions = (await feedOf(server, user, cursor)).changes.map(({ version }) => version)
  expect(new Set(versions).size).toBe(versions.length)
})
