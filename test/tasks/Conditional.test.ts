import { beforeAll, describe, expect, it } from "vitest"
import { send } from "../http/exchange.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { create, families, having, newId, patch, read, type TaskAnswer, visible } from "./families.ts"

const server = useServer()
let user: Account
let other: Account
beforeAll(async () => {
  user = await server.register()
  other = await server.register()
})

const call = (method: string, path: string, headers: Record<string, string>, body?: unknown) =>
  server.request(method, path, { token: user.access_token, headers, ...(body === undefined ? {} : { body }) })

/** A task at its second version, so that an older tag exists. */
const changed = async (): Promise<TaskAnswer> => patch(server, user, (await create(server, user)).id, { title: "b" })

describe.each(families)("If-None-Match under $name", ({ tasks }) => {
  it("answers 304 with the ETag and no body when a tag matches, by weak comparison", async () => {
    const task = await changed()
    const tag = `"${task.version}"`
    for (const value of [tag, `W/${tag}`, `"x", ${tag}`, `"x" ,W/${tag},"y"`, "*"]) {
      for (const method of ["GET", "HEAD"]) {
        const answer = await send(server, method, `${tasks(user)}/${task.id}`, {
          headers: { authorization: `Bearer ${user.access_token}`, "if-none-match": value }
        })
        expect(answer.status).toBe(304)
        expect(answer.text).toBe("")
        expect(answer.headers.get("etag")).toBe(tag)
        expect(answer.headers.get("x-request-id")).toBeTruthy()
      }
    }
  })

  it("answers 200 when no tag matches", async () => {
    const task = await changed()
    for (const value of [`"${task.version - 1}"`, '"x"', `"${task.version}0"`, `"0${task.version}"`]) {
      const answer = having(200, await call("GET", `${tasks(user)}/${task.id}`, { "if-none-match": value }))
      expect(answer.json).toEqual(task)
    }
  })

  it("tells nothing about another user's task", async () => {
    const task = await changed()
    const headers = { "if-none-match": `"${task.version}"` }
    const as = (id: string) => server.request("GET", `${tasks(other)}/${id}`, { token: other.access_token, headers })
    expect(visible(await as(task.id))).toEqual(visible(await as(newId())))
  })
})

const writes = [
  { name: "PUT", method: "PUT", body: { title: "c" }, success: [200, 200] },
  { name: "PATCH", method: "PATCH", body: { title: "c" }, success: [200, 200] },
  { name: "DELETE", method: "DELETE", body: undefined, success: [200, 204] }
] as const
const matrix = families.flatMap(({ name, tasks }, index) =>
  writes.map((write) => ({ name, tasks, write, success: write.success[index] ?? 0 }))
)

describe.each(matrix)("If-Match of $write.name under $name", ({ tasks, write: { method, body }, success }) => {
  it("lets the current version through, alone, in a list, or as *", async () => {
    const forms: ReadonlyArray<(tag: string) => string> = [
      (tag) => tag,
      (tag) => `"x", ${tag}`,
      // a tag may hold a comma, and elements of a list may be empty (RFC 9110 8.8.3 and 5.6.1)
      (tag) => `"a,b", ,${tag},`,
      () => "*"
    ]
    for (const value of forms) {
      const task = await changed()
      const headers = { "if-match": value(`"${task.version}"`) }
      const answer = having(success, await call(method, `${tasks(user)}/${task.id}`, headers, body))
      if (method !== "DELETE") expect(answer.json.title).toBe("c")
    }
  })

  it("is 412 with the current task for any other version, and nothing changes", async () => {
    const task = await changed()
    const stale = [
      `"${task.version - 1}"`,
      `"${task.version + 1}"`,
      `W/"${task.version}"`,
      `"0${task.version}"`,
      `"${task.version}.0"`,
      `"${task.version}e0"`,
      '""',
      '"x"',
      '"-1"',
      '"99999999999999999999999999"',
      '"1e400"',
      `"${task.version - 1}", "x"`
    ]
    for (const value of stale) {
      const answer = await call(method, `${tasks(user)}/${task.id}`, { "if-match": value }, body)
      expectProblem(answer, 412, "stale_version")
      expect(answer.json.current).toEqual(task)
    }
    expect(await read(server, user, task.id)).toEqual(task)
  })

  it("is 400 when malformed, and nothing changes", async () => {
    const task = await changed()
    const { version } = task
    for (const value of [String(version), `"${version}`, `'${version}'`, `w/"${version}"`, "* , *"]) {
      const answer = await call(method, `${tasks(user)}/${task.id}`, { "if-match": value }, body)
      expectProblem(answer, 400, "malformed_header")
    }
    expect(await read(server, user, task.id)).toEqual(task)
  })

  it("is decided after 404 and after validation, but refused before them where it is malformed", async () => {
    const malformed = { "if-match": "0" }
    expectProblem(await call(method, `${tasks(user)}/${newId()}`, malformed, body), 400, "malformed_header")
    const headers = { "if-match": '"0"' }
    expectProblem(await call(method, `${tasks(user)}/${newId()}`, headers, body), 404, "not_found")
    expectProblem(await call(method, `${tasks(user)}/not-a-uuid`, headers, body), 422, "validation_failed")
    if (body === undefined) return
    const task = await changed()
    const answer = await call(method, `${tasks(user)}/${task.id}`, headers, { title: "" })
    expectProblem(answer, 422, "validation_failed")
  })

  it("is 404 for a deleted task, also as *", async () => {
    const task = await changed()
    await call("DELETE", `/api/v1/tasks/${task.id}`, {})
    expectProblem(await call(method, `${tasks(user)}/${task.id}`, { "if-match": "*" }, body), 404, "not_found")
  })
})

describe("If-Match of restore", () => {
  const restore = (id: string, headers: Record<string, string>) => call("POST", `/api/v1/tasks/${id}/restore`, headers)
  const deleted = async () => {
    const task = await changed()
    having(200, await call("DELETE", `/api/v1/tasks/${task.id}`, {}))
    return { ...task, version: task.version + 1 }
  }

  it("means the version of the deletion", async () => {
    const task = await deleted()
    const stale = await restore(task.id, { "if-match": `"${task.version - 1}"` })
    expectProblem(stale, 412, "stale_version")
    expect(stale.json.current).toMatchObject({ id: task.id, version: task.version })
    expect(stale.json.current.deleted_at).not.toBeNull()
    const restored = having(200, await restore(task.id, { "if-match": `"${task.version}"` })).json
    expect(restored).toMatchObject({ version: task.version + 1, deleted_at: null })
  })

  it("lets a live task stay as it is at its own version, and is 412 at another", async () => {
    const task = await changed()
    expect(having(200, await restore(task.id, { "if-match": `"${task.version}"` })).json).toEqual(task)
    expectProblem(await restore(task.id, { "if-match": '"0"' }), 412, "stale_version")
    expect(having(200, await restore(task.id, {})).json).toEqual(task)
  })

  it("is 404 when the time to restore is over", async () => {
    const task = await deleted()
    await server.sql("update tasks set deleted_at = now() - interval '31 days' where user_id = $1 and id = $2", [
      user.id,
      task.id
    ])
    for (const headers of [{}, { "if-match": `"${task.version}"` }, { "if-match": '"0"' }]) {
      expectProblem(await restore(task.id, headers), 404, "not_found")
    }
  })
})

describe("writers who saw the same version", () => {
  it("R68 one of thirty concurrent changes wins and the others are 412", async () => {
    const task = await changed()
    const headers = { "if-match": `"${task.version}"` }
    const answers = await Promise.all(
      Array.from(
        { length: 30 },
        (_, index) => call("PATCH", `/api/v1/tasks/${task.id}`, headers, { title: `writer ${index}` })
      )
    )
    expect(answers.map((answer) => answer.status).sort()).toEqual([200, ...Array<number>(29).fill(412)])
    const winner = answers.find((answer) => answer.status === 200)
    expect(await read(server, user, task.id)).toEqual(winner?.json)
    for (const answer of answers.filter((answer) => answer.status === 412)) {
      expectProblem(answer, 412, "stale_version")
      expect(answer.json.current).toEqual(winner?.json)
    }
  })

  it("R68 a refused change leaves no gap in the versions", async () => {
    const task = await changed()
    await call("PATCH", `/api/v1/tasks/${task.id}`, { "if-match": '"0"' }, { title: "c" })
    expect((await patch(server, user, task.id, { title: "d" })).version).toBe(task.version + 1)
  })
})
