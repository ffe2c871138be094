import { beforeAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import {
  canonical,
  checksum,
  create,
  families,
  having,
  instant,
  listAll,
  newId,
  patch,
  pointersOf,
  read,
  remove,
  taskMembers
} from "./families.ts"

const server = useServer()
let user: Account
beforeAll(async () => {
  user = await server.register()
})

const call = (method: string, path: string, body?: unknown, headers?: Record<string, string>) =>
  server.request(method, path, {
    token: user.access_token,
    ...(body === undefined ? {} : { body }),
    ...(headers === undefined ? {} : { headers })
  })
const raw = (method: string, path: string, text: string) =>
  server.request(method, path, {
    token: user.access_token,
    raw: text,
    headers: { "content-type": "application/json" }
  })
const post = (body: unknown) => call("POST", "/api/v1/tasks", body)

describe.each(families)("a task under $name", ({ tasks }) => {
  it("is created with defaults, exactly the members of the contract, Location and ETag", async () => {
    const answer = having(201, await call("POST", tasks(user), { title: "Buy milk" }))
    expect(Object.keys(answer.json).sort()).toEqual(taskMembers)
    expect(answer.json).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
      user_id: user.id,
      title: "Buy milk",
      description: null,
      completed: false,
      completed_at: null,
      priority: "none",
      tags: [],
      due: null,
      due_at: null,
      overdue: false,
      recurrence: null,
      reminders: [],
      version: expect.any(Number),
      created_at: expect.stringMatching(instant),
      updated_at: expect.stringMatching(instant),
      deleted_at: null
    })
    expect(Number.isInteger(answer.json.version)).toBe(true)
    expect(answer.headers.get("etag")).toBe(`"${answer.json.version}"`)
    expect(answer.headers.get("content-type")).toMatch(/^application\/json(;|$)/)
    const location = new URL(answer.headers.get("location") ?? "", server.url)
    expect(location.pathname).toBe(`${tasks(user)}/${answer.json.id}`)
    expect(location.origin).toBe(new URL(server.url).origin)
  })

  it("is read back as it was created, with every member given", async () => {
    const given = { title: "Write", description: "A\nletter", priority: "urgent", tags: ["Home", "Ärger", "🎉"] }
    const made = having(201, await call("POST", tasks(user), given)).json
    expect(made).toMatchObject(given)
    const answer = having(200, await call("GET", `${tasks(user)}/${made.id}`))
    expect(answer.json).toEqual(made)
    expect(answer.headers.get("etag")).toBe(`"${made.version}"`)
  })

  it("accepts each priority and no other", async () => {
    for (const priority of ["none", "low", "medium", "high", "urgent"]) {
      expect(having(201, await call("POST", tasks(user), { title: "a", priority })).json.priority).toBe(priority)
    }
    for (const priority of ["", "HIGH", "highest", " low", 1, true, ["low"], {}]) {
      const answer = await call("POST", tasks(user), { title: "a", priority })
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer).every((pointer) => pointer.startsWith("/priority"))).toBe(true)
    }
  })

  it("is patched by a merge patch that leaves other members alone, in both media types", async () => {
    const given = { title: "a", description: "b", priority: "low", tags: ["x", "y"] }
    const made = having(201, await call("POST", tasks(user), given)).json
    const first = having(200, await call("PATCH", `${tasks(user)}/${made.id}`, { tags: ["z"] }))
    expect(first.json).toEqual({
      ...made,
      tags: ["z"],
      version: made.version + 1,
      updated_at: first.json.updated_at
    })
    expect(first.headers.get("etag")).toBe(`"${first.json.version}"`)
    const second = having(
      200,
      await server.request("PATCH", `${tasks(user)}/${made.id}`, {
        token: user.access_token,
        raw: JSON.stringify({ description: null }),
        headers: { "content-type": "application/merge-patch+json" }
      })
    )
    expect(second.json).toEqual({
      ...first.json,
      description: null,
      version: made.version + 2,
      updated_at: second.json.updated_at
    })
    expect(having(200, await call("GET", `${tasks(user)}/${made.id}`)).json).toEqual(second.json)
  })

  it("is completed, not toggled, and completed_at is set and cleared", async () => {
    const path = `${tasks(user)}/${(await create(server, user)).id}`
    const done = having(200, await call("PATCH", `${path}/complete`))
    expect(done.json.completed).toBe(true)
    expect(done.json.completed_at).toMatch(instant)
    expect(done.headers.get("etag")).toBe(`"${done.json.version}"`)
    const again = having(200, await call("PATCH", `${path}/complete`, {})).json
    expect(again).toMatchObject({ completed: true, completed_at: done.json.completed_at })
    const still = having(200, await call("PATCH", `${path}/complete`, { completed: true })).json
    expect(still).toMatchObject({ completed: true, completed_at: done.json.completed_at })
    const open = having(200, await call("PATCH", `${path}/complete`, { completed: false })).json
    expect(open).toMatchObject({ completed: false, completed_at: null })
    const stillOpen = having(200, await call("PATCH", `${path}/complete`, { completed: false })).json
    expect(stillOpen).toMatchObject({ completed: false, completed_at: null })
    expect((await call("GET", path)).json).toEqual(stillOpen)
  })

  it("sets and clears completed_at by PATCH too, and keeps it when another member changes", async () => {
    const path = `${tasks(user)}/${(await create(server, user)).id}`
    const done = having(200, await call("PATCH", path, { completed: true })).json
    expect(done.completed_at).toMatch(instant)
    const renamed = having(200, await call("PATCH", path, { title: "b" })).json
    expect(renamed).toMatchObject({ completed: true, completed_at: done.completed_at })
    const open = having(200, await call("PATCH", path, { completed: false })).json
    expect(open).toMatchObject({ completed: false, completed_at: null })
  })

  it("is 404 everywhere after deletion, and restore brings it back", async () => {
    const given = { title: "a", description: "b", priority: "high", tags: ["x"] }
    const made = having(201, await call("POST", tasks(user), given)).json
    const path = `${tasks(user)}/${made.id}`
    const done = having(200, await call("PATCH", `${path}/complete`)).json
    expect((await call("DELETE", path)).status).toBeLessThan(300)
    expectProblem(await call("GET", path), 404, "not_found")
    expectProblem(await call("PUT", path, { title: "b" }), 404, "not_found")
    expectProblem(await call("PATCH", path, { title: "b" }), 404, "not_found")
    expectProblem(await call("PATCH", `${path}/complete`), 404, "not_found")
    expectProblem(await call("DELETE", path), 404, "not_found")
    expect((await listAll(server, user)).map((task) => task.id)).not.toContain(made.id)
    const restored = having(200, await call("POST", `${path}/restore`))
    expect(restored.json).toEqual({
      ...done,
      version: done.version + 2,
      updated_at: restored.json.updated_at
    })
    expect(restored.headers.get("etag")).toBe(`"${restored.json.version}"`)
    expect(having(200, await call("GET", path)).json).toEqual(restored.json)
    expect((await listAll(server, user)).map((task) => task.id)).toContain(made.id)
  })

  it("is restored within 30 days of its deletion and not after", async () => {
    const { id } = await create(server, user)
    await remove(server, user, id)
    const deletedFor = (days: number) =>
      server.sql(
        "update tasks set deleted_at = now() - make_interval(days => $1::int) where user_id = $2 and id = $3",
        [days, user.id, id]
      )
    await deletedFor(31)
    expectProblem(await call("POST", `${tasks(user)}/${id}/restore`), 404, "not_found")
    await deletedFor(29)
    expect(having(200, await call("POST", `${tasks(user)}/${id}/restore`)).json).toMatchObject({ id, deleted_at: null })
  })

  it("is restored a second time without harm, as a retry is", async () => {
    const { id } = await create(server, user)
    await remove(server, user, id)
    having(200, await call("POST", `${tasks(user)}/${id}/restore`))
    const again = having(200, await call("POST", `${tasks(user)}/${id}/restore`))
    expect(again.json).toMatchObject({ id, deleted_at: null })
  })

  it("is not made by PUT, PATCH, complete or restore of an id that does not exist", async () => {
    const path = `${tasks(user)}/${newId()}`
    expectProblem(await call("PUT", path, { title: "a" }), 404, "not_found")
    expectProblem(await call("PATCH", path, { title: "a" }), 404, "not_found")
    expectProblem(await call("PATCH", `${path}/complete`), 404, "not_found")
    expectProblem(await call("POST", `${path}/restore`), 404, "not_found")
    expectProblem(await call("GET", path), 404, "not_found")
  })
})

describe("creating with an id", () => {
  it("uses the id; the same body again is 200 with the stored task, whatever the order of its members", async () => {
    const id = newId()
    const first = having(201, await post({ id, title: "a", description: "b", tags: ["x"], priority: "low" }))
    expect(first.json.id).toBe(id)
    const again = having(200, await post({ priority: "low", tags: ["x"], description: "b", title: "a", id }))
    expect(again.json).toEqual(first.json)
    expect(again.headers.get("etag")).toBe(first.headers.get("etag"))
    expect((await listAll(server, user)).filter((task) => task.id === id)).toHaveLength(1)
  })

  it("refuses another body under the same id and changes nothing", async () => {
    const id = newId()
    const made = await create(server, user, { id, title: "a", tags: ["x"] })
    const others = [
      { id, title: "b", tags: ["x"] },
      { id, title: "a" },
      { id, title: "a", tags: ["x", "y"] },
      { id, title: "a", tags: ["x"], description: "d" },
      { id, title: "a", tags: ["x"], priority: "high" }
    ]
    for (const other of others) expectProblem(await post(other), 409, "id_reused")
    expect(await read(server, user, id)).toEqual(made)
  })

  it("recognises the retry of a create after the task was changed, and answers with the task as stored", async () => {
    const id = newId()
    await create(server, user, { id, title: "a" })
    const changed = await patch(server, user, id, { title: "b" })
    expect(having(200, await post({ id, title: "a" })).json).toEqual(changed)
    expectProblem(await post({ id, title: "b" }), 409, "id_reused")
    expect(await read(server, user, id)).toEqual(changed)
  })

  it("does not bring a deleted task back to life", async () => {
    const id = newId()
    await create(server, user, { id, title: "a" })
    await remove(server, user, id)
    expect([200, 409]).toContain((await post({ id, title: "a" })).status)
    expectProblem(await post({ id, title: "b" }), 409, "id_reused")
    expectProblem(await call("GET", `/api/v1/tasks/${id}`), 404, "not_found")
  })

  it("makes one task when ten requests with one id and body race", async () => {
    const id = newId()
    const answers = await Promise.all(Array.from({ length: 10 }, () => post({ id, title: "race" })))
    expect(answers.map((answer) => answer.status).sort()).toEqual([...Array<number>(9).fill(200), 201])
    const stored = await read(server, user, id)
    for (const answer of answers) expect(answer.json).toEqual(stored)
  })

  it("lets one of two different bodies win when they race for an id", async () => {
    const id = newId()
    const titles = ["left", "right"]
    const answers = await Promise.all(titles.map((title) => post({ id, title })))
    expect(answers.map((answer) => answer.status).sort()).toEqual([201, 409])
    const winner = titles[answers.findIndex((answer) => answer.status === 201)]
    expect((await read(server, user, id)).title).toBe(winner)
  })

  it("gives another user's id no meaning", async () => {
    const other = await server.register()
    const id = newId()
    const mine = await create(server, user, { id, title: "mine" })
    const theirs = await create(server, other, { id, title: "theirs" })
    expect(theirs).toMatchObject({ id, user_id: other.id, title: "theirs" })
    await patch(server, other, id, { title: "changed" })
    await remove(server, other, id)
    expect(await read(server, user, id)).toEqual(mine)
  })

  it("refuses an id that is not a UUIDv7", async () => {
    const bad = [
      "",
      "1",
      1,
      null,
      true,
      "not-a-uuid",
      "9f1c1a4e-6b1f-4e6a-9d0e-2f6b3c1d4e5f",
      "00000000-0000-0000-0000-000000000000",
      "ffffffff-ffff-ffff-ffff-ffffffffffff",
      newId().slice(0, -1),
      `${newId()}0`,
      ` ${newId()}`,
      `{${newId()}}`,
      `${newId()}' or '1'='1`
    ]
    for (const id of bad) {
      const answer = await post({ id, title: "a" })
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer)).toContain("/id")
    }
  })

  it("never keeps two tasks whose ids differ only in case", async () => {
    const id = newId()
    await create(server, user, { id, title: "a" })
    await post({ id: id.toUpperCase(), title: "a" })
    expect((await listAll(server, user)).filter((task) => task.id.toLowerCase() === id)).toHaveLength(1)
  })
})

describe("the text of a task", () => {
  it("trims the title and nothing else", async () => {
    const made = await create(server, user, { title: " \t\n a  b \r\n", description: "  indented\n" })
    expect(made.title).toBe("a  b")
    expect(made.description).toBe("  indented\n")
    expect((await patch(server, user, made.id, { title: "  c  " })).title).toBe("c")
  })

  it("counts the title in code points, after trimming", async () => {
    const longest = "🎉".repeat(200)
    expect((await create(server, user, { title: longest })).title).toBe(longest)
    expect((await create(server, user, { title: `${" ".repeat(300)}${longest}\n` })).title).toBe(longest)
    expect((await create(server, user, { title: "🎉" })).title).toBe("🎉")
    for (const title of ["", " ", "\t\n", `${longest}a`, "a".repeat(201), "é".repeat(100_00)]) {
      const answer = await post({ title })
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer)).toEqual(["/title"])
    }
  })

  it("counts the description in code points and keeps an empty one", async () => {
    const longest = "😀".repeat(1000)
    expect((await create(server, user, { title: "a", description: longest })).description).toBe(longest)
    expect((await create(server, user, { title: "a", description: "" })).description).toBe("")
    expect((await create(server, user, { title: "a", description: null })).description).toBeNull()
    const answer = await post({ title: "a", description: `${longest}a` })
    expectProblem(answer, 422, "validation_failed")
    expect(pointersOf(answer)).toEqual(["/description"])
  })

  it("takes 20 tags of 50 code points in their order, and no more", async () => {
    const tags = Array.from({ length: 20 }, (_, index) => "🎉".repeat(48) + String(index).padStart(2, "0")).reverse()
    expect((await create(server, user, { title: "a", tags })).tags).toEqual(tags)
    for (const bad of [[...tags, "x"], ["🎉".repeat(51)], [""], [1], [null], [["a"]], "a", { 0: "a" }]) {
      const answer = await post({ title: "a", tags: bad })
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer).every((pointer) => /^\/tags(\/\d+)?$/.test(pointer))).toBe(true)
    }
  })

  it("refuses tags that are the same whatever the case", async () => {
    for (const tags of [["a", "a"], ["Home", "home"], ["x", "ÄRGER", "y", "ärger"]]) {
      const answer = await post({ title: "a", tags })
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer)[0]).toMatch(/^\/tags/)
      const { id } = await create(server, user)
      expectProblem(await call("PATCH", `/api/v1/tasks/${id}`, { tags }), 422, "validation_failed")
      expect((await read(server, user, id)).tags).toEqual([])
    }
  })

  it("stores text that looks like SQL, HTML, paths or formats as it is", async () => {
    const texts = [
      "'; drop table tasks; --",
      '" or 1=1 --',
      "<script>alert(1)</script>",
      "../../etc/passwd",
      "%s %n ${x} {{x}} $1 \\ \\u0000",
      "\u202eright to left\u202c \u200b",
      "👩‍👩‍👧‍👦 e\u0301"
    ]
    for (const text of texts) {
      const { id } = await create(server, user, { title: `x${text}x`, description: text, tags: [text.slice(0, 50)] })
      const stored = await read(server, user, id)
      expect(stored.title.normalize("NFC")).toBe(`x${text}x`.normalize("NFC"))
      expect(stored.description?.normalize("NFC")).toBe(text.normalize("NFC"))
    }
  })

  it("answers one entry in errors for each fault", async () => {
    const answer = await post({ title: " ", priority: "x", description: 1, tags: ["ok", ""], bogus: true })
    expectProblem(answer, 422, "validation_failed")
    expect(pointersOf(answer)).toEqual(["/bogus", "/description", "/priority", "/tags/1", "/title"])
    for (const fault of answer.json.errors) {
      expect(fault.code).toMatch(/^[a-z][a-z0-9_]*$/)
      expect(fault.detail).toMatch(/\S/)
    }
  })

  it("points at a member that is missing", async () => {
    const answer = await post({})
    expectProblem(answer, 422, "validation_failed")
    expect(pointersOf(answer)).toEqual(["/title"])
  })

  it("escapes a member's name in a pointer as RFC 6901 says", async () => {
    const answer = await post({ title: "a", "a/b~c": 1 })
    expectProblem(answer, 422, "validation_failed")
    expect(pointersOf(answer)).toEqual(["/a~1b~0c"])
  })
})

describe("a body of the wrong type", () => {
  it("is refused for each member of PUT, PATCH and complete, and changes nothing", async () => {
    const made = await create(server, user)
    const path = `/api/v1/tasks/${made.id}`
    const bad: ReadonlyArray<readonly [string, string, unknown, string]> = [
      ["PATCH", path, { title: null }, "/title"],
      ["PATCH", path, { title: 1 }, "/title"],
      ["PATCH", path, { title: ["a"] }, "/title"],
      ["PATCH", path, { description: {} }, "/description"],
      ["PATCH", path, { completed: "true" }, "/completed"],
      ["PATCH", path, { completed: 1 }, "/completed"],
      ["PUT", path, { title: null }, "/title"],
      ["PUT", path, { title: "a", completed: "false" }, "/completed"],
      ["PATCH", `${path}/complete`, { completed: "true" }, "/completed"],
      ["PATCH", `${path}/complete`, { completed: 0 }, "/completed"],
      ["PATCH", `${path}/complete`, { complete: true }, "/complete"]
    ]
    for (const [method, target, body, pointer] of bad) {
      const answer = await call(method, target, body)
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer)).toEqual([pointer])
    }
    expect(await read(server, user, made.id)).toEqual(made)
  })

  it("is refused when a create sets completed, which only PUT, PATCH and complete do", async () => {
    const answer = await post({ title: "a", completed: true })
    expectProblem(answer, 422, "validation_failed")
    expect(pointersOf(answer)).toEqual(["/completed"])
  })

  it("treats null in a merge patch as removal, so that the default returns", async () => {
    const { id } = await create(server, user, { title: "a", description: "b", priority: "high", tags: ["x"] })
    await patch(server, user, id, { completed: true })
    const cleared = await patch(server, user, id, { description: null, priority: null, tags: null, completed: null })
    expect(cleared).toMatchObject({
      title: "a",
      description: null,
      priority: "none",
      tags: [],
      completed: false,
      completed_at: null
    })
  })

  it("changes nothing at all when one of several members is wrong", async () => {
    const made = await create(server, user)
    const answer = await call("PATCH", `/api/v1/tasks/${made.id}`, { title: "new", completed: true, priority: "x" })
    expectProblem(answer, 422, "validation_failed")
    expect(await read(server, user, made.id)).toEqual(made)
  })
})

describe("text that a database can't hold", () => {
  const texts = [
    ["NUL", "a\u0000b"],
    ["a lone high surrogate", "a\ud800b"],
    ["a lone low surrogate", "\udc00"]
  ] as const

  it.each(texts)("R7 %s in any string of a task is 422 and stores nothing", async (_, text) => {
    const { id } = await create(server, user)
    const before = await checksum(server, user)
    const members: ReadonlyArray<readonly [string, Record<string, unknown>]> = [
      ["/title", { title: text }],
      ["/description", { title: "a", description: text }],
      ["/tags/0", { title: "a", tags: [text] }],
      ["/tags/1", { title: "a", tags: ["ok", text] }],
      ["/priority", { title: "a", priority: text }]
    ]
    for (const [pointer, body] of members) {
      for (const [method, path] of [["POST", ""], ["PUT", `/${id}`], ["PATCH", `/${id}`]] as const) {
        const answer = await call(method, `/api/v1/tasks${path}`, body)
        expectProblem(answer, 422, "validation_failed")
        expect(pointersOf(answer)).toEqual([pointer])
      }
    }
    expectProblem(await post({ id: text, title: "a" }), 422, "validation_failed")
    expectProblem(await post({ title: "a", [text]: 1 }), 422, "validation_failed")
    expect(await checksum(server, user)).toEqual(before)
  })

  it("R7 a NUL in the query or the path is 422, and undecodable bytes are never the server's error", async () => {
    for (const query of ["completed=%00", "completed=true%00", "limit=1%00", "sort=created_at%00", "%00=1"]) {
      expectProblem(await call("GET", `/api/v1/tasks?${query}`), 422, "validation_failed")
    }
    expectProblem(await call("GET", "/api/v1/tasks/%00"), 422, "validation_failed")
    for (const query of ["completed=%ED%A0%80", "limit=%ff", "sort=%C0%80", "%ED%A0%80=1"]) {
      expectProblem(await call("GET", `/api/v1/tasks?${query}`), 422, "validation_failed")
    }
    for (const path of ["/api/v1/tasks/%ED%A0%80", "/api/v1/tasks/%ff", "/api/v1/tasks/%zz", "/api/v1/tasks/%"]) {
      const answer = await call("GET", path)
      expect([400, 404, 422]).toContain(answer.status)
      expect(answer.json.request_id).toBe(answer.headers.get("x-request-id"))
    }
  })
})

describe("members that a client may not set", () => {
  const foreign: ReadonlyArray<readonly [string, unknown]> = [
    ["user_id", "01890000-0000-7000-8000-000000000000"],
    ["version", 1],
    ["created_at", "2020-01-01T00:00:00Z"],
    ["updated_at", "2020-01-01T00:00:00Z"],
    ["completed_at", "2020-01-01T00:00:00Z"],
    ["deleted_at", "2020-01-01T00:00:00Z"],
    ["deleted_at", null],
    ["is_admin", true],
    ["owner", null],
    ["Title", "b"],
    ["title ", "b"],
    ["", 1],
    ["toString", "x"],
    ["hasOwnProperty", 1]
  ]

  it.each(foreign)("R53 %s in a body is an unknown member and nothing changes", async (name, value) => {
    const { id } = await create(server, user)
    const before = await checksum(server, user)
    const pointer = `/${name}`
    for (const [method, path] of [["POST", ""], ["PUT", `/${id}`], ["PATCH", `/${id}`]] as const) {
      const answer = await call(method, `/api/v1/tasks${path}`, { title: "b", [name]: value })
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer)).toEqual([pointer])
    }
    expectProblem(await call("PATCH", `/api/v1/tasks/${id}/complete`, { [name]: value }), 422, "validation_failed")
    expect(await checksum(server, user)).toEqual(before)
  })

  it("R53 user_id, id and version are refused even with the values that the task has", async () => {
    const made = await create(server, user)
    const path = `/api/v1/tasks/${made.id}`
    for (const own of [{ id: made.id }, { user_id: user.id }, { version: made.version }]) {
      for (const method of ["PUT", "PATCH"]) {
        const answer = await call(method, path, { title: "b", ...own })
        expectProblem(answer, 422, "validation_failed")
        expect(pointersOf(answer)).toEqual([`/${Object.keys(own)[0]}`])
      }
    }
    expectProblem(await post({ title: "b", user_id: user.id }), 422, "validation_failed")
    expect(await read(server, user, made.id)).toEqual(made)
  })

  it.each([
    ["__proto__", `{"title":"b","__proto__":{"polluted":true}}`],
    ["constructor", `{"title":"b","constructor":{"prototype":{"polluted":true}}}`],
    ["prototype", `{"title":"b","prototype":{"polluted":true}}`],
    ["__proto__ with a title inside", `{"__proto__":{"title":"b","completed":true,"polluted":true}}`],
    ["__proto__ that is null", `{"title":"b","__proto__":null}`]
  ])("R53 %s in a body is refused and pollutes no prototype", async (_, text) => {
    const { id } = await create(server, user)
    const before = await checksum(server, user)
    expectProblem(await raw("POST", "/api/v1/tasks", text), 422, "validation_failed")
    expectProblem(await raw("PUT", `/api/v1/tasks/${id}`, text), 422, "validation_failed")
    expectProblem(await raw("PATCH", `/api/v1/tasks/${id}`, text), 422, "validation_failed")
    expectProblem(await raw("PATCH", `/api/v1/tasks/${id}/complete`, text), 422, "validation_failed")
    expect(await checksum(server, user)).toEqual(before)
    expect(Reflect.get({}, "polluted")).toBeUndefined()
    expect(Reflect.get(Object, "polluted")).toBeUndefined()
  })

  it("R53 members that are computed are refused, never dropped", async () => {
    const computed: ReadonlyArray<readonly [string, unknown]> = [["due_at", "2030-01-01T00:00:00Z"], ["overdue", true]]
    for (const [name, value] of computed) {
      const answer = await post({ title: "a", [name]: value })
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer)).toEqual([`/${name}`])
    }
  })
})

describe("versions", () => {
  it("strictly increase: each write of a user takes the next value", async () => {
    const owner = await server.register()
    const first = await create(server, owner)
    const second = await create(server, owner)
    expect(second.version).toBe(first.version + 1)
    expect((await patch(server, owner, first.id, { title: "b" })).version).toBe(first.version + 2)
    const own = { token: owner.access_token }
    const put = await server.request("PUT", `/api/v1/tasks/${second.id}`, { ...own, body: { title: "c" } })
    expect(put.json.version).toBe(first.version + 3)
    const done = await server.request("PATCH", `/api/v1/tasks/${first.id}/complete`, own)
    expect(done.json.version).toBe(first.version + 4)
    await remove(server, owner, first.id)
    const rows = await server.sql<{ version: number }>(
      "select version::int as version from tasks where user_id = $1 and id = $2",
      [owner.id, first.id]
    )
    expect(rows).toEqual([{ version: first.version + 5 }])
    const restored = await server.request("POST", `/api/v1/tasks/${first.id}/restore`, own)
    expect(restored.json.version).toBe(first.version + 6)
    expect((await read(server, owner, second.id)).version).toBe(first.version + 3)
  })

  it("leave no gap after a write that failed", async () => {
    const owner = await server.register()
    const own = { token: owner.access_token }
    const { id, version } = await create(server, owner)
    having(422, await server.request("POST", "/api/v1/tasks", { ...own, body: { title: "" } }))
    having(422, await server.request("PATCH", `/api/v1/tasks/${id}`, { ...own, body: { title: "" } }))
    having(404, await server.request("PATCH", `/api/v1/tasks/${newId()}`, { ...own, body: { title: "b" } }))
    having(404, await server.request("DELETE", `/api/v1/tasks/${newId()}`, own))
    expect((await create(server, owner)).version).toBe(version + 1)
  })

  it("are a sequence of each user's own", async () => {
    const [one, other] = await Promise.all([server.register(), server.register()])
    const mine = await create(server, one)
    for (let count = 0; count < 5; count++) await create(server, other)
    expect((await create(server, one)).version).toBe(mine.version + 1)
  })

  it("are all different and without a gap when twenty writes race", async () => {
    const owner = await server.register()
    const start = await create(server, owner)
    const made = await Promise.all(
      Array.from({ length: 10 }, () => create(server, owner)).concat(
        Array.from({ length: 10 }, (_, index) => patch(server, owner, start.id, { title: String(index) }))
      )
    )
    expect(made.map((task) => task.version).sort((a, b) => a - b))
      .toEqual(Array.from({ length: 20 }, (_, index) => start.version + 1 + index))
    const last = Math.max(...made.filter((task) => task.id === start.id).map((task) => task.version))
    expect((await read(server, owner, start.id)).version).toBe(last)
  })

  it("keep created_at and move updated_at on", async () => {
    const made = await create(server, user)
    const changed = await patch(server, user, made.id, { title: "b" })
    expect(changed.created_at).toBe(made.created_at)
    expect(Date.parse(changed.updated_at)).toBeGreaterThanOrEqual(Date.parse(made.updated_at))
    expect(Math.abs(Date.parse(made.created_at) - Date.now())).toBeLessThan(60_000)
  })
})

describe("a query that an endpoint does not have", () => {
  it("is refused on each endpoint of a single task", async () => {
    const made = await create(server, user)
    const path = `/api/v1/tasks/${made.id}`
    const requests: ReadonlyArray<readonly [string, string, unknown]> = [
      ["GET", `${path}?foo=1`, undefined],
      ["PUT", `${path}?foo=1`, { title: "b" }],
      ["PATCH", `${path}?foo=1`, { title: "b" }],
      ["DELETE", `${path}?foo=1`, undefined],
      ["PATCH", `${path}/complete?foo=1`, undefined],
      ["POST", `${path}/restore?foo=1`, undefined],
      ["POST", "/api/v1/tasks?foo=1", { title: "b" }]
    ]
    for (const [method, target, body] of requests) {
      const answer = await call(method, target, body)
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer)).toEqual(["?foo"])
    }
    expect(await read(server, user, made.id)).toEqual(made)
  })
})

describe("static segments", () => {
  it("win: v1 and auth are never a user_id", async () => {
    having(200, await call("GET", canonical.tasks(user)))
    expectProblem(await call("GET", "/api/auth/tasks"), 404, "not_found")
    expectProblem(await call("POST", "/api/auth/tasks", { title: "a" }), 404, "not_found")
  })
})
