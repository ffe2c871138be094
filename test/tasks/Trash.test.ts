import { beforeAll, describe, expect, it } from "vitest"
import { lastVersionOf } from "../changes/writes.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { batch, bulk, resultsOf } from "./batches.ts"
import {
  checksum,
  create,
  families,
  having,
  listAll,
  newId,
  nextOf,
  read,
  remove,
  type TaskAnswer
} from "./families.ts"

const server = useServer()
let user: Account
let other: Account
beforeAll(async () => {
  user = await server.register()
  other = await server.register()
})

const ask = (path: string, account = user) => server.request("GET", path, { token: account.access_token })
const restore = (id: string, account = user, path = "/api/v1/tasks") =>
  server.request("POST", `${path}/${id}/restore`, { token: account.access_token })
const trashOf = (account: Account, query = "") => listAll(server, account, `?limit=100&deleted=true${query}`)
const age = (id: string, by: string) =>
  server.sql(`update tasks set deleted_at = now() - $2::text::interval where id = $1`, [id, by])
const stateOf = async () => [await checksum(server, user, other), await lastVersionOf(server, user)]

describe.each(families)("the trash of GET $name", ({ tasks }) => {
  it("has what was deleted by any way, and nothing else", async () => {
    const account = await server.register()
    const path = tasks(account)
    const made: Array<TaskAnswer> = []
    for (let index = 0; index < 4; index++) made.push(await create(server, account, { title: `t${index}` }))
    const live = await create(server, account, { title: "alive" })
    const [a, b, c, d] = made
    await server.request("DELETE", `${path}/${a!.id}`, { token: account.access_token })
    await bulk(server, account, "delete", { ids: [b!.id] })
    await batch(server, account, "atomic", [{ op: "delete", id: c!.id }])
    await batch(server, account, "partial", [{ op: "delete", id: d!.id }])
    const answer = having(200, await ask(`${path}?deleted=true&count=exact`, account))
    expect(answer.json.map(({ title }: TaskAnswer) => title)).toEqual(["t3", "t2", "t1", "t0"])
    expect(answer.headers.get("x-total-count")).toBe("4")
    for (const { deleted_at, id, version } of answer.json) {
      expect([id, deleted_at === null]).toEqual([id, false])
      expect(version).toBeGreaterThan(live.version)
      for (const method of ["GET", "PATCH", "DELETE"]) {
        const gone = await server.request(method, `${path}/${id}`, {
          token: account.access_token,
          ...(method === "PATCH" && { body: { title: "x" } })
        })
        expectProblem(gone, 404, "not_found")
      }
    }
    expect((await listAll(server, account)).map(({ id }) => id)).toEqual([live.id])
    expect(await trashOf(other)).toEqual([])
    for (const { id } of made) having(200, await restore(id, account, path))
    expect(having(200, await ask(`${path}?deleted=true&count=exact`, account)).json).toEqual([])
    expect((await listAll(server, account)).length).toBe(5)
  })

  it("is searched, filtered, sorted and paged as what is alive", async () => {
    const account = await server.register()
    const titles = ["milk", "bread", "Milk", "oat milk", "tea"]
    const operations = titles.map((title, index) => ({
      op: "create",
      task: { title, priority: index % 2 === 0 ? "high" : "low", tags: index < 3 ? ["Shop"] : [] }
    }))
    const ids = resultsOf(await batch(server, account, "atomic", operations)).map(({ task }) => task!.id)
    await bulk(server, account, "complete", { ids: ids.slice(1, 3) })
    const queries = [
      ...["", "&q=milk", "&q=MILK%20oat", "&priority=high", "&priority=low,urgent", "&tag=SHOP", "&completed=true"],
      ...["&completed=false", "&sort=title", "&sort=-completed_at,title", "&q=milk&tag=shop&priority=high"],
      ...["&updated_since=2000-01-01T00:00:00Z", "&updated_since=2999-01-01T00:00:00Z"]
    ]
    const titlesOf = async (query: string, isDeleted: boolean) =>
      (await listAll(server, account, `?limit=2${isDeleted ? "&deleted=true" : ""}${query}`)).map(({ title }) => title)
    const alive = new Map<string, ReadonlyArray<string>>()
    for (const query of queries) alive.set(query, await titlesOf(query, false))
    await bulk(server, account, "delete", { ids })
    for (const query of queries) {
      expect([query, await titlesOf(query, false)]).toEqual([query, []])
      expect([query, await titlesOf(query, true)]).toEqual([query, alive.get(query)])
      const counted = having(200, await ask(`${tasks(account)}?deleted=true&limit=1&count=exact${query}`, account))
      expect(counted.headers.get("x-total-count")).toBe(String(alive.get(query)!.length))
      expect(nextOf(server, counted) === undefined).toBe(alive.get(query)!.length <= 1)
    }
  })
})

describe("a restore", () => {
  it("that comes twice restores once", async () => {
    const { id } = await create(server, user)
    await remove(server, user, id)
    const first = having(200, await restore(id))
    const before = await stateOf()
    const again = await restore(id)
    expect([200, 404], again.text).toContain(again.status)
    if (again.status === 200) expect(again.json).toEqual(first.json)
    expect(await stateOf()).toEqual(before)
    const both = await create(server, user)
    await remove(server, user, both.id)
    const answers = await Promise.all([restore(both.id), restore(both.id), restore(both.id)])
    // who waited in vain may have taken a version, but wrote nothing
    const { version } = await read(server, user, both.id)
    expect(answers.some(({ status }) => status === 200)).toBe(true)
    for (const { json, status } of answers) {
      expect([200, 404]).toContain(status)
      if (status === 200) expect(json.version).toBe(version)
    }
  })

  it("gives everything back as it was, and it is found and counted again", async () => {
    const task = { title: "milk", description: "oat", priority: "high", tags: ["Shop"] }
    const { id } = await create(server, user, task)
    await bulk(server, user, "complete", { ids: [id] })
    const completed = await read(server, user, id)
    await bulk(server, user, "delete", { ids: [id] })
    const { json } = having(200, await restore(id))
    expect(json).toEqual({ ...completed, version: json.version, updated_at: json.updated_at })
    expect((await listAll(server, user, "?q=oat%20shop&tag=shop&completed=true")).map((one) => one.id)).toEqual([id])
  })

  it("is possible for 30 days and not after", async () => {
    const [young, old] = [await create(server, user), await create(server, user)]
    for (const { id } of [young, old]) await remove(server, user, id)
    await age(young.id, "29 days 23 hours 59 minutes")
    await age(old.id, "30 days 1 minute")
    const before = await lastVersionOf(server, user)
    expectProblem(await restore(old.id), 404, "not_found")
    expect(await lastVersionOf(server, user)).toBe(before)
    expect(having(200, await restore(young.id)).json).toMatchObject({ id: young.id, deleted_at: null })
    // what cannot be restored may still be shown until it is purged, and is never alive
    expect((await listAll(server, user)).map(({ id }) => id)).not.toContain(old.id)
  })

  it("of what is another's, nobody's or no id", async () => {
    const { id } = await create(server, other)
    await remove(server, other, id)
    const before = await stateOf()
    expectProblem(await restore(id), 404, "not_found")
    expectProblem(await restore(newId()), 404, "not_found")
    expectProblem(await restore("not-a-uuid"), 422, "validation_failed")
    expect(await stateOf()).toEqual(before)
    expect((await trashOf(other)).map((task) => task.id)).toEqual([id])
  })
})

describe("an id in the trash", () => {
  it("is not free: creating it again neither revives nor doubles it", async () => {
    const body = { id: newId(), title: "a" }
    await create(server, user, body)
    await remove(server, user, body.id)
    const before = await stateOf()
    const path = "/api/v1/tasks"
    const token = user.access_token
    const same = await server.request("POST", path, { token, body })
    expect([200, 409], same.text).toContain(same.status)
    expectProblem(await server.request("POST", path, { token, body: { ...body, title: "b" } }), 409, "id_reused")
    const [inBatch] = resultsOf(await batch(server, user, "partial", [{ op: "create", task: body }]))
    expect(inBatch!.status).toBe(same.status)
    expect(await stateOf()).toEqual(before)
    expectProblem(await ask(`${path}/${body.id}`), 404, "not_found")
    expect(having(200, await restore(body.id)).json).toMatchObject({ ...body, deleted_at: null })
  })

  it("is free when it was purged", async () => {
    const body = { id: newId(), title: "a" }
    await create(server, user, body)
    await remove(server, user, body.id)
    await age(body.id, "46 days")
    await server.purge()
    expect((await trashOf(user)).map(({ id }) => id)).not.toContain(body.id)
    expectProblem(await restore(body.id), 404, "not_found")
    expect((await create(server, user, { ...body, title: "b" })).title).toBe("b")
    await remove(server, user, body.id)
  })

  it("in one batch is deleted, created, updated and never restored by that", async () => {
    const { id } = await create(server, user, { title: "a" })
    const results = resultsOf(
      await batch(server, user, "partial", [
        { op: "delete", id },
        { op: "create", task: { id, title: "b" } },
        { op: "update", id, task: { title: "c" } },
        { op: "complete", id },
        { op: "delete", id }
      ])
    )
    expect(results.slice(1).map(({ status }) => status)).toEqual([409, 404, 404, 404])
    expect((await trashOf(user)).find((task) => task.id === id)?.title).toBe("a")
  })
})

it("a trash that is read by pages while it is emptied and filled gives each that stays once", async () => {
  const account = await server.register()
  const operations = Array.from({ length: 12 }, (_, index) => ({ op: "create", task: { title: `t${index}` } }))
  const ids = resultsOf(await batch(server, account, "atomic", operations)).map(({ task }) => task!.id)
  await bulk(server, account, "delete", { ids })
  const seen: Array<string> = []
  let path: string | undefined = "/api/v1/tasks?deleted=true&limit=2&sort=title"
  for (let page = 0; path !== undefined; page++) {
    const answer = having(200, await ask(path, account))
    seen.push(...answer.json.map(({ id }: TaskAnswer) => id))
    path = nextOf(server, answer)
    if (page < 3) having(200, await restore(ids[page * 4]!, account))
    if (page === 2) having(200, await bulk(server, account, "delete", { ids: [ids[0]] }))
  }
  const staying = ids.filter((_, index) => ![0, 4, 8].includes(index))
  expect(seen.filter((id) => staying.includes(id)).toSorted()).toEqual(staying.toSorted())
  expect(new Set(seen).size).toBe(seen.length)
})
