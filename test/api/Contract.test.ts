import { readdirSync, readFileSync } from "node:fs"
import { Schema } from "effect"
import { OpenApi } from "effect/http-api"
import { expect, it } from "vitest"
import { Api } from "../../src/api/Api.ts"
import { schemaExamples } from "../../src/api/OpenApiDocument.ts"
import { endpoints } from "../support/endpoints.ts"

const document = OpenApi.fromApi(Api)

it("is published as docs/openapi.json, equal to what the code derives", () => {
  const published = readFileSync(new URL("../../docs/openapi.json", import.meta.url), "utf8")
  expect(JSON.parse(published), "npm run openapi writes it anew").toEqual(JSON.parse(JSON.stringify(document)))
})

it("has an example of every request body, and each fits its schema", () => {
  const bodies = new Map(endpoints.flatMap((endpoint) => [...endpoint.bodies]))
  expect([...bodies.keys()].sort()).toEqual([
    "AccountDeletion",
    "Batch",
    "BulkCompletion",
    "BulkDeletion",
    "Completion",
    "Credentials",
    "Logout",
    "PasswordChange",
    "Refresh",
    "Registration",
    "TaskCreate",
    "TaskMergePatch",
    "TaskPatch",
    "TaskReplace",
    "TaskUpdate",
    "TokenRequest",
    "UserMergePatch",
    "UserPatch"
  ])
  for (const [name, schema] of bodies) {
    expect(() => Schema.decodeUnknownSync(schema as Schema.Codec<unknown>)(schemaExamples[name]), name).not.toThrow()
  }
})

it("tells of every parameter what it may be, unless it is opaque", () => {
  const methods = ["get", "post", "put", "patch", "delete"] as const
  const untold = Object.values(document.paths).flatMap((path) =>
    methods.flatMap((method) => path[method]?.parameters ?? [])
      .flatMap(({ name, schema }) => Object.keys(schema).join() === "type" ? [name] : [])
  )
  expect([...new Set(untold)].sort()).toEqual(["authorization", "cursor", "since"])
})

it("gives each name to one schema: a second one of the same name has a number", () => {
  expect(Object.keys(document.components.schemas).filter((name) => /_\d+$/.test(name))).toEqual([])
})

it("tells of dates, times and rules what they may be", () => {
  const { Due, SentRecurrence, ShownDue } = document.components.schemas as Record<string, { properties?: object }>
  expect(Due?.properties).toMatchObject({
    date: { format: "date" },
    time: { pattern: expect.any(String) },
    time_zone: { description: expect.any(String) }
  })
  expect(ShownDue?.properties).toMatchObject({ date: { format: "date" } })
  expect(SentRecurrence?.properties).toMatchObject({ rule: { maxLength: 500, description: expect.any(String) } })
})

it("shows an example of every named schema", () => {
  const without = Object.entries(document.components.schemas).filter(([, schema]) => !("examples" in schema))
  expect(without.map(([name]) => name)).toEqual([])
})

it("stands alone: it imports the domain and Effect, nothing of the server", () => {
  for (const folder of ["api", "domain"]) {
    const directory = new URL(`../../src/${folder}/`, import.meta.url)
    for (const file of readdirSync(directory)) {
      const imports = [...readFileSync(new URL(file, directory), "utf8").matchAll(/from "([^"]+)"/g)].map(([, from]) =>
        from
      )
      const foreign = imports.filter((from) => !/^(?:effect(?:\/.*)?|\.\/\w+\.ts|\.\.\/domain\/\w+\.ts)$/.test(from!))
      expect(foreign, `${folder}/${file}`).toEqual([])
    }
  }
})
