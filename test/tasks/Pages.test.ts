import fc from "fast-check"
import { beforeAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import {
  create,
  createMany,
  families,
  having,
  listAll,
  newId,
  nextOf,
  patch,
  remove,
  type TaskAnswer
} from "./families.ts"

const server = useServer()
let user: Account
let other: Account
/** Twelve tasks of the user, every third completed, with ties and microseconds apart in created_at. */
const made: Array<TaskAnswer> = []

const createdAt = (account: Account, id: string, at: string) =>
  server.sql("update tasks set created_at = $1::timestamptz where user_id = $2 and id = $3", [at, account.id, id])

const seed = async (account: Account, count: number) => {
  const tasks: Array<TaskAnswer> = []
  for (let index = 0; index < count; index++) {
    const task = await create(server, account, { title: `task ${index}` })
    tasks.push(index % 3 === 0 ? await patch(server, account, task.id, { completed: true }) : task)
    // Two share each instant, and instants differ by a microsecond: milliseconds can't tell any of them apart.
    const micros = String(100 + Math.floor(index / 2)).padStart(6, "0")
    await createdAt(account, task.id, `2026-01-01T00:00:00.${micros}Z`)
  }
  return tasks
}

beforeAll(async () => {
  user = await server.register()
  other = await server.register()
  made.push(...await seed(user, 12))
  for (let count = 0; count < 4; count++) await create(server, other, { title: "other" })
})

const list = (query: string, account = user, base = "/api/v1/tasks") =>
  server.request("GET", `${base}${query}`, { token: account.access_token })
const next = async (query: string, account = user) => nextOf(server, having(200, await list(query, account))) ?? ""
const cursorOf = (path: string) => new URL(path, server.url).searchParams.get("cursor") ?? ""

describe("a list of tasks", () => {
  it("is a bare array of exact tasks, newest first, 50 at a time", async () => {
    const many = await server.register()
    await createMany(server, many, 53, (index) => ({ title: `t${index}` }))
    const first = having(200, await list("", many))
    expect(Array.isArray(first.json)).toBe(true)
    expect(first.headers.get("content-type")).toMatch(/^application\/json(;|$)/)
    expect(first.json).toHaveLength(50)
    const second = having(200, await server.request("GET", nextOf(server, first) ?? "", { token: many.access_token }))
    expect(second.json).toHaveLength(3)
    expect(second.headers.get("link")).toBeNull()
    const all: ReadonlyArray<TaskAnswer> = [...first.json, ...second.json]
    expect(new Set(all.map((task) => task.id)).size).toBe(53)
    const times = all.map((task) => Date.parse(task.created_at))
    expect(times).toEqual([...times].sort((a, b) => b - a))
    const single = having(200, await server.request("GET", `/api/v1/tasks/${all[0]?.id}`, { token: many.access_token }))
    expect(single.json).toEqual(all[0])
  })

  it("is empty, without a link, for a user without tasks", async () => {
    const answer = having(200, await list("", await server.register()))
    expect(answer.json).toEqual([])
    expect(answer.headers.get("link")).toBeNull()
  })

  it("has no link when the last page is exactly full", async () => {
    expect(having(200, await list("?limit=12")).headers.get("link")).toBeNull()
    expect(having(200, await list("?limit=11")).headers.get("link")).not.toBeNull()
  })

  it("is filtered by completed", async () => {
    const titles = async (query: string) => (await listAll(server, user, query)).map((task) => task.title).sort()
    const expected = (completed: boolean) =>
      made.filter((task) => task.completed === completed).map((task) => task.title).sort()
    expect(expected(true)).toHaveLength(4)
    expect(await titles("?completed=true")).toEqual(expected(true))
    expect(await titles("?completed=false&limit=3")).toEqual(expected(false))
    expect(await titles("")).toHaveLength(12)
  })

  it("is sorted by created_at, to the microsecond, in both directions", async () => {
    const group = (task: TaskAnswer) => Math.floor(made.findIndex(({ id }) => id === task.id) / 2)
    const ascending = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    for (const limit of [1, 2, 3, 5, 100]) {
      expect((await listAll(server, user, `?sort=created_at&limit=${limit}`)).map(group)).toEqual(ascending)
      expect((await listAll(server, user, `?sort=-created_at&limit=${limit}`)).map(group))
        .toEqual([...ascending].reverse())
      expect((await listAll(server, user, `?limit=${limit}`)).map(group)).toEqual([...ascending].reverse())
    }
  })

  it("gives the same order on every page size, ties included", async () => {
    for (const sort of ["created_at", "-created_at"]) {
      const whole = (await listAll(server, user, `?sort=${sort}&limit=100`)).map((task) => task.id)
      for (const limit of [1, 2, 3, 4, 5, 7, 11]) {
        expect((await listAll(server, user, `?sort=${sort}&limit=${limit}`)).map((task) => task.id)).toEqual(whole)
      }
    }
  })
})

describe("Link", () => {
  it.each(families)("repeats every parameter and sets only cursor, under $name", async ({ tasks }) => {
    const queries = [
      "",
      "limit=1",
      "limit=1&sort=created_at",
      "completed=false&limit=2&sort=-created_at",
      "sort=created_at&limit=1&completed=true"
    ]
    const many = await server.register()
    await createMany(server, many, 51)
    const some = (await listAll(server, many)).slice(0, 5)
    await Promise.all(some.map(({ id }) => patch(server, many, id, { completed: true })))
    for (const query of queries) {
      const given = [...new URLSearchParams(query)].sort()
      let path = `${tasks(many)}${query === "" ? "" : `?${query}`}`
      const cursors: Array<string> = []
      for (let page = 0; page < (query === "" ? 1 : 3); page++) {
        const answer = having(200, await server.request("GET", path, { token: many.access_token }))
        const target = new URL(nextOf(server, answer) ?? "", server.url)
        expect(target.pathname).toBe(tasks(many))
        const parameters = [...target.searchParams]
        expect(parameters.filter(([name]) => name !== "cursor").sort()).toEqual(given)
        const own = parameters.filter(([name]) => name === "cursor").map(([, value]) => value)
        expect(own).toHaveLength(1)
        cursors.push(...own)
        path = `${target.pathname}${target.search}`
      }
      expect(new Set(cursors).size).toBe(cursors.length)
    }
  })

  it("may be followed with another limit, because a cursor is a place and not a page", async () => {
    const whole = (await listAll(server, user, "?sort=created_at&limit=100")).map((task) => task.id)
    const cursor = encodeURIComponent(cursorOf(await next("?sort=created_at&limit=2")))
    const rest = having(200, await list(`?sort=created_at&limit=7&cursor=${cursor}`))
    expect(rest.json.map((task: TaskAnswer) => task.id)).toEqual(whole.slice(2, 9))
  })

  it("leads on when the task at which the page ended is deleted", async () => {
    const many = await server.register()
    const tasks = await seed(many, 6)
    const first = having(200, await list("?sort=created_at&limit=3", many))
    const link = nextOf(server, first) ?? ""
    await remove(server, many, first.json[2].id)
    const rest = having(200, await server.request("GET", link, { token: many.access_token })).json
    const seen = first.json.map((task: TaskAnswer) => task.id)
    expect(rest.map((task: TaskAnswer) => task.id).sort())
      .toEqual(tasks.map((task) => task.id).filter((id) => !seen.includes(id)).sort())
  })
})

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
/** The same cursor with the highest bit of one letter turned, which no decoder may overlook. */
const flipped = (cursor: string, at: number) => {
  const place = alphabet.indexOf(cursor[at] ?? "")
  return `${cursor.slice(0, at)}${place < 0 ? "A" : alphabet[place ^ 32]}${cursor.slice(at + 1)}`
}

describe("a cursor", () => {
  const refused = async (cursor: string, rest = "&limit=2", account = user) =>
    expectProblem(await list(`?cursor=${encodeURIComponent(cursor)}${rest}`, account), 400, "invalid_cursor")

  it("R55 that is cut is refused", async () => {
    const cursor = cursorOf(await next("?limit=2"))
    expect(cursor.length).toBeGreaterThan(8)
    for (const length of [0, 1, 2, 8, cursor.length >> 1, cursor.length - 4, cursor.length - 2]) {
      await refused(cursor.slice(0, length))
      await refused(cursor.slice(cursor.length - length))
    }
  })

  it("R55 with any letter changed is refused", async () => {
    const cursor = cursorOf(await next("?limit=2"))
    for (let at = 0; at < cursor.length; at++) await refused(flipped(cursor, at))
  })

  it("R55 that was put together by hand or is 10 KB long is refused", async () => {
    const position = { created_at: "2026-01-01T00:00:00Z", id: newId() }
    const cursor = cursorOf(await next("?limit=2"))
    const forged = [
      JSON.stringify(position),
      Buffer.from(JSON.stringify(position)).toString("base64url"),
      Buffer.from(`${position.created_at},${position.id}`).toString("base64"),
      `${cursor}${cursor}`,
      `${cursor}.${cursor}`,
      "A".repeat(10_000),
      `${cursor}${"A".repeat(10_000)}`,
      "0",
      "null",
      "undefined",
      "\u0000",
      "' or 1=1 --",
      "é🎉"
    ]
    for (const one of forged) await refused(one)
  })

  it("R55 of another user is refused, in both families, and shows none of that user's rows", async () => {
    const cursor = cursorOf(await next("?limit=2"))
    await refused(cursor, "&limit=2", other)
    for (const { tasks } of families) {
      const answer = await list(`?limit=2&cursor=${encodeURIComponent(cursor)}`, other, tasks(other))
      expectProblem(answer, 400, "invalid_cursor")
    }
  })

  it("R55 under another filter or sort is refused", async () => {
    const plain = cursorOf(await next("?limit=2"))
    for (const rest of ["&limit=2&completed=true", "&limit=2&completed=false", "&limit=2&sort=created_at"]) {
      await refused(plain, rest)
    }
    const open = cursorOf(await next("?limit=2&completed=false"))
    for (const rest of ["&limit=2", "&limit=2&completed=true", "&limit=2&completed=false&sort=created_at"]) {
      await refused(open, rest)
    }
    const ascending = cursorOf(await next("?limit=2&sort=created_at"))
    for (const rest of ["&limit=2", "&limit=2&sort=-created_at"]) await refused(ascending, rest)
  })

  it("R55 as it was given is accepted", async () => {
    for (const query of ["?limit=2", "?limit=2&completed=false", "?limit=2&sort=created_at"]) {
      having(200, await server.request("GET", await next(query), { token: user.access_token }))
    }
  })
})

describe("the query of a list", () => {
  const refused = async (query: string) => {
    const answer = await list(`?${query}`)
    expectProblem(answer, 422, "validation_failed")
    expect(answer.json.errors.length).toBeGreaterThan(0)
    for (const fault of answer.json.errors) expect(fault.pointer).toMatch(/^\?/)
    return answer
  }

  it.each([
    "sort=password_hash",
    "sort=title;drop",
    "sort=title%3Bdrop%20table%20tasks",
    "sort=created_at;drop",
    "sort=created_at%20desc",
    "sort=id",
    "sort=user_id",
    "sort=version",
    "sort=",
    "sort",
    "sort=-",
    "sort=--created_at",
    "sort=%2Bcreated_at",
    "sort=CREATED_AT",
    "sort=%20created_at",
    "sort=created_at,",
    "sort=created_at,password_hash",
    "sort=created_at,created_at",
    "sort=created_at,-created_at",
    "sort=created_at&sort=-created_at",
    "sort=created_at&sort=created_at",
    "sort[]=created_at",
    "sort=__proto__",
    "sort=constructor",
    "sort=toString",
    "order=DESCC",
    "order=desc",
    "order_by=created_at",
    "status[]=x",
    "status=open",
    "completed=",
    "completed",
    "completed=1",
    "completed=yes",
    "completed=TRUE",
    "completed=null",
    "completed=true,false",
    "completed=true&completed=true",
    "completed=true&completed=false",
    "completed[]=true",
    "completed[$ne]=true",
    "Completed=true",
    "user_id=01890000-0000-7000-8000-000000000000",
    "__proto__=1",
    "__proto__[polluted]=1",
    "constructor=1",
    "=1",
    "foo=bar"
  ])("R56 %s is refused", async (query) => {
    await refused(query)
  })

  it("R56 points at the parameter that is wrong, one entry for each", async () => {
    const answer = await refused("sort=password_hash&limit=0&completed=x&foo=1")
    expect(answer.json.errors.map((fault: { pointer: string }) => fault.pointer).sort())
      .toEqual(["?completed", "?foo", "?limit", "?sort"])
  })

  it("R56 a cursor that is given twice is refused", async () => {
    const cursor = encodeURIComponent(cursorOf(await next("?limit=2")))
    await refused(`limit=2&cursor=${cursor}&cursor=${cursor}`)
  })

  const numbers = [
    "-1",
    "0",
    "-0",
    "101",
    "2147483647",
    "2147483648",
    "9007199254740992",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "1e400",
    "-1e400",
    "1.5",
    "0.5",
    "100.000001",
    "NaN",
    "Infinity",
    "-Infinity",
    "",
    "abc",
    "null",
    "1,2",
    "1;drop",
    "10abc",
    "٣",
    "１０"
  ]

  it.each(numbers)("R58 limit=%s is refused", async (value) => {
    const answer = await refused(`limit=${encodeURIComponent(value)}`)
    expect(answer.json.errors[0].pointer).toBe("?limit")
  })

  it("R58 a repeated limit, and an offset or page of any value, are refused", async () => {
    for (const query of ["limit=1&limit=1", "limit=1&limit=2", "limit[]=1", "Limit=1", "limit"]) await refused(query)
    for (const name of ["offset", "page", "skip"]) {
      for (const value of ["0", "1", "-1", "9223372036854775808", "1e400", ""]) await refused(`${name}=${value}`)
    }
  })

  it("R58 limits of 1 and of 100 are accepted", async () => {
    expect(having(200, await list("?limit=1")).json).toHaveLength(1)
    expect(having(200, await list("?limit=100")).json).toHaveLength(12)
  })
})

describe("walking pages while others write", () => {
  type Churn = "create" | "complete" | "reopen" | "rename" | "delete" | "restore" | "rename a steady task"
  const churn = fc.constantFrom<Churn>(
    "create",
    "complete",
    "reopen",
    "rename",
    "delete",
    "restore",
    "rename a steady task"
  )
  const scenario = fc.record({
    limit: fc.integer({ min: 1, max: 7 }),
    sort: fc.constantFrom(undefined, "created_at", "-created_at"),
    completed: fc.constantFrom(undefined, "true", "false"),
    family: fc.constantFrom(...families),
    /** What happens during each page, as far as pages go. */
    during: fc.array(fc.array(fc.tuple(churn, fc.nat()), { maxLength: 3 }), { maxLength: 8 })
  })

  it("misses and repeats no task that matched throughout", async () => {
    const walker = await server.register()
    const steady = await seed(walker, 14)
    const moving = [...await seed(walker, 6)]
    const own = { token: walker.access_token }
    const matches = (task: TaskAnswer, completed: string | undefined) =>
      completed === undefined || String(task.completed) === completed

    const act = async (kind: Churn, seedOfChoice: number) => {
      const path = `/api/v1/tasks/${moving[seedOfChoice % moving.length]?.id}`
      const allowed = [200, 201, 404]
      const send = async (method: string, target: string, body?: unknown) => {
        const answer = await server.request(method, target, { ...own, ...(body === undefined ? {} : { body }) })
        if (!allowed.includes(answer.status)) throw new Error(`${method} ${target}: ${answer.status} ${answer.text}`)
        return answer
      }
      switch (kind) {
        case "create": {
          const answer = await send("POST", "/api/v1/tasks", { title: "new" })
          moving.push(answer.json)
          // Half of the new ones land in the middle of the order, where a page by number would shift.
          if (seedOfChoice % 2 === 0) {
            await createdAt(walker, answer.json.id, `2026-01-01T00:00:00.00010${seedOfChoice % 7}Z`)
          }
          return
        }
        case "complete":
          return void await send("PATCH", `${path}/complete`)
        case "reopen":
          return void await send("PATCH", `${path}/complete`, { completed: false })
        case "rename":
          return void await send("PATCH", path, { title: "renamed" })
        case "delete":
          return void await send("DELETE", path)
        case "restore":
          return void await send("POST", `${path}/restore`)
        case "rename a steady task":
          return void await send("PATCH", `/api/v1/tasks/${steady[seedOfChoice % steady.length]?.id}`, {
            title: `steady ${seedOfChoice}`
          })
      }
    }

    await fc.assert(
      fc.asyncProperty(scenario, async ({ limit, sort, completed, family, during }) => {
        const query = new URLSearchParams({
          limit: String(limit),
          ...(sort === undefined ? {} : { sort }),
          ...(completed === undefined ? {} : { completed })
        })
        const seen: Array<TaskAnswer> = []
        let path: string | undefined = `${family.tasks(walker)}?${query}`
        for (let page = 0; path !== undefined; page++) {
          const [answer] = await Promise.all([
            server.request("GET", path, own),
            ...(during[page] ?? []).map(([kind, choice]) => act(kind, choice))
          ])
          const tasks: ReadonlyArray<TaskAnswer> = having(200, answer).json
          path = nextOf(server, answer)
          expect(tasks.length).toBeLessThanOrEqual(limit)
          if (path !== undefined) expect(tasks.length).toBe(limit)
          expect(tasks.every((task) => matches(task, completed) && task.deleted_at === null)).toBe(true)
          expect(tasks.every((task) => task.user_id === walker.id)).toBe(true)
          seen.push(...tasks)
          expect(page).toBeLessThan(200)
        }
        const times = seen.map((task) => Date.parse(task.created_at))
        expect(times).toEqual([...times].sort((a, b) => sort === "created_at" ? a - b : b - a))
        const ids = seen.map((task) => task.id)
        for (const task of steady) {
          const times = ids.filter((id) => id === task.id).length
          expect({ id: task.id, times }).toEqual({ id: task.id, times: matches(task, completed) ? 1 : 0 })
        }
      }),
      { numRuns: 15, endOnFailure: true }
    )
  }, 30_000)
})
