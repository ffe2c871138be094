/** docs/tasks.md leaves out nothing that a list or a batch can be asked for. */
import { expect, it } from "vitest"
import { OpenApi } from "effect/http-api"
import { Api } from "../../src/api/Api.ts"
import { Operation } from "../../src/api/TaskBulk.ts"
import { sortKeys } from "../../src/domain/TaskQuery.ts"
import { missing, textOf } from "./documents.ts"

const path = "docs/tasks.md"

it("names every parameter of a list", () => {
  const parameters = OpenApi.fromApi(Api).paths["/api/v1/tasks"]!.get!.parameters
    .flatMap(({ in: place, name }) => place === "query" ? [name] : [])
  expect(parameters.length).toBeGreaterThan(8)
  expect(missing(parameters, textOf(path))).toEqual([])
})

it("names every key of an order, and every operation", () => {
  expect(missing(sortKeys, textOf(path, "Sort"))).toEqual([])
  const operations = Operation.members.map(({ fields }) => fields.op.literal)
  expect(operations).toContain("update")
  expect(missing(operations, textOf(path, "Do several writes as one"))).toEqual([])
})
