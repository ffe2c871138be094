import { beforeAll, describe, expect, it } from "vitest"
import { send } from "../http/exchange.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { checksum, create, families, having, nextOf, pointersOf, remove, userScoped } from "./families.ts"

const server = useServer()
let user: Account
let other: Account
let ids: ReadonlyArray<string>
beforeAll(async () => {
  user = await server.register()
  other = await server.register()
  ids = []
  for (const title of ["one", "two", "three"]) {
    ids = [...ids, (await create(server, user, { title, priority: "high", tags: ["Home", "é"] })).id]
  }
  const { id } = await create(server, user, { title: "gone", priority: "high", tags: ["Home"] })
  await remove(server, user, id)
  await create(server, other, { title: "one", priority: "high", tags: ["Home"] })
})

/** Values that say nothing a parameter could mean, as they stand in a URL. */
const wrong: Record<string, ReadonlyArray<string>> = {
  limit: [
    ...["", "-1", "0", "-0", "101", "1.5", "NaN", "Infinity", "1e400", "1e-1", "2147483648", "9007199254740993"],
    ...["9223372036854775808", "null", "true", "5%00", "5;sort=title", "%D9%A5", "%EF%BC%95", "5,6", "[5]", "1_0"]
  ],
  completed: ["", "TRUE", "True", "1", "0", "yes", "null", "true,false", "true%00", "%20true", "[]", "undefined"],
  deleted: ["", "false", "TRUE", "1", "all", "true%00", "true,true"],
  priority: [
    ...["", "High", "HIGH", "bogus", "high,", ",high", "high,,low", "high;low", "high%00", "none,bogus", "3", ","],
    ...["__proto__", "constructor", "toString", "high|low", "*", "%25"]
  ],
  tag: ["", "%20", "%00", "a%00b", "%E2%80%83", "a".repeat(51), "%F0%9F%98%80".repeat(51)],
  updated_since: [
    ...[
      "",
      "infinity",
      "-infinity",
      "now",
      "today",
      "epoch",
      "0",
      "1700000000",
      "0000-01-01",
      "9999-12-31",
      "2026-11-20"
    ],
    ...["0000-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z", "294277-01-01T00:00:00Z", "%2B275760-09-13T00:00:00Z"],
    ...["10000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-20T25:00:00Z"],
    ...["2026-11-20T09:53:19", "2026-11-20T09:61:00Z", "2026-11-20T09:53:19Z%00", "%202026-11-20T09:53:19Z"],
    ...["2026-W47-5T00:00:00Z", "20261120T095319Z", "2026-11-20T09:53:19Z;", "Fri, 20 Nov 2026 09:53:19 GMT"]
  ],
  q: ["a".repeat(101), "%F0%9F%98%80".repeat(101), "a%00", "%00", "%25_".repeat(2_500)],
  sort: [
    ...[
      "",
      "-",
      "--title",
      "title,",
      ",title",
      ",",
      "TITLE",
      "Title",
      "title%20desc",
      "title desc",
      "%2Btitle",
      "+title"
    ],
    ...["password_hash", "title;drop", "title%3Bdrop%20table%20tasks", "title%00", "id", "user_id", "version"],
    ...["deleted_at", "tags", "search", "1", "lower(title)", "__proto__", "constructor", "hasOwnProperty", "toString"],
    ...["title:desc", "title.desc", "created_at,bogus", "%2Dtitle-", "-title,--priority", "title\u00a0", "description"],
    Array.from({ length: 1_000 }, () => "bogus").join(",")
  ],
  count: ["", "EXACT", "Exact", "true", "estimated", "planned", "1", "exact%00", "exact,exact"]
}

/** Values that some servers take and others refuse. */
const doubtful: Record<string, ReadonlyArray<string>> = {
  limit: ["+5", "%2B5", "%205", "5%20", "05", "1e1", "0x10", "5.0"],
  priority: ["high,high", "high, low", "high,%20low"],
  updated_since: [
    ...["2026-11-20T09:53:19%2B00:00", "2026-11-20t09:53:19z", "2026-11-20T09:53:60Z", "2026-11-20T24:00:00Z"],
    ...["2026-11-20T09:53:19.1234567890123Z", "2026-11-20%2009:53:19Z", "2026-11-20T09:53:19-00:00"]
  ],
  tag: ["%FF", "%ED%A0%80", "%zz", "%", "%C0%80", "%E0%A4%A", "a\\", "{a}", "%22", "'", "a,b", "null", "%EF%BB%BF"],
  q: ["%FF", "%ED%A0%80", "%zz", "%", "%C0%80", "%u0000"],
  sort: ["title,title", "title,-title", "-title,title,created_at,-title", "created_at,".repeat(50) + "title"],
  completed: ["%74rue"]
}

const list = (path: string, query: string, account = user) =>
  server.request("GET", `${path}?${query}`, { token: account.access_token })

const cases = (of: Record<string, ReadonlyArray<string>>) =>
  Object.entries(of).flatMap(([name, values]) => values.map((value) => ({ name, value })))

describe.each(families)("GET $name", ({ tasks }) => {
  it.each(Object.keys(wrong))("R56 R58 R60 refuses what %s cannot mean, and says where", async (name) => {
    for (const value of wrong[name]!) {
      const answer = await list(tasks(user), `${name}=${value}`)
      expect({ value: value.slice(0, 60), status: answer.status }).toEqual({ value: value.slice(0, 60), status: 422 })
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer), value).toEqual([`?${name}`])
    }
  })

  it("R56 refuses a parameter that is there twice, unless it may be", async () => {
    const good: Record<string, string> = {
      limit: "5",
      completed: "true",
      deleted: "true",
      priority: "high",
      updated_since: "2026-11-20T09:53:19Z",
      q: "one",
      sort: "title",
      count: "exact"
    }
    for (const [name, value] of Object.entries(good)) {
      having(200, await list(tasks(user), `${name}=${value}`))
      for (const twice of [`${name}=${value}&${name}=${value}`, `${name}=${value}&limit=5&${name}=`]) {
        const answer = await list(tasks(user), name === "limit" ? `limit=5&limit=6` : twice)
        expectProblem(answer, 422, "validation_failed")
        expect(pointersOf(answer), twice).toContain(`?${name}`)
      }
    }
    const cursor = /[?&]cursor=([^&]+)/.exec(nextOf(server, await list(tasks(user), "limit=1"))!)![1]
    const answer = await list(tasks(user), `limit=1&cursor=${cursor}&cursor=${cursor}`)
    expect([400, 422]).toContain(answer.status)
    for (const spelling of ["%C3%A9", "%C3%89", "e%CC%81", "E%CC%81", "%20%C3%A9"]) {
      expect((await list(tasks(user), `tag=home&tag=${spelling}&tag=HOME`)).json, spelling).toHaveLength(3)
    }
  })

  it("refuses every name it does not know", async () => {
    const names = [
      ...[
        "offset",
        "page",
        "per_page",
        "Limit",
        "LIMIT",
        "limit%5B%5D",
        "limit[]",
        "tag[]",
        "tag%5B0%5D",
        "a[]",
        "status[]"
      ],
      ...[
        "filter[title]",
        "__proto__",
        "__proto__[x]",
        "constructor",
        "hasOwnProperty",
        "toString",
        "user_id",
        "owner"
      ],
      ...[
        "access_token",
        "token",
        "%00",
        "limit%00",
        "%20limit",
        "limit%20",
        "q%5B%5D",
        "fields",
        "where",
        "search",
        "_"
      ]
    ]
    for (const name of names) {
      const answer = await list(tasks(user), `${name}=1`)
      expect({ name, status: answer.status }).toEqual({ name, status: 422 })
      expectProblem(answer, 422, "validation_failed")
    }
    expectProblem(await list(tasks(user), "status=[]=x"), 422, "validation_failed")
    for (const none of ["", "&", "&&&"]) expect(having(200, await list(tasks(user), none)).json, none).toHaveLength(3)
    expect(having(200, await list(tasks(user), "%6cimit=1")).json).toHaveLength(1)
  })

  it("answers doubtful values clearly, and the good ones with own tasks only", async () => {
    for (const { name, value } of cases(doubtful)) {
      const answer = await send(server, "GET", `${tasks(user)}?${name}=${value.replaceAll(" ", "%20")}`, {
        headers: { authorization: `Bearer ${user.access_token}` }
      })
      expect([200, 400, 422], `${name}=${value}: ${answer.text}`).toContain(answer.status)
      if (answer.status === 200) {
        for (const { id } of answer.json) expect(ids, `${name}=${value}`).toContain(id)
      } else expect(answer.headers.get("content-type")).toMatch(/^application\/problem\+json/)
    }
  })

  it("names every fault of a query at once", async () => {
    const query = `limit=0&sort=bogus&q=${
      "a".repeat(101)
    }&count=all&completed=1&bogus=1&tag=&priority=x&updated_since=now`
    const answer = await list(tasks(user), query)
    expectProblem(answer, 422, "validation_failed")
    expect([...new Set(pointersOf(answer))]).toEqual(
      ["?bogus", "?completed", "?count", "?limit", "?priority", "?q", "?sort", "?tag", "?updated_since"]
    )
  })

  it("takes every parameter at once, together with the trash and the count", async () => {
    const query = `completed=false&priority=high,urgent&tag=home&tag=%C3%A9&updated_since=1970-01-01T00:00:00Z` +
      `&q=o&sort=-priority,title,created_at,updated_at,-completed_at&limit=1&count=exact`
    const answer = having(200, await list(tasks(user), query))
    expect(answer.json.map(({ title }: { title: string }) => title)).toEqual(["one"])
    expect(answer.headers.get("x-total-count")).toBe("1")
    expect(answer.headers.get("link")).toBeNull()
    const trash = having(
      200,
      await list(tasks(user), `${query.replace("&tag=%C3%A9", "").replace("q=o", "q=g")}&deleted=true`)
    )
    expect(trash.json.map(({ title }: { title: string }) => title)).toEqual(["gone"])
    expect(trash.headers.get("x-total-count")).toBe("1")
  })

  it("takes the ends of what is allowed", async () => {
    for (
      const query of [
        "limit=1",
        "limit=100",
        "updated_since=1970-01-01T00:00:00Z",
        "updated_since=9999-12-31T23:59:59.999999Z",
        `q=${"a".repeat(100)}`,
        `q=${"%F0%9F%98%80".repeat(100)}`,
        `tag=${"a".repeat(50)}`,
        `tag=${"%F0%9F%98%80".repeat(50)}`,
        "priority=none,low,medium,high,urgent",
        Array.from({ length: 20 }, (_, index) => `tag=t${index}`).join("&")
      ]
    ) {
      having(200, await list(tasks(user), query))
    }
    const many = await list(tasks(user), Array.from({ length: 1_000 }, (_, index) => `tag=t${index}`).join("&"))
    expect([200, 422], many.text).toContain(many.status)
    if (many.status === 200) expect(many.json).toEqual([])
  })

  it("counts the matching tasks on every page, and says nothing of a count unasked", async () => {
    let path: string | undefined = `${tasks(user)}?limit=1&count=exact&tag=home`
    let pages = 0
    for (; path !== undefined; pages++) {
      const answer = having(200, await server.request("GET", path, { token: user.access_token }))
      expect(answer.headers.get("x-total-count")).toBe("3")
      path = nextOf(server, answer)
    }
    expect(pages).toBe(3)
    expect((await list(tasks(user), "limit=1")).headers.get("x-total-count")).toBeNull()
  })

  it("repeats every parameter in its link and adds only the cursor", async () => {
    const query = new URLSearchParams([
      ["tag", "é"],
      ["tag", "Home"],
      ["sort", "-title,created_at"],
      ["updated_since", "1970-01-01T00:00:00Z"],
      ["priority", "urgent,high"],
      ["limit", "2"],
      ["count", "exact"],
      ["completed", "false"]
    ])
    const first = having(200, await list(tasks(user), query.toString()))
    const next = new URL(nextOf(server, first)!, server.url)
    expect(next.pathname).toBe(new URL(tasks(user), server.url).pathname)
    expect([...next.searchParams].filter(([name]) => name !== "cursor").sort()).toEqual([...query].sort())
    expect(next.searchParams.getAll("cursor")).toHaveLength(1)
    const last = having(200, await server.request("GET", next.pathname + next.search, { token: user.access_token }))
    expect([...first.json, ...last.json].map(({ title }) => title)).toEqual(["two", "three", "one"])
    expect(last.headers.get("link")).toBeNull()
  })

  it("is 401 and 403 before it is 422, and reads nothing of others", async () => {
    expectProblem(await server.request("GET", `${tasks(user)}?limit=0`), 401, "token_missing")
    expectProblem(await list(userScoped.tasks(other), "limit=0"), 403, "forbidden")
    for (const { id, user_id } of having(200, await list(tasks(user), "q=one&count=exact")).json) {
      expect([ids.includes(id), user_id]).toEqual([true, user.id])
    }
  })

  it("as HEAD says the same without a body", async () => {
    for (const query of ["limit=1&count=exact", "limit=0"]) {
      const get = await list(tasks(user), query)
      const answer = await server.request("HEAD", `${tasks(user)}?${query}`, { token: user.access_token })
      expect([answer.status, answer.text]).toEqual([get.status, ""])
      for (const name of ["x-total-count", "link"]) expect(answer.headers.get(name)).toBe(get.headers.get(name))
    }
  })
})

it("finds a tag by itself as a whole, whatever signs it is of", async () => {
  const account = await server.register()
  const tags = [
    ...["it's", "''", "\\", "a\\b", "\\'", "& | ! :*", "<->", "(a", "%", "_", "*", "😀", "a,b", "#", "##", "a:b", "#a"],
    ...["__proto__", "a b", "中文"]
  ]
  const ask = async (query: URLSearchParams) => (await list("/api/v1/tasks", query.toString(), account)).json.length
  const { id } = await create(server, account, { title: "unrelated", tags })
  await create(server, account, { title: tags.join(" ").slice(0, 200), tags: ["a", "b", "it", "中", "a b c"] })
  for (const tag of tags) expect([tag, await ask(new URLSearchParams({ tag }))]).toEqual([tag, 1])
  expect(await ask(new URLSearchParams(tags.map((tag): [string, string] => ["tag", tag])))).toBe(1)
  for (const tag of ["i", "its", "\\\\", "'", "##a", "___proto__", "b a", "文", "😀😀"]) {
    expect([tag, await ask(new URLSearchParams({ tag }))]).toEqual([tag, 0])
  }
  having(200, await server.request("PATCH", `/api/v1/tasks/${id}`, { token: account.access_token, body: { tags: [] } }))
  for (const tag of tags) expect([tag, await ask(new URLSearchParams({ tag }))]).toEqual([tag, 0])
})

it("changes nothing by any of it", async () => {
  const before = await checksum(server, user, other)
  for (const { name, value } of cases(wrong).filter(({ name }) => name === "sort" || name === "tag")) {
    await list("/api/v1/tasks", `${name}=${value}`)
  }
  expect(await checksum(server, user, other)).toEqual(before)
  expect(having(200, await list("/api/v1/tasks", "count=exact")).headers.get("x-total-count")).toBe("3")
})
