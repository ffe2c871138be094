/** Every endpoint of the API object is tried, so that one which is added without a guard fails here. */
import { beforeAll, describe, expect, it } from "vitest"
import { endpoints } from "../support/endpoints.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"

/** The endpoints that need no session, each for a reason: they make one, end one, or show nothing of anybody. */
const open = [
  "POST /api/v1/auth/register",
  "POST /api/v1/auth/signup",
  "POST /api/v1/auth/login",
  "POST /api/v1/auth/refresh",
  "POST /api/v1/auth/token",
  "POST /api/v1/auth/logout",
  "POST /api/auth/register",
  "POST /api/auth/signup",
  "POST /api/auth/login",
  "POST /api/auth/refresh",
  "POST /api/auth/token",
  "POST /api/auth/logout",
  "GET /health/live",
  "GET /health/ready",
  "GET /health",
  "GET /problems/:code",
  "GET /metrics",
  "GET /.well-known/jwks.json"
]

const guarded = endpoints.filter(({ name }) => !open.includes(name))
const withId = endpoints.filter(({ path }) => path.includes(":id"))

const server = useServer()
let ada: Account
let bob: Account
/** by kind of path: an id of Ada's, one of nobody's, one that is none */
const ids: Record<string, { readonly ada: string; readonly nobody: string }> = {}
beforeAll(async () => {
  ada = await server.register()
  bob = await server.register()
  const task = await server.request("POST", "/api/v1/tasks", { token: ada.access_token, body: { title: "Ada's" } })
  const sessions = await server.request("GET", "/api/v1/auth/sessions", { token: ada.access_token })
  ids["tasks"] = { ada: task.json.id, nobody: "0198f5a0-1c2d-7e3f-8a4b-5c6d7e8f9a0b" }
  ids["sessions"] = { ada: sessions.json[0].id, nobody: "0198f5a0-1c2d-7e3f-8a4b-5c6d7e8f9a0b" }
})

const at = (path: string, userId: string, id = "0198f5a0-1c2d-7e3f-8a4b-5c6d7e8f9a0b") =>
  path.replace(":user_id", userId).replace(":id", id).replace(":code", "not_found")
const idsOf = (path: string) => ids[path.includes("/sessions/") ? "sessions" : "tasks"]!

it("walks the whole API", () => {
  expect(endpoints.length).toBeGreaterThan(40)
  expect(withId.length).toBeGreaterThan(12)
  expect(open.filter((name) => !endpoints.some((endpoint) => endpoint.name === name))).toEqual([])
})

describe("R50 without a session", () => {
  it.each(guarded)("$name is refused", async ({ body, method, path }) => {
    expectProblem(await server.request(method, at(path, ada.id), { body }), 401, "token_missing")
    expectProblem(await server.request(method, at(path, ada.id), { body, token: "x.y.z" }), 401, "token_invalid")
  })

  it.each(endpoints.filter(({ name }) => open.includes(name)))(
    "$name is open",
    async ({ body, form, method, path }) => {
      const answer = await server.request(
        method,
        at(path, ada.id),
        form === undefined ? { body } : { raw: form, headers: { "content-type": "application/x-www-form-urlencoded" } }
      )
      // logout asks for a token itself, and refreshing with the example's token is refused as that token
      const isToken = /logout|refresh/.test(path)
      const isOwn = isToken && ["token_missing", "invalid_refresh_token"].includes(answer.json?.code)
      expect(
        isOwn || answer.json?.code === "invalid_credentials" || answer.json?.error === "invalid_grant" ||
          answer.status < 400 || answer.status === 409,
        answer.text
      )
        .toBe(true)
    }
  )
})

describe("R50 another user's id", () => {
  it.each(withId)("$name answers like an id of nobody's", async ({ body, method, path }) => {
    const ask = async (id: string) => {
      const { json, status, text } = await server.request(method, at(path, bob.id, id), {
        body,
        token: bob.access_token
      })
      expect(status, text).toBe(404)
      return text.replace(json.request_id, "")
    }
    const { ada: foreign, nobody } = idsOf(path)
    expect(await ask(foreign)).toBe(await ask(nobody))
  })

  it.each(endpoints.filter(({ path }) => path.includes(":user_id")))(
    "$name is refused under it",
    async ({ body, method, path }) => {
      const answer = await server.request(method, at(path, ada.id, idsOf(path).ada), { body, token: bob.access_token })
      expectProblem(answer, 403, "forbidden")
    }
  )

  it("changes nothing of that user's", async () => {
    const task = await server.request("GET", `/api/v1/tasks/${ids["tasks"]!.ada}`, { token: ada.access_token })
    expect(task.json).toMatchObject({ title: "Ada's", version: 1, completed: false, deleted_at: null })
  })
})
