import { beforeAll, describe, expect, it } from "vitest"
import { type Account, useServer } from "../support/TestServer.ts"
import { create, newId } from "../tasks/families.ts"
import { send } from "./exchange.ts"

const good = "https://good.example"
const server = useServer({ CORS_ORIGINS: good })
let user: Account
beforeAll(async () => {
  user = await server.register()
  await create(server, user)
  await create(server, user)
})

const listOf = (headers: Headers, name: string) =>
  (headers.get(name) ?? "").split(",").map((part) => part.trim().toLowerCase()).filter((part) => part !== "")
const bearer = () => ({ authorization: `Bearer ${user.access_token}` })

const strangers = [
  "https://evil.example",
  "null",
  "https://good.example.evil.com",
  "https://evilgood.example",
  "https://sub.good.example",
  "http://good.example",
  "https://good.example:8443",
  "https://good.example/",
  "https://good.example@evil.example",
  "https://goodxexample",
  "https://good.example, https://evil.example",
  "*",
  "file://"
]

describe("an origin that is not allowed", () => {
  it.each(strangers)("R67 %s gets no Access-Control-Allow-Origin", async (origin) => {
    for (const [method, path] of [["GET", "/api/v1/tasks"], ["GET", "/nothing"], ["GET", "/health/live"]] as const) {
      const answer = await send(server, method, path, { headers: { origin, ...bearer() } })
      expect(answer.headers.get("access-control-allow-origin")).toBeNull()
      expect(answer.headers.get("access-control-allow-credentials")).toBeNull()
    }
    const preflight = await send(server, "OPTIONS", "/api/v1/tasks", {
      headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization" }
    })
    expect(preflight.headers.get("access-control-allow-origin")).toBeNull()
  })
})

describe("the allowed origin", () => {
  it("R67 is echoed exactly, with Vary, and the headers that a client needs are exposed", async () => {
    const answer = await send(server, "GET", "/api/v1/tasks?limit=1", { headers: { origin: good, ...bearer() } })
    expect(answer.status).toBe(200)
    expect(answer.headers.get("access-control-allow-origin")).toBe(good)
    expect(listOf(answer.headers, "vary")).toContain("origin")
    expect(listOf(answer.headers, "access-control-expose-headers")).toEqual(
      expect.arrayContaining(["etag", "link", "location", "retry-after", "x-request-id", "x-total-count"])
    )
    expect(listOf(answer.headers, "access-control-expose-headers").some((name) => name.startsWith("ratelimit")))
      .toBe(true)
    expect(listOf(answer.headers, "access-control-expose-headers")).not.toContain("*")
  })

  it("R67 may read failures too, from every layer", async () => {
    const json = { "content-type": "application/json" }
    for (
      const [status, method, path, options] of [
        [401, "GET", "/api/v1/tasks", {}],
        [403, "GET", `/api/${newId()}/tasks`, { headers: bearer() }],
        [404, "GET", `/api/v1/tasks/${newId()}`, { headers: bearer() }],
        [404, "GET", "/nothing", {}],
        [405, "PUT", "/api/v1/tasks", {}],
        [400, "POST", "/api/v1/tasks", { headers: { ...bearer(), ...json }, body: "{" }],
        [413, "POST", "/api/v1/tasks", { headers: { ...bearer(), ...json }, body: " ".repeat(128 * 1024 + 1) }],
        [415, "POST", "/api/v1/tasks", { headers: { ...bearer(), "content-type": "text/plain" }, body: "a" }],
        [422, "POST", "/api/v1/tasks", { headers: { ...bearer(), ...json }, body: "{}" }]
      ] as const
    ) {
      const given: { readonly headers?: Record<string, string>; readonly body?: string } = options
      const answer = await send(server, method, path, { ...given, headers: { ...given.headers, origin: good } })
      expect(answer.status).toBe(status)
      expect({ status, origin: answer.headers.get("access-control-allow-origin") }).toEqual({ status, origin: good })
      expect(listOf(answer.headers, "vary")).toContain("origin")
      expect(listOf(answer.headers, "access-control-expose-headers")).toContain("x-request-id")
    }
  })

  it("R67 has its preflight answered, without a token, for every method of the tasks", async () => {
    for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"]) {
      const answer = await send(server, "OPTIONS", `/api/v1/tasks/${newId()}`, {
        headers: {
          origin: good,
          "access-control-request-method": method,
          "access-control-request-headers":
            "authorization,content-type,idempotency-key,if-match,if-none-match,last-event-id,x-request-id"
        }
      })
      expect([200, 204]).toContain(answer.status)
      expect(answer.headers.get("access-control-allow-origin")).toBe(good)
      expect(listOf(answer.headers, "access-control-allow-methods")).toContain(method.toLowerCase())
      expect(listOf(answer.headers, "access-control-allow-headers")).toEqual(
        expect.arrayContaining([
          "authorization",
          "content-type",
          "idempotency-key",
          "if-match",
          "if-none-match",
          "last-event-id",
          "x-request-id"
        ])
      )
      expect(listOf(answer.headers, "vary")).toContain("origin")
      expect(answer.headers.get("x-request-id")).toBeTruthy()
    }
  })

  it("R67 never gets a wildcard", async () => {
    const answers = [
      await send(server, "GET", "/api/v1/tasks", { headers: { origin: good, ...bearer() } }),
      await send(server, "GET", "/health/live", { headers: { origin: good } }),
      await send(server, "OPTIONS", "/api/v1/tasks", {
        headers: { origin: good, "access-control-request-method": "GET" }
      })
    ]
    for (const answer of answers) {
      for (const [name, value] of answer.headers) {
        if (name.startsWith("access-control-")) expect(value).not.toContain("*")
      }
    }
  })
})

describe("a request without an origin", () => {
  it("R67 gets no Access-Control-Allow-Origin", async () => {
    const answer = await send(server, "GET", "/api/v1/tasks", { headers: bearer() })
    expect(answer.status).toBe(200)
    expect(answer.headers.get("access-control-allow-origin")).toBeNull()
  })

  it("R67 OPTIONS without the headers of a preflight stays 405", async () => {
    expect((await send(server, "OPTIONS", "/api/v1/tasks")).status).toBe(405)
    expect((await send(server, "OPTIONS", "/api/v1/tasks", { headers: { origin: good } })).status).toBe(405)
  })
})
