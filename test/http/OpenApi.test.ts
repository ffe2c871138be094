// deno-lint-ignore-file no-explicit-any -- the document is JSON of another specification
import { beforeAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { create, families, having, newId } from "../tasks/families.ts"
import { send } from "./exchange.ts"

type Json = Record<string, any>

const server = useServer()
let user: Account
let document: Json
beforeAll(async () => {
  user = await server.register()
  document = having(200, await server.request("GET", "/openapi.json")).json
})

const methods = ["get", "put", "post", "delete", "options", "head", "patch", "trace"]
const operations = (): ReadonlyArray<{ path: string; method: string; operation: Json }> =>
  Object.entries<Json>(document["paths"]).flatMap(([path, item]) =>
    Object.entries<Json>(item)
      .filter(([method]) => methods.includes(method))
      .map(([method, operation]) => ({ path, method, operation }))
  )
/** The template of a path in the document, whatever its parameters are called. */
const template = (path: string) => path.replaceAll(/\{[^}]+\}/g, "{}")
const operationAt = (method: string, path: string): Json => {
  const found = operations().find((one) => one.method === method && template(one.path) === template(path))
  if (found === undefined) throw new Error(`the document has no ${method} ${path}`)
  return found.operation
}
const resolved = (node: Json): Json => {
  if (typeof node["$ref"] !== "string") return node
  const target = node["$ref"].slice(2).split("/").reduce<any>(
    (at, name) => at?.[decodeURIComponent(name).replaceAll("~1", "/").replaceAll("~0", "~")],
    document
  )
  if (target === undefined) throw new Error(`nothing at ${node["$ref"]}`)
  return resolved(target)
}
const constants = (schema: Json): Array<string> => {
  const { const: constant, enum: values, anyOf, oneOf } = resolved(schema)
  return [
    ...(typeof constant === "string" ? [constant] : []),
    ...(values ?? []),
    ...[...(anyOf ?? []), ...(oneOf ?? [])].flatMap(constants)
  ]
}
/** The codes of the problems that a schema describes; the codes of single faults (which have a pointer) are others. */
const codesIn = (node: unknown, seen = new Set<unknown>()): Set<string> => {
  const codes = new Set<string>()
  const visit = (at: unknown): void => {
    if (typeof at !== "object" || at === null || seen.has(at)) return
    seen.add(at)
    if (Array.isArray(at)) return at.forEach(visit)
    const schema = at as Json
    if (typeof schema["$ref"] === "string") visit(resolved(schema))
    const properties = schema["properties"]
    if (properties?.code !== undefined && properties.pointer === undefined) {
      for (const code of constants(properties.code)) codes.add(code)
    }
    Object.values(schema).forEach(visit)
  }
  visit(node)
  return codes
}

const taskPaths = [
  { path: "", methods: ["get", "post"] },
  { path: "/{id}", methods: ["get", "put", "patch", "delete"] },
  { path: "/{id}/complete", methods: ["patch"] },
  { path: "/{id}/restore", methods: ["post"] }
]
const bases = ["/api/v1/tasks", "/api/{user_id}/tasks"]
const taskOperations = bases.flatMap((base) =>
  taskPaths.flatMap(({ path, methods }) => methods.map((method) => ({ method, path: `${base}${path}` })))
)

describe("the OpenAPI document", () => {
  it("is OpenAPI 3.1 in JSON, with a title and a version", () => {
    expect(document["openapi"]).toMatch(/^3\.1\.\d+$/)
    expect(document["info"].title).toMatch(/\S/)
    expect(document["info"].version).toMatch(/\S/)
  })

  it("is served as JSON and names no other host", async () => {
    const answer = await server.request("GET", "/openapi.json")
    expect(answer.headers.get("content-type")).toMatch(/^application\/(vnd\.oai\.openapi\+)?json(;|$)/)
    for (const { url } of document["servers"] ?? []) expect(url).not.toMatch(/^https?:/)
  })

  it("has no reference into nothing", () => {
    let count = 0
    const visit = (node: unknown): void => {
      if (typeof node !== "object" || node === null) return
      if ("$ref" in node && typeof node.$ref === "string") {
        count++
        expect(node.$ref).toMatch(/^#\//)
        expect(resolved({ $ref: node.$ref })).toBeTypeOf("object")
      }
      Object.values(node).forEach(visit)
    }
    visit(document)
    expect(count).toBeGreaterThan(0)
  })

  it("gives each operation an id of its own, and each path parameter a declaration", () => {
    const ids = operations().map(({ operation }) => operation["operationId"])
    expect(ids.every((id) => typeof id === "string" && id !== "")).toBe(true)
    expect(new Set(ids).size).toBe(ids.length)
    for (const { path, operation } of operations()) {
      const names = [...path.matchAll(/\{([^}]+)\}/g)].map((match) => match[1])
      const declared = [...(document["paths"][path].parameters ?? []), ...(operation["parameters"] ?? [])]
        .map((parameter: Json) => resolved(parameter))
        .filter((parameter: Json) => parameter["in"] === "path")
      expect(declared.map((parameter: Json) => parameter["name"]).sort()).toEqual(names.sort())
    }
  })

  it("has every endpoint of the tasks, in both families", () => {
    for (const { method, path } of taskOperations) operationAt(method, path)
  })

  it("has every status of the tasks' endpoints, with its problems", () => {
    for (const { method, path } of taskOperations) {
      const expected: Record<string, ReadonlyArray<string>> = {
        401: ["token_missing", "token_invalid", "token_expired", "session_revoked", "session_expired"],
        422: ["validation_failed"],
        429: ["rate_limited"],
        500: ["internal"],
        503: ["database_unavailable"],
        ...(path.includes("{user_id}") ? { 403: ["forbidden"] } : {}),
        ...(path.includes("{id}") ? { 404: ["not_found"] } : {}),
        ...(method === "get" && !path.includes("{id}") ? { 400: ["invalid_cursor"] } : {}),
        ...(method === "post" && !path.includes("{id}")
          ? { 400: ["malformed_body"], 409: ["id_reused"], 413: ["too_large"], 415: ["unsupported_media_type"] }
          : {}),
        ...(method === "put" || method === "patch"
          ? { 400: ["malformed_body"], 413: ["too_large"], 415: ["unsupported_media_type"] }
          : {})
      }
      const { responses } = operationAt(method, path)
      for (const [status, codes] of Object.entries(expected)) {
        const response = responses[status] === undefined ? undefined : resolved(responses[status])
        const documented = [...codesIn(response?.["content"]?.["application/problem+json"])]
        expect({ method, path, status, documented }).toEqual({
          method,
          path,
          status,
          documented: expect.arrayContaining([...codes])
        })
      }
    }
  })

  it("has every success of the tasks' endpoints", () => {
    for (const base of bases) {
      const statuses = (method: string, path: string) =>
        Object.keys(operationAt(method, `${base}${path}`)["responses"]).filter((status) => /^[23]/.test(status)).sort()
      expect(statuses("get", "")).toEqual(["200"])
      expect(statuses("post", "")).toEqual(["200", "201"])
      expect(statuses("get", "/{id}")).toEqual(["200", "304"])
      expect(statuses("put", "/{id}")).toEqual(["200"])
      expect(statuses("patch", "/{id}")).toEqual(["200"])
      expect(statuses("delete", "/{id}")).toEqual([base === bases[0] ? "200" : "204"])
      expect(statuses("patch", "/{id}/complete")).toEqual(["200"])
      expect(statuses("post", "/{id}/restore")).toEqual(["200"])
    }
  })

  it("names the headers of an answer", () => {
    const headers = (method: string, path: string, status: number) =>
      Object.keys(resolved(operationAt(method, path)["responses"][status])["headers"] ?? {})
        .map((name) => name.toLowerCase())
    for (const base of bases) {
      expect(headers("post", base, 201)).toEqual(expect.arrayContaining(["etag", "location"]))
      expect(headers("get", base, 200)).toContain("link")
      expect(headers("get", base, 429)).toEqual(
        expect.arrayContaining(["ratelimit", "ratelimit-policy", "retry-after"])
      )
      expect(headers("get", `${base}/{id}`, 200)).toContain("etag")
      expect(headers("patch", `${base}/{id}`, 200)).toContain("etag")
    }
  })

  it("has 429 wherever somebody is limited", () => {
    for (const { path, method, operation } of operations()) {
      const codes = codesIn(operation["responses"]["429"])
      expect({ path, method, codes: [...codes] })
        .toEqual({ path, method, codes: path.startsWith("/api/") ? ["rate_limited"] : [] })
    }
  })

  it("offers both media types for PATCH", () => {
    for (const base of bases) {
      const { content } = resolved(operationAt("patch", `${base}/{id}`)["requestBody"])
      expect(Object.keys(content).sort()).toEqual(["application/json", "application/merge-patch+json"])
    }
  })

  it("has a page for every code that it names", async () => {
    const codes = [...codesIn(document)]
    expect(codes).toEqual(expect.arrayContaining(["validation_failed", "token_missing", "not_found", "id_reused"]))
    expect(codes.length).toBeGreaterThan(14)
    for (const code of codes) {
      const answer = await server.request("GET", `/problems/${code}`)
      expect({ code, status: answer.status }).toEqual({ code, status: 200 })
      expect(answer.text).toContain(code)
    }
  })
})

describe("every operation below /api", () => {
  const open = ["register", "signup", "login", "token", "refresh"]
  const isOpen = (path: string) => /^\/api\/(v1\/)?auth\//.test(path) && open.includes(path.split("/").at(-1) ?? "")

  it("asks for a token unless it is on the short list of open ones, and says so", async () => {
    const security = (operation: Json): ReadonlyArray<Json> => operation["security"] ?? document["security"] ?? []
    let guarded = 0
    for (const { path, method, operation } of operations()) {
      if (!path.startsWith("/api/")) continue
      if (isOpen(path)) {
        expect({ path, method, open: security(operation).every((one) => Object.keys(one).length === 0) })
          .toEqual({ path, method, open: true })
        continue
      }
      guarded++
      const answer = await send(server, method.toUpperCase(), path.replaceAll(/\{[^}]+\}/g, () => newId()))
      expectProblem(answer, 401, "token_missing")
      expect(answer.headers.get("www-authenticate")).toMatch(/^Bearer\b/)
      if (path.endsWith("/logout")) continue
      expect({ path, method, guarded: security(operation).length > 0 }).toEqual({ path, method, guarded: true })
    }
    expect(guarded).toBeGreaterThanOrEqual(taskOperations.length)
  })

  it("is declared with a bearer scheme", () => {
    const schemes = Object.values<Json>(document["components"]?.securitySchemes ?? {})
    expect(schemes.some((scheme) => scheme["type"] === "http" && /^bearer$/i.test(scheme["scheme"]))).toBe(true)
  })
})

describe("an event of the stream", () => {
  it("carries its task as text", () => {
    for (const event of document["components"].schemas.ChangeEvent.anyOf) {
      expect(event.properties.data).toMatchObject({ type: "string", contentMediaType: "application/json" })
    }
  })
})

describe("a real answer", () => {
  it("has a status and a code that the document names for its operation", async () => {
    const json = { "content-type": "application/json" }
    for (const [index, { tasks }] of families.entries()) {
      const base = bases[index] ?? ""
      const { id } = await create(server, user)
      const requests: ReadonlyArray<readonly [string, string, string, string?, Record<string, string>?]> = [
        ["get", "", ""],
        ["get", "", "?limit=0"],
        ["get", "", "?cursor=x"],
        ["post", "", "", '{"title":"a"}'],
        ["post", "", "", `{"id":"${id}","title":"other"}`],
        ["post", "", "", "{"],
        ["post", "", "", "a", { "content-type": "text/plain" }],
        ["post", "", "", " ".repeat(128 * 1024 + 1)],
        ["get", "/{id}", `/${id}`],
        ["get", "/{id}", `/${newId()}`],
        ["get", "/{id}", "/x"],
        ["put", "/{id}", `/${id}`, '{"title":"b"}'],
        ["patch", "/{id}", `/${id}`, '{"title":""}'],
        ["patch", "/{id}", `/${id}`, '{"title":"b"}'],
        ["patch", "/{id}/complete", `/${id}/complete`],
        ["delete", "/{id}", `/${id}`],
        ["post", "/{id}/restore", `/${id}/restore`],
        ["post", "/{id}/restore", `/${newId()}/restore`]
      ]
      for (const [method, path, real, body, headers] of requests) {
        const answer = await send(server, method.toUpperCase(), `${tasks(user)}${real}`, {
          headers: { authorization: `Bearer ${user.access_token}`, ...json, ...headers },
          ...(body === undefined ? {} : { body })
        })
        const { responses } = operationAt(method, `${base}${path}`)
        const statuses = Object.keys(responses)
        expect({ method, real, statuses }).toEqual({
          method,
          real,
          statuses: expect.arrayContaining([String(answer.status)])
        })
        if (answer.status < 400) continue
        const codes = [...codesIn(resolved(responses[answer.status])["content"])]
        expect({ method, real, codes }).toEqual({ method, real, codes: expect.arrayContaining([answer.json.code]) })
      }
    }
  })
})
