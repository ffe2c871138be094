import { describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { useServer } from "../support/TestServer.ts"
import { create, having, newId } from "../tasks/families.ts"
import { send } from "./exchange.ts"

const server = useServer()

describe("/", () => {
  it("sends to the docs with 303", async () => {
    const answer = await send(server, "GET", "/")
    expect(answer.status).toBe(303)
    expect(new URL(answer.headers.get("location") ?? "", server.url).href).toBe(new URL("/docs", server.url).href)
  })
})

describe("health", () => {
  it("R71 live is 200 with exactly its status", async () => {
    const answer = having(200, await server.request("GET", "/health/live"))
    expect(answer.json).toEqual({ status: "ok" })
    expect(answer.headers.get("content-type")).toMatch(/^application\/json(;|$)/)
  })

  it.each(["/health/ready", "/health"])("R71 %s is 200 while the database answers", async (path) => {
    const answer = having(200, await server.request("GET", path))
    expect(answer.headers.get("content-type")).toMatch(/^application\/json(;|$)/)
    expect(answer.json.status).toBe("ok")
  })

  it.each(["/health/live", "/health/ready", "/health"])("R71 %s tells no version, host or path", async (path) => {
    const answer = await server.request("GET", path)
    expect(answer.text).not.toMatch(/\d+\.\d+|version|node|deno|postgres|pglite|localhost|\/(usr|home|work|tmp|app)\b/i)
    for (const [name, value] of answer.headers) {
      if (name === "date" || name === "x-request-id") continue
      expect(`${name}: ${value}`).not.toMatch(/\d+\.\d+\.\d+|\bnode\b|\bdeno\b|postgres|pglite|effect/i)
    }
  })

  it("R71 needs no token and minds no bad one", async () => {
    for (const path of ["/health/live", "/health/ready", "/health"]) {
      having(200, await server.request("GET", path, { token: "rubbish" }))
    }
  })
})

describe("the docs", () => {
  it("are a page that loads nothing from another host", async () => {
    const answer = having(200, await server.request("GET", "/docs"))
    expect(answer.headers.get("content-type")).toMatch(/^text\/html/)
    const markup = answer.text.replaceAll(/(<(script|style)\b[^>]*>)[\s\S]*?<\/\2>/gi, "$1")
    expect(markup).toMatch(/<script\b/i)
    for (const [tag] of markup.matchAll(/<(script|link|img|iframe|object|embed|source)\b[^>]*>/gi)) {
      expect(tag).not.toMatch(/(src|href|data)\s*=\s*["']?\s*(https?:)?\/\//i)
    }
  })
})

describe("/problems", () => {
  it("explains each code of the contract", async () => {
    const codes = [
      "malformed_body",
      "malformed_header",
      "invalid_cursor",
      "token_missing",
      "token_invalid",
      "token_expired",
      "session_revoked",
      "session_expired",
      "invalid_credentials",
      "forbidden",
      "not_found",
      "method_not_allowed",
      "id_reused",
      "stale_version",
      "too_large",
      "unsupported_media_type",
      "validation_failed",
      "internal",
      "database_unavailable"
    ]
    const pages = new Set<string>()
    for (const code of codes) {
      const answer = await server.request("GET", `/problems/${code}`)
      expect({ code, status: answer.status }).toEqual({ code, status: 200 })
      expect(answer.text).toContain(code)
      pages.add(answer.text)
    }
    expect(pages.size).toBe(codes.length)
  })

  it("is 404 for a code that does not exist", async () => {
    for (const code of ["nothing", "__proto__", "constructor", "toString", "NOT_FOUND%00", "..%2f..%2fetc%2fpasswd"]) {
      const answer = await server.request("GET", `/problems/${code}`)
      expectProblem(answer, 404, "not_found")
    }
  })

  it("is where the type of a real problem leads", async () => {
    const problem = await server.request("GET", "/api/v1/tasks")
    const answer = having(200, await server.request("GET", problem.json.type))
    expect(answer.text).toContain("token_missing")
  })
})

describe("metrics", () => {
  it("are Prometheus text, open in development without a token", async () => {
    const answer = having(200, await server.request("GET", "/metrics"))
    expect(answer.headers.get("content-type")).toMatch(/^text\/plain/)
    const lines = answer.text.split("\n").filter((line) => line !== "")
    expect(lines.length).toBeGreaterThan(5)
    for (const line of lines) {
      expect(line).toMatch(/^(# (HELP|TYPE) [a-zA-Z_:]|[a-zA-Z_:][a-zA-Z0-9_:]*(\{.*\})? [-+0-9.eEINFNa]+( \d+)?$)/)
    }
  })

  it("name routes and never what a client put into a path, a query or a method", async () => {
    const user = await server.register()
    const { id } = await create(server, user)
    const marks = [newId(), newId(), newId()]
    having(200, await server.request("GET", `/api/v1/tasks/${id}`, { token: user.access_token }))
    having(200, await server.request("GET", `/api/${user.id}/tasks`, { token: user.access_token }))
    await server.request("GET", `/api/v1/tasks/${marks[0]}`, { token: user.access_token })
    await server.request("GET", `/nothing/${marks[1]}`)
    await server.request("GET", `/api/v1/tasks?x=${marks[2]}`, { token: user.access_token })
    await send(server, "PROPFIND", "/nothing")
    const { text } = having(200, await server.request("GET", "/metrics"))
    for (const secret of [id, user.id, user.email, ...marks]) expect(text).not.toContain(secret)
  })
})

describe("/.well-known/jwks.json", () => {
  it("is an empty set of keys without asymmetric ones", async () => {
    const answer = having(200, await server.request("GET", "/.well-known/jwks.json"))
    expect(answer.json).toEqual({ keys: [] })
    expect(answer.headers.get("content-type")).toMatch(/^application\/(jwk-set\+)?json(;|$)/)
  })
})
