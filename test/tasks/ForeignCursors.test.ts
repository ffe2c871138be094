import { beforeAll, describe, expect, it } from "vitest"
import { flipped } from "../support/cursors.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, type Answer, useServers } from "../support/TestServer.ts"
import { canonical, create, families, having, nextOf, remove, type TaskAnswer, userScoped } from "./families.ts"

const [server, second] = useServers(2)
let user: Account
let other: Account
beforeAll(async () => {
  user = await server.register()
  other = await server.register()
  for (const account of [user, other]) {
    for (let index = 0; index < 6; index++) {
      await create(server, account, { title: `task ${index % 2}`, priority: "high", tags: ["a", "b"] })
    }
    for (let index = 0; index < 3; index++) {
      const { id } = await create(server, account, { title: `task ${index}`, priority: "high", tags: ["a", "b"] })
      await remove(server, account, id)
    }
  }
})

const list = (path: string, query: string, account = user, on = server): Promise<Answer> =>
  on.request("GET", `${path}?${query}`, { token: account.access_token })

const cursorAfter = async (path: string, query: string, account = user): Promise<string> => {
  const next = nextOf(server, having(200, await list(path, query, account)))
  if (next === undefined) throw new Error(`no next page of ${query}`)
  return encodeURIComponent(new URL(next, server.url).searchParams.get("cursor")!)
}

const idsOf = (answer: Answer): ReadonlyArray<string> => having(200, answer).json.map(({ id }: TaskAnswer) => id)

describe.each(families)("R55 a cursor of GET $name", ({ tasks }) => {
  const base = "limit=2&priority=high&tag=a&q=task&sort=title"

  it("of somebody else, at the same place of the same query, is refused", async () => {
    const theirs = await cursorAfter(tasks(other), base, other)
    expectProblem(await list(tasks(user), `${base}&cursor=${theirs}`), 400, "invalid_cursor")
    for (const theirBase of ["limit=2", "limit=2&sort=priority", "limit=2&deleted=true"]) {
      const cursor = await cursorAfter(tasks(other), theirBase, other)
      expectProblem(await list(tasks(user), `${theirBase}&cursor=${cursor}`), 400, "invalid_cursor")
    }
  })

  it("is refused when any filter or the sort has changed", async () => {
    const cursor = await cursorAfter(tasks(user), base)
    for (
      const changed of [
        "limit=2&priority=high&tag=a&q=task",
        "limit=2&priority=high&tag=a&q=task&sort=-title",
        "limit=2&priority=high&tag=a&q=task&sort=title,created_at",
        "limit=2&priority=high&tag=a&q=task&sort=created_at",
        "limit=2&priority=high&tag=a&q=tas&sort=title",
        "limit=2&priority=high&tag=a&sort=title",
        "limit=2&priority=high&tag=b&q=task&sort=title",
        "limit=2&priority=high&tag=a&tag=b&q=task&sort=title",
        "limit=2&priority=high&q=task&sort=title",
        "limit=2&priority=high,low&tag=a&q=task&sort=title",
        "limit=2&tag=a&q=task&sort=title",
        `${base}&completed=false`,
        `${base}&deleted=true`,
        `${base}&updated_since=1970-01-01T00:00:00Z`
      ]
    ) {
      const answer = await list(tasks(user), `${changed}&cursor=${cursor}`)
      expect({ changed, status: answer.status }).toEqual({ changed, status: 400 })
      expectProblem(answer, 400, "invalid_cursor")
    }
  })

  it("goes on under another limit, another count and on another instance", async () => {
    const whole = idsOf(await list(tasks(user), base.replace("limit=2", "limit=100")))
    const cursor = await cursorAfter(tasks(user), base)
    for (const limit of [1, 3, 100]) {
      const page = await list(
        tasks(user),
        `${base.replace("limit=2", `limit=${limit}`)}&cursor=${cursor}`,
        user,
        second
      )
      expect(idsOf(page)).toEqual(whole.slice(2, 2 + limit))
    }
    const counted = await list(tasks(user), `${base}&count=exact&cursor=${cursor}`)
    expect([idsOf(counted), counted.headers.get("x-total-count")]).toEqual([whole.slice(2, 4), "6"])
    const withDefault = await list(tasks(user), `${base.replace("limit=2&", "")}&cursor=${cursor}`)
    expect(idsOf(withDefault)).toEqual(whole.slice(2))
  })

  it("goes on in whatever order the parameters stand", async () => {
    const cursor = await cursorAfter(tasks(user), base)
    const turned = `cursor=${cursor}&${base.split("&").reverse().join("&")}`
    expect(idsOf(await list(tasks(user), turned))).toEqual(idsOf(await list(tasks(user), `${base}&cursor=${cursor}`)))
  })

  it("that was cut, lengthened or changed anywhere is refused", { timeout: 60_000 }, async () => {
    const cursor = await cursorAfter(tasks(user), "limit=2")
    const changed = [
      ...["", "%20", "=", "null", "undefined", "0", "-1", "%00", "%FF", "..%2F", "e30", "e30=", "A".repeat(10_000)],
      ...[`${cursor}=`, `${cursor}==`, `${cursor}A`, `${cursor}%20`, `%20${cursor}`, `${cursor}%00`, `${cursor}.`],
      ...[`${cursor}${cursor}`, cursor.toLowerCase(), cursor.split("").reverse().join("")],
      ...Array.from({ length: cursor.length }, (_, length) => cursor.slice(0, length)),
      ...Array.from({ length: cursor.length }, (_, at) => flipped(cursor, at))
    ]
    for (const one of changed) {
      const answer = await list(tasks(user), `limit=2&cursor=${one}`)
      expect({ one: one.slice(0, 300), status: answer.status }).toEqual({ one: one.slice(0, 300), status: 400 })
      expectProblem(answer, 400, "invalid_cursor")
    }
    having(200, await list(tasks(user), `limit=2&cursor=${cursor}`))
  })

  it("is not one of the changes, nor the other way round", async () => {
    const { tasks: path } = { tasks: tasks(user) }
    const changes = path.replace(/tasks$/, "changes")
    const { cursor: position } = having(200, await list(changes, "limit=1")).json
    expectProblem(await list(path, `cursor=${encodeURIComponent(position)}`), 400, "invalid_cursor")
    const since = await list(changes, `since=${await cursorAfter(path, "limit=2")}`)
    expectProblem(since, 400, "invalid_cursor")
  })

  it("of the trash goes on in the trash", async () => {
    const trash = "deleted=true&limit=1&sort=title,-created_at"
    const whole = idsOf(await list(tasks(user), trash.replace("limit=1", "limit=100")))
    expect(whole).toHaveLength(3)
    const cursor = await cursorAfter(tasks(user), trash)
    expect(idsOf(await list(tasks(user), `${trash}&cursor=${cursor}`))).toEqual(whole.slice(1, 2))
    expectProblem(
      await list(tasks(user), `${trash.replace("deleted=true&", "")}&cursor=${cursor}`),
      400,
      "invalid_cursor"
    )
  })
})

describe("R55 a cursor", () => {
  it("of one family goes on in the other", async () => {
    const query = "limit=2&sort=-title"
    const whole = idsOf(await list("/api/v1/tasks", "limit=100&sort=-title"))
    for (const [from, to] of [[canonical, userScoped], [userScoped, canonical]] as const) {
      const cursor = await cursorAfter(from.tasks(user), query)
      expect(idsOf(await list(to.tasks(user), `${query}&cursor=${cursor}`))).toEqual(whole.slice(2, 4))
    }
  })

  it("survives that its own task and those around it are changed or gone", async () => {
    const account = await server.register()
    const made: Array<TaskAnswer> = []
    for (let index = 0; index < 8; index++) made.push(await create(server, account, { title: `t${index}` }))
    const first = having(200, await list("/api/v1/tasks", "limit=3&sort=title", account))
    const cursor = await cursorAfter("/api/v1/tasks", "limit=3&sort=title", account)
    await remove(server, account, made[2]!.id)
    await remove(server, account, made[3]!.id)
    await server.request("PATCH", `/api/v1/tasks/${made[1]!.id}`, {
      token: account.access_token,
      body: { title: "t9" }
    })
    await create(server, account, { title: "t4a" })
    await create(server, account, { title: "t0a" })
    const rest = having(200, await list("/api/v1/tasks", `limit=100&sort=title&cursor=${cursor}`, account)).json
    expect(first.json.map(({ title }: TaskAnswer) => title)).toEqual(["t0", "t1", "t2"])
    expect(rest.map(({ title }: TaskAnswer) => title)).toEqual(["t4", "t4a", "t5", "t6", "t7", "t9"])
  })

  it("under a secret that is exchanged is refused or goes on, and a new one works", async () => {
    const query = "limit=2&sort=title"
    const cursor = await cursorAfter("/api/v1/tasks", query)
    await server.restart({
      JWT_SECRET: "another test secret of more than 32 bytes",
      JWT_SECRET_PREVIOUS: server.secret
    })
    const answer = await list("/api/v1/tasks", `${query}&cursor=${cursor}`)
    if (answer.status !== 200) expectProblem(answer, 400, "invalid_cursor")
    having(200, await list("/api/v1/tasks", `${query}&cursor=${await cursorAfter("/api/v1/tasks", query)}`))
    await server.restart({})
  })
})
