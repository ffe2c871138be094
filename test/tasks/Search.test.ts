import { beforeAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { create, having, listAll, patch, remove, type TaskAnswer } from "./families.ts"

const server = useServer()
let user: Account

const search = async (q: string, account = user, more = "") =>
  (await listAll(server, account, `?q=${encodeURIComponent(q)}&sort=title${more}`)).map(({ title }) => title)

describe("a search", () => {
  beforeAll(async () => {
    user = await server.register()
    const other = await server.register()
    const tasks: ReadonlyArray<Record<string, unknown>> = [
      { title: "Straße fegen", description: "vor dem Haus", tags: ["Übung"] },
      { title: "Crème brûlée", description: "élève, naïve; Œuvre", tags: ["à faire"] },
      { title: "IŞIK ve ılık İstanbul", description: null },
      { title: "東京で買い物をする", description: "ガラス" },
      { title: "ซื้อนมและไข่", description: "ที่ตลาด" },
      { title: "don't panic", description: "100% sure_thing \\ 'quoted' :* & | !", tags: ["a:*b"] },
      { title: "ΟΔΟΣ", description: "Σίσυφος" },
      { title: "x".repeat(200), description: "y".repeat(1_000) }
    ]
    for (const task of tasks) {
      await create(server, user, task)
      await create(server, other, task)
    }
  })

  const found: ReadonlyArray<readonly [q: string, title: string]> = [
    ["strasse", "Straße fegen"],
    ["STRASSE", "Straße fegen"],
    ["straße haus", "Straße fegen"],
    ["stra feg ubu", "Straße fegen"],
    ["Übung", "Straße fegen"],
    ["creme", "Crème brûlée"],
    ["BRÛLÉE eleve", "Crème brûlée"],
    ["A Faire", "Crème brûlée"],
    ["istanbul", "IŞIK ve ılık İstanbul"],
    ["ISTANBUL ilik", "IŞIK ve ılık İstanbul"],
    ["ışık", "IŞIK ve ılık İstanbul"],
    ["東京", "東京で買い物をする"],
    ["買い物", "東京で買い物をする"],
    ["ガラス", "東京で買い物をする"],
    ["นม", "ซื้อนมและไข่"],
    ["ตลาด", "ซื้อนมและไข่"],
    ["don't", "don't panic"],
    ["sure_", "don't panic"],
    ["100", "don't panic"],
    ["οδός", "ΟΔΟΣ"],
    ["ΣΙΣΥΦΟΣ", "ΟΔΟΣ"],
    ["x".repeat(100), "x".repeat(200)],
    ["y".repeat(60), "x".repeat(200)]
  ]
  it.each(found)("for %s finds it", async (q, title) => {
    expect(await search(q)).toEqual([title])
  })

  const nothing = [
    "fegen wasser",
    "asse",
    "rulee",
    "straßen",
    "anbul",
    "ラス",
    "&",
    "%",
    "_",
    "\\",

    ":*",
    "''",
    " ",
    "",
    "!"
  ]
  it.each(nothing)("for %j finds nothing", async (q) => {
    expect(await search(q)).toEqual([])
  })

  it("R59 takes no sign for a wildcard or for syntax", async () => {
    for (const q of ["%", "_", "\\", "a\\", "' | '", "don & !panic", "panic:*", "a <-> b", "(", "'", '"don"']) {
      having(200, await server.request("GET", `/api/v1/tasks?q=${encodeURIComponent(q)}`, { token: user.access_token }))
    }
    for (const q of ["%_".repeat(2_000), "a".repeat(101)]) {
      const answer = await server.request("GET", `/api/v1/tasks?q=${encodeURIComponent(q)}`, {
        token: user.access_token
      })
      expectProblem(answer, 422, "validation_failed")
    }
    expect(await search("100% sure")).toEqual(["don't panic"])
    expect(await search("d_n")).toEqual([])
  })

  it("finds what a task says now, and no longer what it said", async () => {
    const account = await server.register()
    const one: TaskAnswer = await create(server, account, { title: "apple", description: "pear", tags: ["plum"] })
    await patch(server, account, one.id, { title: "cherry" })
    expect([await search("apple", account), await search("pear", account), await search("plum", account)])
      .toEqual([[], ["cherry"], ["cherry"]])
    await patch(server, account, one.id, { description: null, tags: ["fig"] })
    expect([await search("pear", account), await search("plum", account), await search("cherry fig", account)])
      .toEqual([[], [], ["cherry"]])
    await patch(server, account, one.id, { completed: true })
    expect(await search("cherry", account, "&completed=true&tag=FIG")).toEqual(["cherry"])
    await remove(server, account, one.id)
    expect(await search("cherry", account)).toEqual([])
    expect(await search("cherry", account, "&deleted=true")).toEqual(["cherry"])
  })
})
