import { beforeAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, type Answer, useServer } from "../support/TestServer.ts"
import { create, newId, nextOf, patch } from "../tasks/families.ts"
import { send } from "./exchange.ts"

const server = useServer()
let user: Account
let taskId = ""
beforeAll(async () => {
  user = await server.register()
  taskId = (await create(server, user)).id
  await patch(server, user, (await create(server, user)).id, { completed: true })
})

const bearer = () => ({ authorization: `Bearer ${user.access_token}` })
const json = { "content-type": "application/json" }
type Case = readonly [name: string, status: number, send: () => Promise<Answer>]

const cases: ReadonlyArray<Case> = [
  ["the redirect of /", 303, () => send(server, "GET", "/")],
  ["live", 200, () => send(server, "GET", "/health/live")],
  ["ready", 200, () => send(server, "GET", "/health/ready")],
  ["health", 200, () => send(server, "GET", "/health")],
  ["the OpenAPI document", 200, () => send(server, "GET", "/openapi.json")],
  ["the docs", 200, () => send(server, "GET", "/docs")],
  ["a problem's page", 200, () => send(server, "GET", "/problems/not_found")],
  ["the keys", 200, () => send(server, "GET", "/.well-known/jwks.json")],
  ["metrics", 200, () => send(server, "GET", "/metrics")],
  ["a list", 200, () => send(server, "GET", "/api/v1/tasks", { headers: bearer() })],
  ["a task", 200, () => send(server, "GET", `/api/v1/tasks/${taskId}`, { headers: bearer() })],
  ["HEAD of a task", 200, () => send(server, "HEAD", `/api/v1/tasks/${taskId}`, { headers: bearer() })],
  [
    "a create",
    201,
    () => send(server, "POST", "/api/v1/tasks", { headers: { ...bearer(), ...json }, body: '{"title":"a"}' })
  ],
  [
    "a change",
    200,
    () => send(server, "PATCH", `/api/v1/tasks/${taskId}`, { headers: { ...bearer(), ...json }, body: '{"title":"b"}' })
  ],
  ["the user", 200, () => send(server, "GET", "/api/v1/auth/me", { headers: bearer() })],
  ["a login that fails", 401, () =>
    send(server, "POST", "/api/v1/auth/login", {
      headers: json,
      body: JSON.stringify({ email: `${newId()}@example.com`, password: "wrong horse battery" })
    })],
  [
    "a malformed body",
    400,
    () => send(server, "POST", "/api/v1/tasks", { headers: { ...bearer(), ...json }, body: "{" })
  ],
  ["a missing token", 401, () => send(server, "GET", "/api/v1/tasks")],
  ["a foreign path", 403, () => send(server, "GET", `/api/${newId()}/tasks`, { headers: bearer() })],
  ["a missing task", 404, () => send(server, "GET", `/api/v1/tasks/${newId()}`, { headers: bearer() })],
  ["an unknown path", 404, () => send(server, "GET", "/nothing")],
  ["a wrong method", 405, () => send(server, "TRACE", "/api/v1/tasks")],
  ["OPTIONS", 405, () => send(server, "OPTIONS", "/api/v1/tasks")],
  [
    "a large body",
    413,
    () => send(server, "POST", "/api/v1/tasks", { headers: { ...bearer(), ...json }, body: " ".repeat(128 * 1024 + 1) })
  ],
  [
    "another media type",
    415,
    () => send(server, "POST", "/api/v1/tasks", { headers: { ...bearer(), "content-type": "text/plain" }, body: "a" })
  ],
  ["a wrong body", 422, () => send(server, "POST", "/api/v1/tasks", { headers: { ...bearer(), ...json }, body: "{}" })],
  ["a wrong query", 422, () => send(server, "GET", "/api/v1/tasks?limit=0", { headers: bearer() })]
]
const docs = "the docs"

describe.each(cases)("%s", (name, status, ask) => {
  it("R66 carries the headers that every answer has", async () => {
    const answer = await ask()
    expect(answer.status).toBe(status)
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff")
    expect(answer.headers.get("referrer-policy")).toMatch(/^(no-referrer|same-origin|strict-origin)$/)
    expect(answer.headers.get("strict-transport-security")).toBeNull()
    expect(answer.headers.get("x-powered-by")).toBeNull()
    expect(answer.headers.get("server") ?? "").not.toMatch(/\d|node|deno|effect/i)
    expect(answer.headers.get("access-control-allow-origin")).toBeNull()
    expect(answer.headers.get("set-cookie")).toBeNull()
    if (name === docs) return
    const policy = (answer.headers.get("content-security-policy") ?? "").split(";").map((part) => part.trim())
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("frame-ancestors 'none'")
  })

  it("carries an X-Request-Id of its own", async () => {
    const ids = [await ask(), await ask()].map((answer) => answer.headers.get("x-request-id") ?? "")
    for (const id of ids) expect(id).toMatch(/^[\x21-\x7e]{8,128}$/)
    expect(ids[0]).not.toBe(ids[1])
  })
})

describe.each(cases.filter(([, status]) => status >= 400))("the problem of %s", (_, status, ask) => {
  it("R65 tells nothing about the inside", async () => {
    const answer = await ask()
    expect(answer.headers.get("content-type")).toMatch(/^application\/problem\+json(; ?charset=utf-8)?$/i)
    expect(answer.json).toMatchObject({ status, request_id: answer.headers.get("x-request-id") })
    expect(answer.json.title).toMatch(/\S/)
    expect(answer.json.detail).toMatch(/\S/)
    expect(answer.text).not.toMatch(/node_modules|\.[jt]s\b|\bat [A-Za-z.]+ \(|stack/i)
    expect(answer.text).not.toMatch(/\bselect\b.*\bfrom\b|\binsert into\b|postgres|pglite/i)
    expect(answer.text).not.toContain(new URL(server.url).host)
    const members = ["code", "detail", "errors", "request_id", "status", "title", "type"]
    expect(members).toEqual(expect.arrayContaining(Object.keys(answer.json)))
  })
})

describe("caching", () => {
  it("R66 is forbidden for data of a user, sign-ins and their failures", async () => {
    const guarded = [
      "a list",
      "a task",
      "HEAD of a task",
      "a create",
      "a change",
      "the user",
      "a login that fails",
      "a missing token",
      "a foreign path",
      "a missing task",
      "a wrong body"
    ]
    for (const [name, , ask] of cases.filter(([name]) => guarded.includes(name))) {
      const answer = await ask()
      const control = (answer.headers.get("cache-control") ?? "").split(",").map((part) => part.trim())
      expect({ name, control }).toEqual({ name, control: expect.arrayContaining(["no-store"]) })
    }
    const login = await server.request("POST", "/api/v1/auth/login", {
      body: { email: user.email, password: user.password }
    })
    expect(login.status).toBe(200)
    expect(login.headers.get("cache-control")).toContain("no-store")
  })
})

describe("the docs page", () => {
  it("R66 has a strict policy of its own", async () => {
    const answer = await send(server, "GET", "/docs")
    const policy = new Map(
      (answer.headers.get("content-security-policy") ?? "").split(";").map((part) => {
        const [name = "", ...values] = part.trim().split(/\s+/)
        return [name, values] as const
      })
    )
    expect(policy.get("default-src")).toEqual(["'none'"])
    expect(policy.get("frame-ancestors")).toEqual(["'none'"])
    expect(policy.get("script-src") ?? []).not.toContain("'unsafe-inline'")
    for (const [, values] of policy) {
      for (const value of values) expect(value).not.toMatch(/^\*$|^https?:|^\/\/|\.[a-z]+$/)
    }
  })
})

describe("an error's text", () => {
  it("R65 survives any letters of the request", async () => {
    const paths = ["/ünï/🎉", "/%F0%9F%8E%89", "/%22%3E%3Cscript%3E", "/%0d%0aX-Evil:%201", "/a%00b", "/%ff"]
    for (const path of paths) {
      const answer = await server.request("GET", path)
      expectProblem(answer, 404, "not_found")
      expect(answer.headers.get("x-evil")).toBeNull()
    }
    const answer = await server.request("POST", "/api/v1/tasks", {
      token: user.access_token,
      body: { title: "a", '🎉"\n</script>': 1 }
    })
    expectProblem(answer, 422, "validation_failed")
    expect(answer.json.errors[0].pointer).toBe('/🎉"\n<~1script>')
  })

  it("R65 is not bent by headers of the request", async () => {
    for (const value of ['"},{"a":"', "x".repeat(4000), "<script>alert(1)</script>"]) {
      const answer = await send(server, "GET", "/nothing", { headers: { "x-request-id": value, accept: "text/html" } })
      expectProblem(answer, 404, "not_found")
      expect(answer.headers.get("x-request-id")).not.toBe(value)
    }
  })
})

describe("links to this server", () => {
  it("ignore forwarded headers of a client that is not a trusted proxy", async () => {
    const headers = {
      ...bearer(),
      "x-forwarded-host": "evil.example",
      "x-forwarded-proto": "https",
      "x-forwarded-prefix": "/evil",
      "x-original-url": "/health/live",
      "x-rewrite-url": "/health/live",
      forwarded: "host=evil.example;proto=https"
    }
    const page = await send(server, "GET", "/api/v1/tasks?limit=1", { headers })
    expect(page.status).toBe(200)
    expect(nextOf(server, page)).toMatch(/^\/api\/v1\/tasks\?/)
    expect(page.headers.get("link")).not.toMatch(/evil|https:/)
    const body = '{"title":"a"}'
    const made = await send(server, "POST", "/api/v1/tasks", { headers: { ...headers, ...json }, body })
    expect(made.status).toBe(201)
    expect(made.headers.get("location")).not.toMatch(/evil|https:/)
    expect((await send(server, "GET", "/", { headers })).headers.get("location")).not.toMatch(/evil|https:/)
  })
})
