import fc from "fast-check"
import { beforeAll, describe, expect, it } from "vitest"
import { type Account, useServer } from "../support/TestServer.ts"
import { create, families, type Family, having, listAll, nextOf, remove, type TaskAnswer } from "./families.ts"

const server = useServer()
let user: Account

const priorities = ["none", "low", "medium", "high", "urgent"]
const titles = [
  ...["a", "A", "b", "B", "Z", "z", "_", "10", "9", "a b", "ab", "a-b", "~"],
  ...["ä", "z\u0301", "é", "e\u0301", "ß", "😀", "\uFFFD", "ﬀ", "中", "\u{10FFFD}", "i\u0307", "ı"]
]

beforeAll(async () => {
  user = await server.register()
  const token = user.access_token
  // what one batch makes has one instant, so that every key has ties
  for (let part = 0; part < 2; part++) {
    const operations = Array.from({ length: 30 }, (_, index) => ({
      op: "create",
      task: {
        title: titles[(index * 7 + part) % titles.length],
        priority: priorities[(index + part) % 5],
        tags: index % 3 === 0 ? ["x", `t${index % 4}`] : []
      }
    }))
    const body = { mode: "atomic", operations }
    const { results } = having(200, await server.request("POST", "/api/v1/tasks/batch", { token, body })).json
    const ids = results.map(({ task }: { task: TaskAnswer }) => task.id)
    having(200, await server.request("POST", "/api/v1/tasks/bulk/complete", { token, body: { ids: ids.slice(0, 8) } }))
    having(
      200,
      await server.request("POST", "/api/v1/tasks/bulk/complete", { token, body: { ids: ids.slice(12, 14) } })
    )
    having(200, await server.request("POST", "/api/v1/tasks/bulk/delete", { token, body: { ids: ids.slice(6, 10) } }))
  }
})

const list = async (family: Family, query: string) =>
  having(200, await server.request("GET", `${family.tasks(user)}?${query}`, { token: user.access_token }))

/** All pages of this query, one after another. */
const walk = async (family: Family, query: string): Promise<ReadonlyArray<ReadonlyArray<TaskAnswer>>> => {
  const pages: Array<ReadonlyArray<TaskAnswer>> = []
  for (let answer = await list(family, query);;) {
    pages.push(answer.json)
    const next = nextOf(server, answer)
    if (next === undefined) return pages
    expect(pages.length, "pages end").toBeLessThan(200)
    answer = having(200, await server.request("GET", next, { token: user.access_token }))
  }
}

type Key = "created_at" | "updated_at" | "priority" | "title" | "completed_at"
const keys: ReadonlyArray<Key> = ["created_at", "updated_at", "priority", "title", "completed_at"]

const isAscii = (text: string) => /^[\x20-\x7e]*$/.test(text)

/** How two tasks compare by this key; undefined where that is left to the database, as the case of a foreign letter. */
const compared = (key: Key, descending: boolean, a: TaskAnswer, b: TaskAnswer): number | undefined => {
  const turn = descending ? -1 : 1
  if (key === "priority") return turn * Math.sign(priorities.indexOf(a.priority) - priorities.indexOf(b.priority))
  if (key === "title") {
    if (a.title === b.title) return 0
    const [one, two] = [a.title, b.title].map((title) => isAscii(title) ? title.toLowerCase() : title) as [
      string,
      string
    ]
    return turn * Buffer.compare(Buffer.from(one), Buffer.from(two))
  }
  const [one, two] = [a[key], b[key]]
  if (one === null || two === null) return one === two ? 0 : one === null ? 1 : -1
  const by = Date.parse(one) - Date.parse(two)
  // shown to the millisecond and stored to the microsecond
  return by === 0 ? undefined : turn * Math.sign(by)
}

const expectSorted = (tasks: ReadonlyArray<TaskAnswer>, sort: string) => {
  const by = sort.split(",").map((one) => ({ key: one.replace("-", "") as Key, descending: one.startsWith("-") }))
  for (const [index, task] of tasks.entries()) {
    const next = tasks[index + 1]
    if (next === undefined) return
    for (const { descending, key } of by) {
      const order = compared(key, descending, task, next)
      if (order === undefined || order < 0) break
      expect(Math.abs(order), `${sort}: ${JSON.stringify([task, next])}`).toBe(0)
    }
  }
}

const sorts = fc.shuffledSubarray([...keys], { minLength: 1 }).chain((chosen) =>
  fc.tuple(...chosen.map((key) => fc.boolean().map((descending) => descending ? `-${key}` : key)))
).map((chosen) => chosen.join(","))

describe.each(families)("sort of GET $name", (family) => {
  it.each([
    ...keys,
    ...keys.map((key) => `-${key}`),
    "completed_at,title",
    "-completed_at,-title",
    "-priority,completed_at,title",
    "title,-completed_at,created_at",
    "priority,-title,completed_at,-updated_at,created_at"
  ])("by %s keeps its order over pages of one", async (sort) => {
    const [whole = []] = await walk(family, `limit=100&sort=${sort}`)
    expect(whole).toHaveLength(52)
    expectSorted(whole, sort)
    expect((await walk(family, `limit=1&sort=${sort}`)).map(([task]) => task)).toEqual(whole)
  })

  it.each(["completed_at", "-completed_at"])("by %s has what is not completed last", async (sort) => {
    const [whole = []] = await walk(family, `limit=100&sort=${sort}`)
    const completed = whole.map(({ completed_at }) => completed_at !== null)
    expect(completed).toEqual([...completed].sort((a, b) => Number(b) - Number(a)))
    expect(completed.filter((is) => is)).toHaveLength(16)
    const open = await walk(family, `limit=3&sort=${sort}&completed=false`)
    expect(open.flat().map(({ id }) => id).toSorted()).toEqual(
      whole.filter(({ completed_at }) => completed_at === null).map(({ id }) => id).toSorted()
    )
  })

  it("by a key that is the same for all goes through all", async () => {
    const query = "priority=high&completed=false&sort=priority,completed_at"
    const [whole = []] = await walk(family, `limit=100&${query}`)
    expect(whole.length).toBeGreaterThan(3)
    for (const limit of [1, 2, 3]) expect((await walk(family, `limit=${limit}&${query}`)).flat()).toEqual(whole)
  })

  it("by a key that is named twice is refused, or goes through all", async () => {
    for (
      const sort of ["title,title", "title,-title", "-priority,title,priority", "created_at,-created_at,created_at"]
    ) {
      const answer = await server.request("GET", `${family.tasks(user)}?sort=${sort}&limit=7`, {
        token: user.access_token
      })
      if (answer.status !== 422) {
        expect(new Set((await walk(family, `sort=${sort}&limit=7`)).flat().map(({ id }) => id)).size).toBe(52)
      }
    }
  })

  it(
    "by any keys, of any filter, in pages of any size gives each task once and in order",
    { timeout: 60_000 },
    async () => {
      const live = await listAll(server, user)
      const deleted = await listAll(server, user, "?deleted=true&limit=100")
      const filters = fc.record({
        completed: fc.constantFrom("true", "false"),
        priority: fc.shuffledSubarray(priorities, { minLength: 1 }).map((some) => some.join(",")),
        tag: fc.constantFrom("X", "x", "t0", "T2"),
        deleted: fc.constant("true"),
        q: fc.constantFrom("a", "A", "x", "b", "9"),
        updated_since: fc.constantFrom(...live).map(({ updated_at }) => updated_at)
      }, { requiredKeys: [] })
      // most filters leave too few tasks for pages
      const filter = fc.oneof({
        weight: 2,
        arbitrary: fc.constant<typeof filters extends fc.Arbitrary<infer A> ? A : never>({})
      }, { weight: 1, arbitrary: filters })
      const limits = fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 1, max: 9 }) }, {
        weight: 1,
        arbitrary: fc.integer({ min: 10, max: 60 })
      })
      await fc.assert(
        fc.asyncProperty(sorts, filter, limits, async (sort, filter, limit) => {
          const query = new URLSearchParams({ ...filter, sort, limit: String(limit), count: "exact" }).toString()
          const pages = await walk(family, query)
          const walked = pages.flat()
          for (const page of pages.slice(0, -1)) expect(page).toHaveLength(limit)
          expectSorted(walked, sort)
          const expected = (filter.deleted ? deleted : live).filter((task) =>
            (filter.completed === undefined || task.completed === (filter.completed === "true")) &&
            (filter.priority === undefined || filter.priority.split(",").includes(task.priority)) &&
            (filter.tag === undefined || task.tags.includes(filter.tag.toLowerCase())) &&
            (filter.updated_since === undefined || Date.parse(task.updated_at) >= Date.parse(filter.updated_since))
          ).map(({ id }) => id)
          const ids = walked.map(({ id }) => id)
          expect(new Set(ids).size, "each once").toBe(ids.length)
          if (filter.q === undefined) expect(ids.toSorted()).toEqual(expected.toSorted())
          else for (const id of ids) expect(expected).toContain(id)
          const counted = await list(family, `${query.replace(/limit=\d+/, "limit=1")}`)
          expect(counted.headers.get("x-total-count")).toBe(String(ids.length))
          if (ids.length <= 100) {
            expect((await list(family, query.replace(/limit=\d+/, "limit=100"))).json).toEqual(walked)
          }
        }),
        { numRuns: 30 }
      )
    }
  )
})

it("gives every task that nobody touches exactly once while others come and go", { timeout: 60_000 }, async () => {
  const account = await server.register()
  const token = account.access_token
  const sometimes: Array<string> = []
  const staying: Array<string> = []
  for (let index = 0; index < 30; index++) {
    const { id } = await create(server, account, { title: `${"abc"[index % 3]}`, priority: priorities[index % 2]! })
    if (index % 3 === 0) sometimes.push(id)
    else staying.push(id)
  }
  for (const sort of ["-created_at", "title", "-priority,title", "updated_at", "-completed_at"]) {
    const seen: Array<string> = []
    let path: string | undefined = `/api/v1/tasks?limit=3&sort=${sort}`
    for (let page = 0; path !== undefined; page++) {
      const answer = having(200, await server.request("GET", path, { token }))
      seen.push(...answer.json.map(({ id }: TaskAnswer) => id))
      path = nextOf(server, answer)
      const gone = sometimes.shift()
      if (gone !== undefined && page < 6) {
        await remove(server, account, gone)
        sometimes.push((await create(server, account, { title: "abc"[page % 3]!, priority: priorities[page % 2]! })).id)
      } else if (gone !== undefined) sometimes.push(gone)
      expect(page).toBeLessThan(60)
    }
    expect(seen.filter((id) => staying.includes(id)).toSorted(), sort).toEqual(staying.toSorted())
    expect(new Set(seen).size, sort).toBe(seen.length)
  }
})
