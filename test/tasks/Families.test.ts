import { beforeAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { canonical, create, families, having, instant, newId, pointersOf, read, userScoped } from "./families.ts"

const server = useServer()
let user: Account
let other: Account
beforeAll(async () => {
  user = await server.register()
  other = await server.register()
})

const call = (method: string, path: string, body?: unknown) =>
  server.request(method, path, { token: user.access_token, ...(body === undefined ? {} : { body }) })
const full = { title: "a", description: "b", priority: "high", tags: ["x"] }

describe("the two path families", () => {
  it("show the same tasks", async () => {
    const mine = await server.register()
    const own = { token: mine.access_token }
    const one = having(201, await server.request("POST", canonical.tasks(mine), { ...own, body: full })).json
    const two = having(201, await server.request("POST", userScoped.tasks(mine), { ...own, body: full })).json
    const lists = []
    for (const { tasks } of families) {
      lists.push(having(200, await server.request("GET", tasks(mine), own)).json)
      for (const task of [one, two]) {
        expect(having(200, await server.request("GET", `${tasks(mine)}/${task.id}`, own)).json).toEqual(task)
      }
    }
    expect(lists[0]).toEqual(lists[1])
    expect(lists[0].map((task: { id: string }) => task.id).sort()).toEqual([one.id, two.id].sort())
  })

  it("share ids: a create retried in the other family finds the stored task", async () => {
    const id = newId()
    const made = having(201, await call("POST", canonical.tasks(user), { id, title: "a" })).json
    expect(having(200, await call("POST", userScoped.tasks(user), { id, title: "a" })).json).toEqual(made)
    expectProblem(await call("POST", userScoped.tasks(user), { id, title: "b" }), 409, "id_reused")
  })
})

describe("DELETE", () => {
  it("answers 200 with a message in the canonical family", async () => {
    const { id } = await create(server, user)
    const answer = having(200, await call("DELETE", `${canonical.tasks(user)}/${id}`))
    expect(answer.json).toEqual({ message: "Task deleted successfully" })
    expect(answer.headers.get("content-type")).toMatch(/^application\/json(;|$)/)
    expectProblem(await call("DELETE", `${canonical.tasks(user)}/${id}`), 404, "not_found")
  })

  it("answers 204 without a body in the user-scoped family", async () => {
    const { id } = await create(server, user)
    const answer = having(204, await call("DELETE", `${userScoped.tasks(user)}/${id}`))
    expect(answer.text).toBe("")
    expectProblem(await call("DELETE", `${userScoped.tasks(user)}/${id}`), 404, "not_found")
  })

  it("is one deletion, whichever family it came through", async () => {
    const { id } = await create(server, user)
    having(204, await call("DELETE", `${userScoped.tasks(user)}/${id}`))
    expectProblem(await call("DELETE", `${canonical.tasks(user)}/${id}`), 404, "not_found")
    expectProblem(await call("GET", `${canonical.tasks(user)}/${id}`), 404, "not_found")
  })
})

describe("PUT", () => {
  it("updates only the given members in the canonical family", async () => {
    const made = await create(server, user, full)
    const path = `${canonical.tasks(user)}/${made.id}`
    const done = having(200, await call("PUT", path, { completed: true })).json
    expect(done).toMatchObject({ ...full, completed: true })
    expect(done.completed_at).toMatch(instant)
    const renamed = having(200, await call("PUT", path, { title: " b " }))
    expect(renamed.json).toMatchObject({ ...full, title: "b", completed: true, completed_at: done.completed_at })
    expect(renamed.headers.get("etag")).toBe(`"${renamed.json.version}"`)
    const undescribed = having(200, await call("PUT", path, { description: null })).json
    expect(undescribed).toMatchObject({ ...full, title: "b", description: null, completed: true })
    const same = having(200, await call("PUT", path, {})).json
    expect(same).toMatchObject({ ...full, title: "b", description: null, completed: true })
  })

  it("replaces the whole task in the user-scoped family: absent members return to their defaults", async () => {
    const made = await create(server, user, full)
    const path = `${userScoped.tasks(user)}/${made.id}`
    having(200, await call("PATCH", path, { completed: true }))
    const replaced = having(200, await call("PUT", path, { title: "b" }))
    expect(replaced.json).toEqual({
      ...made,
      title: "b",
      description: null,
      completed: false,
      completed_at: null,
      priority: "none",
      tags: [],
      version: made.version + 2,
      updated_at: replaced.json.updated_at
    })
    expect(replaced.headers.get("etag")).toBe(`"${replaced.json.version}"`)
    expect(await read(server, user, made.id)).toEqual(replaced.json)
  })

  it("keeps completed_at in a full replacement that says completed again", async () => {
    const made = await create(server, user, full)
    const path = `${userScoped.tasks(user)}/${made.id}`
    const done = having(200, await call("PUT", path, { ...full, completed: true })).json
    expect(done.completed_at).toMatch(instant)
    const again = having(200, await call("PUT", path, { ...full, completed: true })).json
    expect(again).toMatchObject({ ...full, completed: true, completed_at: done.completed_at })
  })

  it("requires the title in the user-scoped family and not in the canonical one", async () => {
    const made = await create(server, user, full)
    for (const body of [{}, { description: "c" }, { completed: true }]) {
      const answer = await call("PUT", `${userScoped.tasks(user)}/${made.id}`, body)
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer)).toEqual(["/title"])
    }
    expect(await read(server, user, made.id)).toEqual(made)
    having(200, await call("PUT", `${canonical.tasks(user)}/${made.id}`, { description: "c" }))
  })
})

describe("PATCH", () => {
  it("is partial in both families", async () => {
    for (const { tasks } of families) {
      const made = await create(server, user, full)
      const answer = having(200, await call("PATCH", `${tasks(user)}/${made.id}`, { priority: "low" }))
      expect(answer.json).toMatchObject({ ...full, priority: "low" })
    }
  })
})

describe("the user of the path", () => {
  it("must be the caller: 403 for anyone else, whether that user exists or not", async () => {
    for (const stranger of [other.id, newId(), "me", "0", "null", "%00", "%20", `${user.id}%20`, `${user.id}x`]) {
      expectProblem(await call("GET", `/api/${stranger}/tasks`), 403, "forbidden")
      expectProblem(await call("POST", `/api/${stranger}/tasks`, { title: "a" }), 403, "forbidden")
    }
    const theirs = await server.request("GET", "/api/v1/tasks", { token: other.access_token })
    expect(theirs.json).toEqual([])
  })

  it("is compared exactly: another case of the same id is someone else", async () => {
    expect(user.id).not.toBe(user.id.toUpperCase())
    expectProblem(await call("GET", `/api/${user.id.toUpperCase()}/tasks`), 403, "forbidden")
  })

  it("is percent-decoded before it is compared", async () => {
    const encoded = `%${user.id.charCodeAt(0).toString(16)}${user.id.slice(1)}`
    expect(having(200, await call("GET", `/api/${encoded}/tasks`)).json)
      .toEqual(having(200, await call("GET", userScoped.tasks(user))).json)
  })

  it("is checked before anything of the request is: a wrong query, id or body is still 403", async () => {
    const mine = await create(server, user)
    const theirs = await create(server, other)
    for (const id of [mine.id, theirs.id, newId(), "not-a-uuid"]) {
      const base = `/api/${other.id}/tasks`
      expectProblem(await call("GET", `${base}/${id}`), 403, "forbidden")
      expectProblem(await call("PUT", `${base}/${id}`, { title: "" }), 403, "forbidden")
      expectProblem(await call("PATCH", `${base}/${id}`, { bogus: 1 }), 403, "forbidden")
      expectProblem(await call("PATCH", `${base}/${id}/complete`, { bogus: 1 }), 403, "forbidden")
      expectProblem(await call("POST", `${base}/${id}/restore`), 403, "forbidden")
      expectProblem(await call("DELETE", `${base}/${id}`), 403, "forbidden")
    }
    expectProblem(await call("GET", `/api/${other.id}/tasks?limit=-1`), 403, "forbidden")
    expect(await read(server, user, mine.id)).toEqual(mine)
    expect(await read(server, other, theirs.id)).toEqual(theirs)
  })
})
