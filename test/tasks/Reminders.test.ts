import { describe, expect, it } from "vitest"
import { type Account, hasRowSecurity, useServers } from "../support/TestServer.ts"
import { feedOf } from "./batches.ts"
import { datesOf } from "./dated.ts"
import { families, type Family, having, pointersOf, type TaskAnswer } from "./families.ts"

const [server, second] = useServers(2)

const minutes = (count: number) => new Date(Date.now() + count * 60_000)
/** What is due then, in a user's zone of UTC. */
const due = (at: Date) => ({ date: at.toISOString().slice(0, 10), time: at.toISOString().slice(11, 16) })

const sender = (family: Family, account: Account) => datesOf(server, account, family).send

/** As soon as all its reminders whose time has come are delivered: a worker comes by every second. */
const reminded = async (send: ReturnType<typeof sender>, id: string, count = 1): Promise<TaskAnswer> => {
  let task: TaskAnswer | undefined
  await expect.poll(async () => {
    task = having(200, await send("GET", `/${id}`)).json
    return task?.reminders.filter(({ delivered_at }) => delivered_at !== null).length
  }, { timeout: 15_000, interval: 100 }).toBe(count)
  return task!
}

/** Longer than a worker stays away. */
const aWhile = () => new Promise((resolve) => setTimeout(resolve, 2_500))

describe.each(families)("reminders under $name", (family) => {
  it("are delivered once, by a new version that the changes tell of", async () => {
    const user = await server.register()
    const send = sender(family, user)
    const reminders = [{ at: minutes(-5).toISOString() }, { before: "PT2H" }, { before: "PT30M" }]
    const created: TaskAnswer =
      having(201, await send("POST", "", { title: "a", due: due(minutes(60)), reminders })).json
    expect(created.reminders.map(({ delivered_at }) => delivered_at)).toEqual([null, null, null])
    const task = await reminded(send, created.id, 2)
    expect(task).toMatchObject({ version: created.version + 1, completed: false, due: created.due })
    expect(task.updated_at > created.updated_at).toBe(true)
    expect(task.reminders.map(({ delivered_at: _, ...sent }) => sent)).toEqual(reminders)
    expect(task.reminders.map(({ delivered_at }) => delivered_at)).toEqual([
      expect.any(String),
      expect.any(String),
      null
    ])
    expect((await feedOf(server, user)).changes).toEqual([task])
    await aWhile()
    expect(having(200, await send("GET", `/${task.id}`)).json).toEqual(task)
  })

  it("come when the time comes, on a stream that is open", async () => {
    const user = await server.register()
    const send = sender(family, user)
    const at = new Date(Date.now() + 1_500)
    const stream = await fetch(`${second.url}${family.tasks(user).replace(/tasks$/, "changes/stream")}`, {
      headers: { authorization: `Bearer ${user.access_token}` }
    })
    const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader()
    const { id } = having(201, await send("POST", "", { title: "a", reminders: [{ at: at.toISOString() }] })).json
    let text = ""
    while (!/"delivered_at":"/.test(text)) text += (await reader.read()).value ?? ""
    await reader.cancel()
    const task = await reminded(send, id)
    const delivered = Date.parse(task.reminders[0]?.delivered_at ?? "")
    expect(delivered).toBeGreaterThanOrEqual(at.getTime())
    // far less than the 15 s that a stream would wait without being woken
    expect(delivered - at.getTime()).toBeLessThan(10_000)
    expect(Date.now() - delivered).toBeLessThan(10_000)
  })

  it("of a task that is completed or deleted are not delivered, until it is open again", async () => {
    const user = await server.register()
    const send = sender(family, user)
    const soon = Date.now() + 5_000
    const make = async () => {
      const at = new Date(soon).toISOString()
      return having(201, await send("POST", "", { title: "a", reminders: [{ at }] })).json.id
    }
    const [done, deleted] = [await make(), await make()]
    having(200, await send("PATCH", `/${done}/complete`))
    expect((await send("DELETE", `/${deleted}`)).status).toBeLessThan(300)
    expect(Date.now(), "in time").toBeLessThan(soon)
    await new Promise((resolve) => setTimeout(resolve, soon - Date.now()))
    await aWhile()
    expect(having(200, await send("GET", `/${done}`)).json.reminders[0].delivered_at).toBeNull()
    expect(having(200, await send("GET", "?deleted=true")).json[0].reminders[0].delivered_at).toBeNull()
    having(200, await send("PATCH", `/${done}/complete`, { completed: false }))
    having(200, await send("POST", `/${deleted}/restore`))
    await reminded(send, done)
    await reminded(send, deleted)
  })

  it("of a task that recurs are delivered once for each occurrence", async () => {
    const user = await server.register()
    const send = sender(family, user)
    // each occurrence was missed, so each reminder is late
    const start = due(minutes(-3 * 24 * 60))
    const { id } = having(
      201,
      await send("POST", "", {
        title: "a",
        due: start,
        recurrence: { rule: "FREQ=DAILY;COUNT=3", missed: "each" },
        reminders: [{ before: "PT10M" }]
      })
    ).json
    const versions: Array<number> = []
    for (let occurrence = 0; occurrence < 3; occurrence++) {
      const task = await reminded(send, id)
      versions.push(task.version)
      const body = { occurrence: task.due?.date }
      const moved = having(200, await send("PATCH", `/${id}/complete`, body)).json
      expect(moved.completed).toBe(occurrence === 2)
      if (occurrence < 2) expect(moved.reminders[0].delivered_at).toBeNull()
    }
    // one for its creation or completion, one for its reminder
    expect(versions).toEqual([2, 4, 6])
  })

  it("of an occurrence are not delivered again, when its task comes back to it after an undo", async () => {
    const user = await server.register()
    const send = sender(family, user)
    const { id } = having(
      201,
      await send("POST", "", {
        title: "a",
        due: { date: minutes(-24 * 60).toISOString().slice(0, 10) },
        recurrence: { rule: "FREQ=DAILY", missed: "each" },
        reminders: [{ before: "P3D" }]
      })
    ).json
    const complete = async (body?: object) => having(200, await send("PATCH", `/${id}/complete`, body)).json
    await reminded(send, id)
    await complete()
    const first = await reminded(send, id)
    await complete()
    const second = await reminded(send, id)
    for (const earlier of [2, 1]) {
      for (let n = 0; n < earlier; n++) await complete({ completed: false })
      // what is sent as it is changes nothing
      if (earlier === 1) having(200, await send("PATCH", `/${id}`, { reminders: [{ before: "PT72H" }] }))
      let task: TaskAnswer | undefined
      for (let n = 0; n < earlier; n++) task = await complete()
      expect(task!.due).toEqual(second.due)
      expect(task!.reminders).toEqual([{ before: expect.any(String), delivered_at: expect.any(String) }])
    }
    const { version } = having(200, await send("GET", `/${id}`)).json
    await aWhile()
    expect(having(200, await send("GET", `/${id}`)).json.version).toBe(version)
    expect(first.due).not.toEqual(second.due)
    // the one after it was never delivered
    expect((await complete()).reminders[0].delivered_at).toBeNull()
    const next = await reminded(send, id)
    expect(next.reminders[0]).toEqual({ before: "PT72H", delivered_at: expect.any(String) })
    expect(JSON.stringify((await feedOf(server, user)).changes)).not.toContain("delivered_for")
  })

  it("are listed in their order, within a range, with what became of them", async () => {
    const user = await server.register()
    const send = sender(family, user)
    const at = (hours: number) => new Date(Date.UTC(2031, 0, 1, hours)).toISOString()
    const create = async (title: string, hours: ReadonlyArray<number>, rest = {}) =>
      having(201, await send("POST", "", { title, reminders: hours.map((one) => ({ at: at(one) })), ...rest })).json.id
    const list = async (query: string) =>
      having(200, await send("GET", `/reminders${query}`)).json.map((one: { title: string; at: string }) => [
        one.title,
        one.at
      ])
    const a = await create("a", [5, 1, 3])
    await create("b", [2, 9])
    const c = await create("c", [], {
      due: { date: "2031-01-01", time: "06:00", time_zone: "Europe/Berlin" },
      reminders: [{ before: "PT1H" }]
    })
    const all = `?from=${at(0)}&to=${at(24)}`
    expect(await list(all)).toEqual([["a", at(1)], ["b", at(2)], ["a", at(3)], ["c", at(4)], ["a", at(5)], [
      "b",
      at(9)
    ]])
    expect(await list(`?from=${at(2)}&to=${at(5)}`)).toEqual([["b", at(2)], ["a", at(3)], ["c", at(4)]])
    expect(await list(`?from=${at(2)}`)).toEqual((await list(all)).slice(1))
    expect(await list("")).toEqual([])
    having(200, await send("PATCH", `/${c}/complete`))
    expect((await send("DELETE", `/${a}`)).status).toBeLessThan(300)
    expect(await list(all)).toEqual([["b", at(2)], ["b", at(9)]])

    const soon = minutes(60).toISOString()
    const due = await create("soon", [], { reminders: [{ at: soon }, { at: minutes(-1).toISOString() }] })
    const [, late] = (await reminded(send, due)).reminders
    const given = `?from=${minutes(-2).toISOString()}`
    expect(having(200, await send("GET", `/reminders${given}`)).json).toEqual([
      { task_id: due, title: "soon", at: late?.at, delivered_at: late?.delivered_at },
      { task_id: due, title: "soon", at: soon, delivered_at: null }
    ])
    expect(await list("")).toEqual([["soon", soon]])
    // what was delivered is told of, also when the task is completed
    having(200, await send("PATCH", `/${due}/complete`))
    expect(await list(given)).toEqual([["soon", late?.at]])
    const stranger = await server.register()
    expect(having(200, await sender(family, stranger)("GET", `/reminders${all}`)).json).toEqual([])
  })

  it("are listed for a range that is one", async () => {
    const user = await server.register()
    const send = sender(family, user)
    const faults: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
      ["?from=tomorrow", ["?from"]],
      ["?from=2031-01-01", ["?from"]],
      ["?from=2031-01-01T00:00:00Z&to=2030-12-31T23:59:59Z", ["?to"]],
      ["?from=9999-12-31T23:59:59-00:01", ["?from"]],
      ["?limit=1", ["?limit"]]
    ]
    for (const [query, pointers] of faults) {
      expect(pointersOf(having(422, await send("GET", `/reminders${query}`))), query).toEqual(pointers)
    }
    const beyond = { title: "a", reminders: [{ at: "9999-12-31T23:59:59-00:01" }] }
    expect(pointersOf(having(422, await send("POST", "", beyond)))).toEqual(["/reminders/0/at"])
    // any offset that RFC 3339 can write
    const odd = encodeURIComponent("2031-01-01T00:00:00+23:59")
    const { id } = having(201, await send("POST", "", { title: "a", reminders: [{ at: "2031-01-01T00:00:00+23:59" }] }))
      .json
    expect(having(200, await send("GET", `/reminders?from=${odd}&to=2031-01-01T00:00:00Z`)).json).toEqual([
      { task_id: id, title: "a", at: "2030-12-31T00:01:00.000Z", delivered_at: null }
    ])
  })
})

it("delivers what is due of many users once, on two instances", async () => {
  const users = await Promise.all(Array.from({ length: 5 }, () => server.register()))
  const at = minutes(-1).toISOString()
  for (const user of users) {
    const operations = Array.from({ length: 100 }, (_, i) => ({
      op: "create",
      task: { title: `${i}`, reminders: [{ at }, { at: minutes(-2).toISOString() }] }
    }))
    const body = { mode: "atomic", operations }
    having(200, await second.request("POST", "/api/v1/tasks/batch", { token: user.access_token, body }))
  }
  for (const user of users) {
    const left = async () => {
      const { changes } = await feedOf(server, user)
      return changes.flatMap(({ reminders }) => reminders).filter(({ delivered_at }) => delivered_at === null).length
    }
    await expect.poll(left, { timeout: 10_000, interval: 200 }).toBe(0)
  }
  await aWhile()
  for (const user of users) {
    const { changes } = await feedOf(server, user)
    expect(changes.map(({ version }) => version)).toEqual(Array.from({ length: 100 }, (_, i) => 101 + i))
  }
})

it("delivers what is due of the others where that of one user can't be computed", async () => {
  const users = await Promise.all(Array.from({ length: 6 }, () => server.register()))
  const reminders = [{ at: new Date(Date.now() + 5_000).toISOString() }]
  const tasks = await Promise.all(users.map(async (user) => {
    const send = sender(families[0]!, user)
    return { send, id: having(201, await send("POST", "", { title: "a", due: due(minutes(60)), reminders })).json.id }
  }))
  const moveTo = (zone: string) =>
    server.sql("update users set time_zone = $1 where id = any($2::uuid[])", [
      zone,
      `{${[users[0]!.id, users[3]!.id].join()}}`
    ])
  // as if it were known no more
  await moveTo("Atlantis/Poseidonis")
  for (const [index, { id, send }] of tasks.entries()) if (index % 3 !== 0) await reminded(send, id)
  for (const index of [0, 3]) {
    const { id, send } = tasks[index]!
    expect(having(200, await send("GET", `/${id}`)).json.reminders[0].delivered_at).toBeNull()
  }
  await moveTo("UTC")
  await server.remind()
  for (const { id, send } of tasks) await reminded(send, id)
})

// the oracle looks at each row
it.skipIf(hasRowSecurity)("delivers what is due of the others before all that one user has", async () => {
  const [many, few] = [await server.register(), await server.register()]
  const task = { title: "a", due: due(minutes(60)) }
  const [first, second] = [sender(families[0]!, many), sender(families[0]!, few)]
  having(201, await first("POST", "", { ...task, reminders: [{ at: minutes(60).toISOString() }] }))
  const [columns] = await server.sql<{ list: string }>(`
    select string_agg(column_name, ', ') as list from information_schema.columns
    where table_name = 'tasks' and is_generated = 'NEVER' and column_name not in ('id', 'version', 'remind_at')`)
  // more than one run looks at, and they can't be delivered
  await server.sql("update users set time_zone = 'Atlantis/Poseidonis' where id = $1", [many.id])
  await server.sql(
    `insert into tasks (id, version, remind_at, ${columns?.list})
     select gen_random_uuid(), version + n, now() - interval '1 day', ${columns?.list}
     from tasks, generate_series(1, 10100) n where user_id = $1`,
    [many.id]
  )
  const { id } = having(201, await second("POST", "", { ...task, reminders: [{ at: minutes(-1).toISOString() }] })).json
  await reminded(second, id)
  await server.sql("delete from tasks where user_id = $1", [many.id])
})
