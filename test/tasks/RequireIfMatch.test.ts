import { beforeAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { create, families, having, newId, read } from "./families.ts"

const server = useServer({ REQUIRE_IF_MATCH: "true" })
let user: Account
beforeAll(async () => {
  user = await server.register()
})

const call = (method: string, path: string, headers: Record<string, string>, body?: unknown) =>
  server.request(method, path, { token: user.access_token, headers, ...(body !== undefined && { body }) })

const writes = [
  { method: "PUT", suffix: "", body: { title: "b" } },
  { method: "PATCH", suffix: "", body: { title: "b" } },
  { method: "PATCH", suffix: "/complete", body: {} },
  { method: "POST", suffix: "/restore", body: undefined },
  { method: "DELETE", suffix: "", body: undefined }
]

describe.each(families)("REQUIRE_IF_MATCH under $name", ({ tasks }) => {
  it.each(writes)("R68 makes $method {id}$suffix name the version that it means", async ({ body, method, suffix }) => {
    const task = await create(server, user)
    const path = `${tasks(user)}/${task.id}${suffix}`
    expectProblem(await call(method, path, {}, body), 428, "if_match_required")
    expect(await read(server, user, task.id)).toEqual(task)
    expectProblem(await call(method, path, { "if-match": '"0"' }, body), 412, "stale_version")
    expect([200, 204]).toContain((await call(method, path, { "if-match": `"${task.version}"` }, body)).status)
  })

  it("takes * for any version", async () => {
    const task = await create(server, user)
    having(200, await call("PATCH", `${tasks(user)}/${task.id}`, { "if-match": "*" }, { title: "b" }))
  })

  it.each(writes)("is asked for after $method {id}$suffix has found the task", async ({ body, method, suffix }) => {
    expectProblem(await call(method, `${tasks(user)}/${newId()}${suffix}`, {}, body), 404, "not_found")
  })

  it("is asked of the restoration of a deleted task, too", async () => {
    const task = await create(server, user)
    having(200, await call("DELETE", `/api/v1/tasks/${task.id}`, { "if-match": `"${task.version}"` }))
    const path = `${tasks(user)}/${task.id}/restore`
    expectProblem(await call("POST", path, {}), 428, "if_match_required")
    having(200, await call("POST", path, { "if-match": `"${task.version + 1}"` }))
  })
})
