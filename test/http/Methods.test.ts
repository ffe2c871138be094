import { beforeAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { create, families, listAll, newId } from "../tasks/families.ts"
import { send } from "./exchange.ts"

const server = useServer()
let user: Account
beforeAll(async () => {
  user = await server.register()
})

const all = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "MKCOL", "LOCK", "PURGE"]
const bearer = () => ({ authorization: `Bearer ${user.access_token}` })
/** The methods of an Allow header. HEAD belongs to GET. */
const allowed = (value: string | null) => (value ?? "").split(",").map((method) => method.trim()).sort()
const withHead = (methods: ReadonlyArray<string>) => [...methods, ...(methods.includes("GET") ? ["HEAD"] : [])].sort()
const pathItemMembers = ["parameters", "summary", "description", "servers"]
const filled = (path: string) => path.replaceAll(/\{[^}]+\}/g, () => newId())

const documented = async (): Promise<ReadonlyArray<readonly [string, ReadonlyArray<string>]>> => {
  const { json } = await server.request("GET", "/openapi.json")
  return Object.entries<object>(json.paths).map(([path, item]) => [
    path,
    Object.keys(item).filter((name) => !pathItemMembers.includes(name)).map((name) => name.toUpperCase())
  ])
}

describe("a method that a path does not have", () => {
  it("R63 is 405 on every path of the OpenAPI document, with Allow equal to the methods there", async () => {
    const paths = await documented()
    expect(paths.length).toBeGreaterThan(10)
    for (const [path, methods] of paths) {
      for (const method of all.filter((method) => !withHead(methods).includes(method))) {
        const answer = await send(server, method, filled(path))
        if (method === "HEAD") expect({ path, method, status: answer.status }).toEqual({ path, method, status: 405 })
        else expectProblem(answer, 405, "method_not_allowed")
        const allow = allowed(answer.headers.get("allow")).filter((name) => name !== "HEAD")
        expect({ path, method, allow }).toEqual({ path, method, allow: [...methods].sort() })
      }
    }
  }, 30_000)

  it.each([
    "/",
    "/docs",
    "/openapi.json",
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/problems/not_found",
    "/.well-known/jwks.json"
  ])("R63 is 405 on %s, which is only read", async (path) => {
    for (const method of all.filter((method) => method !== "GET" && method !== "HEAD")) {
      const answer = await send(server, method, path)
      expectProblem(answer, 405, "method_not_allowed")
      expect(allowed(answer.headers.get("allow")).filter((name) => name !== "HEAD")).toEqual(["GET"])
    }
  })

  it.each(families)("R63 has the Allow of the contract under $name", async ({ tasks }) => {
    const allow = async (path: string) =>
      allowed((await send(server, "TRACE", path)).headers.get("allow")).filter((name) => name !== "HEAD")
    expect(await allow(tasks(user))).toEqual(["GET", "POST"])
    expect(await allow(`${tasks(user)}/${newId()}`)).toEqual(["DELETE", "GET", "PATCH", "PUT"])
    expect(await allow(`${tasks(user)}/${newId()}/complete`)).toEqual(["PATCH"])
    expect(await allow(`${tasks(user)}/${newId()}/restore`)).toEqual(["POST"])
    expect(await allow(`${tasks(user)}/stats`)).toEqual(["GET"])
    expect(await allow(`${tasks(user)}/batch`)).toEqual(["POST"])
  })

  it("R63 is 405 with a good token, for a malformed id, and with a method override too", async () => {
    for (const id of [newId(), "not-a-uuid"]) {
      expectProblem(await send(server, "POST", `/api/v1/tasks/${id}`, { headers: bearer() }), 405, "method_not_allowed")
    }
    const { id } = await create(server, user)
    const headers = { ...bearer(), "x-http-method-override": "DELETE", "x-method-override": "DELETE" }
    expectProblem(await send(server, "POST", `/api/v1/tasks/${id}`, { headers }), 405, "method_not_allowed")
    expectProblem(
      await send(server, "POST", `/api/v1/tasks/${id}?_method=DELETE`, { headers: bearer() }),
      405,
      "method_not_allowed"
    )
    expect((await listAll(server, user)).map((task) => task.id)).toContain(id)
  })
})

describe("OPTIONS", () => {
  it("R63 is 405 without the headers of a preflight, also with an Origin alone", async () => {
    for (const path of ["/", "/health/live", "/api/v1/tasks", `/api/v1/tasks/${newId()}`, `/api/${user.id}/tasks`]) {
      for (const headers of [{}, { origin: "https://good.example" }, bearer()]) {
        const answer = await send(server, "OPTIONS", path, { headers: headers as Record<string, string> })
        expectProblem(answer, 405, "method_not_allowed")
        expect(answer.headers.get("allow")).toBeTruthy()
      }
    }
  })
})

describe("a path that does not exist", () => {
  it("R63 is a 404 problem for every method, with a token and without", async () => {
    for (
      const path of [
        "/nothing",
        "/api",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v2/tasks/x/y/z",
        "/api/v1/tasks/x/nothing",
        "/.env",
        "/.git/config",
        "/docs/../etc/passwd",
        "/health/nothing",
        "/.well-known/nothing",
        "/favicon.ico/x"
      ]
    ) {
      for (const method of all.filter((method) => method !== "HEAD")) {
        for (const headers of [{}, bearer()]) {
          const answer = await send(server, method, path, { headers: headers as Record<string, string> })
          expectProblem(answer, 404, "not_found")
        }
      }
    }
  })

  it("R63 never opens a guarded path under another spelling", async () => {
    const { id } = await create(server, user)
    for (
      const path of [
        "//api/v1/tasks",
        "/api//v1/tasks",
        "/api/v1//tasks",
        "/api/v1/tasks/",
        "/API/V1/TASKS",
        "/api/v1/%74asks",
        "/api/v1/tasks;a=b",
        "/api/v1/./tasks",
        "/api/v1/x/../tasks",
        "/api/v1/tasks%2f",
        `/api/v1/tasks//${id}`,
        `/api/v1/Tasks/${id}/`,
        `//api/${user.id}//tasks`
      ]
    ) {
      for (const method of ["GET", "DELETE", "POST"]) {
        const answer = await send(server, method, path)
        expect([401, 404, 405]).toContain(answer.status)
        expect(answer.headers.get("content-type")).toMatch(/^application\/problem\+json/)
      }
    }
  })
})

describe("HEAD", () => {
  it("is answered as GET, without the body", async () => {
    const { id } = await create(server, user)
    await create(server, user)
    const ignored = ["date", "x-request-id", "connection", "keep-alive", "transfer-encoding", "content-length"]
    const shown = (headers: Headers) => [...headers].filter(([name]) => !ignored.includes(name))
    for (
      const [path, headers] of [
        ["/", {}],
        ["/health/live", {}],
        ["/health", {}],
        ["/openapi.json", {}],
        ["/docs", {}],
        ["/problems/not_found", {}],
        ["/nothing", {}],
        ["/api/v1/tasks", {}],
        ["/api/v1/tasks?limit=1", bearer()],
        ["/api/v1/tasks?limit=0", bearer()],
        [`/api/v1/tasks/${id}`, bearer()],
        [`/api/${user.id}/tasks/${id}`, bearer()],
        [`/api/v1/tasks/${newId()}`, bearer()],
        ["/api/v1/tasks/not-a-uuid", bearer()]
      ] as const
    ) {
      const options = { headers: headers as Record<string, string> }
      const get = await send(server, "GET", path, options)
      const answer = await send(server, "HEAD", path, options)
      expect({ path, status: answer.status }).toEqual({ path, status: get.status })
      expect(answer.text).toBe("")
      expect(answer.headers.get("x-request-id")).toBeTruthy()
      expect({ path, headers: shown(answer.headers) }).toEqual({ path, headers: shown(get.headers) })
      const length = answer.headers.get("content-length")
      if (length !== null && get.headers.has("content-length")) expect(length).toBe(get.headers.get("content-length"))
    }
  })
})
