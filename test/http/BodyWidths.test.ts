/** Bodies that are as long as is allowed, and nothing but faults: the answer is short, and the server goes on. */
import { beforeAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { create, having, newId } from "../tasks/families.ts"

const server = useServer()
let user: Account
beforeAll(async () => {
  user = await server.register()
})

const post = (path: string, raw: string) =>
  server.request("POST", path, { token: user.access_token, headers: { "content-type": "application/json" }, raw })

const bulkBody = 1024 * 1024
const body = 128 * 1024

/** As many as there is room for between two parts of a text. */
const filling = (size: number, before: string, item: (index: number) => string, after: string) => {
  const items: Array<string> = []
  for (let left = size - before.length - after.length, index = 0;; index++) {
    const next = item(index)
    left -= next.length + 1
    if (left < 0) break
    items.push(next)
  }
  return before + items.join(",") + after
}
const operations = (operation: (index: number) => string, count = 100) =>
  `{"mode":"partial","operations":[${Array.from({ length: count }, (_, index) => operation(index)).join(",")}]}`
const unknownMembers = (count: number) => Array.from({ length: count }, (_, index) => `"m${index}":1`).join(",")

const bulk = "/api/v1/tasks/bulk/delete"
const batch = "/api/v1/tasks/batch"
const tasks = "/api/v1/tasks"

const wide: ReadonlyArray<readonly [what: string, path: string, raw: () => string, pointer: string]> = [
  ["ids that are empty", bulk, () => filling(bulkBody, `{"ids":[`, () => `""`, "]}"), "/ids"],
  ["ids that are numbers", bulk, () => filling(bulkBody, `{"ids":[`, () => "1", "]}"), "/ids"],
  [
    "operations that are numbers",
    batch,
    () => filling(bulkBody, `{"mode":"atomic","operations":[`, () => "1", "]}"),
    "/operations"
  ],
  [
    "operations that are empty",
    batch,
    () => filling(bulkBody, `{"mode":"atomic","operations":[`, () => "{}", "]}"),
    "/operations"
  ],
  ["members that nobody knows", batch, () => filling(bulkBody, `{`, (index) => `"${index}":1`, "}"), ""],
  ["items that nobody asked for", batch, () => filling(bulkBody, `[`, () => "1", "]"), ""],
  [
    "an operation with members that nobody knows",
    batch,
    () => operations(() => `{"op":"create",${unknownMembers(5_000)},"task":{"title":"a"}}`, 1),
    "/operations/0"
  ],
  ["tags that are numbers", tasks, () => filling(body, `{"title":"a","tags":[`, () => "1", "]}"), "/tags"],
  [
    "reminders that are numbers",
    tasks,
    () => filling(body, `{"title":"a","reminders":[`, () => "1", "]}"),
    "/reminders"
  ]
]

describe("a body with more items or members than any schema takes", () => {
  it.each(wide)("is one fault: %s", async (_, path, raw, pointer) => {
    const answer = await post(path, raw())
    expectProblem(answer, 422, "validation_failed")
    expect(answer.json.errors).toEqual([{ pointer, code: "invalid_value", detail: expect.stringContaining("100") }])
  })
})

describe("a body with very many faults", () => {
  const faulty: ReadonlyArray<readonly [what: string, path: string, raw: () => string]> = [
    [
      "operations with members that nobody knows",
      batch,
      () => operations(() => `{"op":"create",${unknownMembers(99)}}`)
    ],
    [
      "operations with wrong tags",
      batch,
      () => operations(() => `{"op":"create","task":{"title":1,"tags":[${Array(100).fill(1).join(",")}]}}`)
    ],
    ["ids that are none", bulk, () => `{"ids":[${Array(100).fill(`"${"a".repeat(100)}"`).join(",")}],"x":1}`]
  ]
  it.each(faulty)("is told of 100: %s", async (_, path, raw) => {
    const answer = await post(path, raw())
    expectProblem(answer, 422, "validation_failed")
    expect(answer.json.errors).toHaveLength(100)
    expect(answer.text.length).toBeLessThan(64 * 1024)
  })

  it("is so in a query, too", async () => {
    const query = Array.from({ length: 1_000 }, (_, index) => `q${index}=1`).join("&")
    const answer = await server.request("GET", `${tasks}?${query}`, { token: user.access_token })
    expectProblem(answer, 422, "validation_failed")
    expect(answer.json.errors).toHaveLength(100)
  })
})

it("what is no JSON, or deeper than any schema, is refused as ever", async () => {
  const deep = `{"title":${"[".repeat(60_000)}${"]".repeat(60_000)}}`
  const answer = await post(tasks, deep)
  expectProblem(answer, 422, "validation_failed")
  expect(answer.json.errors).toEqual([{ pointer: "/title", code: "invalid_type", detail: expect.any(String) }])
  expectProblem(await post(tasks, "[".repeat(60_000)), 400, "malformed_body")
})

it("what fits is done, however long", async () => {
  const operation = () => `{"op":"create","task":{"title":"a","description":"${"a".repeat(1_000)}"}}`
  const answer = await post(batch, operations(operation))
  expect(having(200, answer).json.results).toHaveLength(100)
  const { id } = await create(server, user)
  const ids = [id, ...Array.from({ length: 99 }, () => newId())]
  having(200, await server.request("POST", bulk, { token: user.access_token, body: { ids } }))
})
