/** docs/tasks.md leaves out nothing that a list or a batch can be asked for. */
import { readFileSync } from "node:fs"
import { expect, it } from "vitest"
import { OpenApi } from "effect/http-api"
import { Api } from "../../src/api/Api.ts"
import { Operation } from "../../src/api/TaskBulk.ts"
import { sortKeys } from "../../src/domain/TaskQuery.ts"

const markdown = readFileSync(new URL("../../docs/tasks.md", import.meta.url), "utf8")
const section = (heading: string) => markdown.split(`\n## ${heading}\n`)[1]!.split("\n## ")[0]!

/** Those that the text does not have as code, alone or with a value. */
const missing = (names: ReadonlyArray<string>, text: string) =>
  names.filter((name) => !new RegExp(`\`${name}[\`=]`).test(text))

it("names every parameter of a list", () => {
  const parameters = OpenApi.fromApi(Api).paths["/api/v1/tasks"]!.get!.parameters
    .flatMap(({ in: place, name }) => place === "query" ? [name] : [])
  expect(parameters.length).toBeGreaterThan(8)
  expect(missing(parameters, markdown)).toEqual([])
})

it("names every key of an order, and every operation", () => {
  expect(missing(sortKeys, section("Sort"))).toEqual([])
  const operations = Operation.members.map(({ fields }) => fields.op.literal)
  expect(operations).toContain("update")
  expect(missing(operations, section("Do several writes as one"))).toEqual([])
})
