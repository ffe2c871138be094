import { beforeAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { checksum, create, families, newId, remove } from "../tasks/families.ts"
import { head, send, sendBytes } from "./exchange.ts"

const server = useServer()
let user: Account
let other: Account
let taskId = ""
beforeAll(async () => {
  user = await server.register()
  other = await server.register()
  taskId = (await create(server, user)).id
})

const json = { "content-type": "application/json" }
const text = { "content-type": "text/plain" }
const large = " ".repeat(128 * 1024 + 1)
const bearer = () => ({ authorization: `Bearer ${user.access_token}` })
const rubbish = { authorization: "Bearer rubbish" }

/** What a request can have wrong in its body, from the check that comes first to the last. */
const bodies = [
  { name: "a large body", headers: json, body: large, status: 413, code: "too_large" },
  { name: "another media type", headers: text, body: "{", status: 415, code: "unsupported_media_type" },
  { name: "a malformed body", headers: json, body: "{", status: 400, code: "malformed_body" },
  { name: "a wrong body", headers: json, body: '{"bogus":1}', status: 422, code: "validation_failed" }
] as const

const withBody = [
  ["POST", ""],
  ["PUT", "/{id}"],
  ["PATCH", "/{id}"],
  ["PATCH", "/{id}/complete"]
] as const

describe("431", () => {
  it("comes before an unknown path, a wrong method and a missing token", async () => {
    const wide = `X-A: ${"a".repeat(20_480)}`
    for (const line of ["GET /nothing", "TRACE /api/v1/tasks", "GET /api/v1/tasks", "POST /api/v1/tasks"]) {
      const answer = await sendBytes(server, head(line, "Host: localhost", wide, "Content-Type: text/plain"))
      expect(answer.statuses).toEqual([431])
    }
  })
})

describe("the route", () => {
  it("is decided before the token, the body and the query", async () => {
    for (const { headers, body } of bodies) {
      for (const token of [{}, rubbish, bearer()]) {
        const options = { headers: { ...headers, ...token }, body }
        expectProblem(await send(server, "POST", "/api/v1/nothing?limit=0", options), 404, "not_found")
        expectProblem(await send(server, "PUT", "/api/v1/tasks?limit=0", options), 405, "method_not_allowed")
        expectProblem(await send(server, "POST", "/api/v1/tasks/not-a-uuid", options), 405, "method_not_allowed")
        expectProblem(await send(server, "POST", `/api/${other.id}/tasks/1`, options), 405, "method_not_allowed")
      }
    }
  })
})

describe("the token", () => {
  it.each(bodies)("is checked before $name, a foreign path, the id and the query", async ({ headers, body }) => {
    for (const [method, suffix] of withBody) {
      for (const base of ["/api/v1/tasks", `/api/${user.id}/tasks`, `/api/${other.id}/tasks`]) {
        const path = `${base}${suffix.replace("{id}", "not-a-uuid")}?bogus=1`
        expectProblem(await send(server, method, path, { headers: { ...headers }, body }), 401, "token_missing")
        const wrong = await send(server, method, path, { headers: { ...headers, ...rubbish }, body })
        expectProblem(wrong, 401, "token_invalid")
      }
    }
  })
})

describe("the user of the path", () => {
  it.each(bodies)("is checked before $name, the id, the query and If-Match", async ({ headers, body }) => {
    for (const [method, suffix] of withBody) {
      for (const id of [taskId, newId(), "not-a-uuid"]) {
        const path = `/api/${other.id}/tasks${suffix.replace("{id}", id)}?bogus=1`
        const answer = await send(server, method, path, {
          headers: { ...headers, ...bearer(), "if-match": "malformed" },
          body
        })
        expectProblem(answer, 403, "forbidden")
      }
    }
    expectProblem(
      await send(server, "GET", `/api/${other.id}/tasks?cursor=x&limit=0`, { headers: bearer() }),
      403,
      "forbidden"
    )
  })
})

describe("the body", () => {
  it.each(bodies.slice(0, 3))("$name comes before a wrong query and a malformed id", async (wrong) => {
    const before = await checksum(server, user)
    for (const { tasks } of families) {
      for (const [method, suffix] of withBody) {
        for (const id of [taskId, newId(), "not-a-uuid"]) {
          for (const query of ["", "?bogus=1"]) {
            const path = `${tasks(user)}${suffix.replace("{id}", id)}${query}`
            const headers = { ...wrong.headers, ...bearer() }
            const answer = await send(server, method, path, { headers, body: wrong.body })
            expectProblem(answer, wrong.status, wrong.code)
          }
        }
      }
    }
    expect(await checksum(server, user)).toEqual(before)
  })
})

describe("validation", () => {
  it("comes before 404, for the body, the query and the id", async () => {
    const deleted = (await create(server, user)).id
    await remove(server, user, deleted)
    const theirs = (await create(server, other)).id
    for (const { tasks } of families) {
      for (const id of [newId(), deleted, theirs]) {
        for (const [method, suffix] of withBody.slice(1)) {
          const path = `${tasks(user)}${suffix.replace("{id}", id)}`
          const options = { headers: { ...json, ...bearer() }, body: '{"bogus":1}' }
          expectProblem(await send(server, method, path, options), 422, "validation_failed")
          const good = { headers: { ...json, ...bearer() }, body: '{"completed":true}' }
          expectProblem(await send(server, method, `${path}?bogus=1`, good), 422, "validation_failed")
        }
        expectProblem(
          await send(server, "DELETE", `${tasks(user)}/${id}?bogus=1`, { headers: bearer() }),
          422,
          "validation_failed"
        )
      }
    }
  })

  it("comes before 409 id_reused", async () => {
    const answer = await send(server, "POST", "/api/v1/tasks", {
      headers: { ...json, ...bearer() },
      body: JSON.stringify({ id: taskId, title: "" })
    })
    expectProblem(answer, 422, "validation_failed")
  })
})
