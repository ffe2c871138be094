import fc from "fast-check"
import { beforeAll, describe, expect, it } from "vitest"
import { send } from "../http/exchange.ts"
import { flipped } from "../support/cursors.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServers } from "../support/TestServer.ts"
import {
  changedMembers,
  create,
  createMany,
  expired,
  families,
  type Family,
  having,
  listAll,
  newId,
  nextOf,
  patch,
  pointersOf,
  read,
  remove,
  shown,
  type TaskAnswer
} from "../tasks/families.ts"

const [server, second] = useServers(2)
let stranger: Account
beforeAll(async () => {
  stranger = await server.register()
})

interface Page {
  readonly changes: ReadonlyArray<TaskAnswer>
  readonly cursor: string
  readonly has_more: boolean
}

const pathOf = ({ tasks }: Family, account: Pick<Account, "id">) => tasks(account).replace(/\/tasks$/, "/changes")
const ask = (account: Account, query = "", path = "/api/v1/changes", from = server) =>
  from.request("GET", `${path}${query}`, { token: account.access_token })

/** One page, whose form is checked. */
const page = async (account: Account, query = "", path = "/api/v1/changes", from = server): Promise<Page> => {
  const answer = having(200, await ask(account, query, path, from))
  expect(answer.headers.get("content-type")).toMatch(/^application\/json(;|$)/)
  expect(answer.headers.get("x-request-id")).toBeTruthy()
  expect(Object.keys(answer.json).sort()).toEqual(["changes", "cursor", "has_more"])
  const { changes, cursor, has_more }: Page = answer.json
  for (const task of changes) {
    expect(Object.keys(task).sort()).toEqual(changedMembers)
    expect(task.user_id).toBe(account.id)
  }
  const versions = changes.map((task) => task.version)
  expect(versions).toEqual([...new Set(versions)].sort((a, b) => a - b))
  expect(new Set(changes.map((task) => task.id)).size).toBe(changes.length)
  expect(cursor).toMatch(/^[\w.~-]+$/)
  expect(has_more).toBeTypeOf("boolean")
  return { ...answer.json, changes: changes.map(shown) }
}

const after = (cursor: string, rest = "") => `?since=${encodeURIComponent(cursor)}${rest}`

/** All pages from here on. */
const walk = async (account: Account, limit: number, since?: string) => {
  const pages: Array<Page> = []
  let query = since === undefined ? `?limit=${limit}` : after(since, `&limit=${limit}`)
  do {
    const one = await page(account, query)
    expect(one.changes.length).toBeLessThanOrEqual(limit)
    pages.push(one)
    query = after(one.cursor, `&limit=${limit}`)
    expect(pages.length).toBeLessThan(200)
  } while (pages.at(-1)?.has_more)
  return { changes: pages.flatMap(({ changes }) => changes), cursor: pages.at(-1)?.cursor ?? "", pages }
}

const titles = (tasks: ReadonlyArray<TaskAnswer>) => tasks.map(({ title }) => title)
const restore = async (account: Account, id: string): Promise<TaskAnswer> =>
  having(200, await server.request("POST", `/api/v1/tasks/${id}/restore`, { token: account.access_token })).json

/** A user with tasks t0, t1, … at versions 1, 2, … */
const withTasks = async (count: number) => {
  const account = await server.register()
  const tasks: Array<TaskAnswer> = []
  for (let index = 0; index < count; index++) tasks.push(await create(server, account, { title: `t${index}` }))
  return { account, tasks, id: (index: number) => tasks[index]?.id ?? "" }
}

const deletedFor = (account: Account, id: string, age: string) =>
  server.sql(`update tasks set deleted_at = now() - interval '${age}' where user_id = $1 and id = $2`, [account.id, id])

describe.each(families)("GET $name as changes", (family) => {
  it("without since is every live task, in the order of version", async () => {
    const { account, id } = await withTasks(5)
    await patch(server, account, id(0), { title: "t0 changed" })
    await remove(server, account, id(2))
    await patch(server, account, id(1), { completed: true })
    const { changes, has_more } = await page(account, "", pathOf(family, account))
    expect(titles(changes)).toEqual(["t3", "t4", "t0 changed", "t1"])
    expect(changes.map(({ version }) => version)).toEqual([4, 5, 6, 8])
    expect(has_more).toBe(false)
  })

  it("shows each task exactly as GET of the task shows it", async () => {
    const account = await server.register()
    const full = { title: " Grüße 🎉 ", description: 'line\n"two"\u2028', priority: "urgent", tags: ["Ä", "b"] }
    const made = [await create(server, account), await create(server, account, full)]
    await patch(server, account, made[0]?.id ?? "", { completed: true })
    const { changes } = await page(account, "", pathOf(family, account))
    expect(changes).toHaveLength(2)
    for (const task of changes) expect(task).toEqual(await read(server, account, task.id))
  })

  it("since a cursor is each changed task once, in its latest state, with tombstones", async () => {
    const { account, id } = await withTasks(5)
    const path = pathOf(family, account)
    const { cursor } = await page(account, "", path)
    await patch(server, account, id(3), { title: "once" })
    await patch(server, account, id(0), { title: "a" })
    await patch(server, account, id(0), { title: "b" })
    await remove(server, account, id(1))
    await create(server, account, { title: "new" })
    await patch(server, account, id(0), { title: "c" })
    const next = await page(account, after(cursor), path, second)
    expect(titles(next.changes)).toEqual(["once", "t1", "new", "c"])
    expect(next.has_more).toBe(false)
    for (const task of next.changes) {
      if (task.title !== "t1") expect(task).toEqual(await read(server, account, task.id))
    }
    const tombstone = next.changes[1]
    expect(tombstone).toMatchObject({ id: id(1), version: 9, completed: false })
    expect(Math.abs(Date.parse(tombstone?.deleted_at ?? "") - Date.now())).toBeLessThan(60_000)
    expect(next.changes.filter(({ deleted_at }) => deleted_at !== null)).toHaveLength(1)
  })

  it("gives a cursor that goes on when nothing has changed", async () => {
    const { account, id } = await withTasks(2)
    const path = pathOf(family, account)
    let { cursor } = await page(account, "", path)
    for (let times = 0; times < 3; times++) {
      const idle = await page(account, after(cursor), path)
      expect(idle).toMatchObject({ changes: [], has_more: false })
      cursor = idle.cursor
    }
    await patch(server, account, id(0), { title: "changed" })
    expect(titles((await page(account, after(cursor), path)).changes)).toEqual(["changed"])
  })

  it("gives a user without tasks a cursor that is good for later", async () => {
    const account = await server.register()
    const path = pathOf(family, account)
    const empty = await page(account, "", path)
    expect(empty).toMatchObject({ changes: [], has_more: false })
    const task = await create(server, account)
    expect((await page(account, after(empty.cursor), path)).changes).toEqual([task])
  })

  it("shows a restored task as alive", async () => {
    const { account, id } = await withTasks(2)
    const path = pathOf(family, account)
    const { cursor } = await page(account, "", path)
    await remove(server, account, id(0))
    const gone = await page(account, after(cursor), path)
    expect(gone.changes[0]?.deleted_at).not.toBeNull()
    const restored = await restore(account, id(0))
    expect(restored.deleted_at).toBeNull()
    expect((await page(account, after(gone.cursor), path)).changes).toEqual([restored])
    expect((await page(account, after(cursor), path)).changes).toEqual([restored])
    expect((await page(account, "", path)).changes).toEqual([await read(server, account, id(1)), restored])
  })

  it("answers HEAD as GET without a body", async () => {
    const { account } = await withTasks(1)
    const headers = { authorization: `Bearer ${account.access_token}` }
    const answer = await send(server, "HEAD", pathOf(family, account), { headers })
    expect(answer).toMatchObject({ status: 200, text: "" })
    expect(answer.headers.get("content-type")).toMatch(/^application\/json(;|$)/)
    for (const [query, status] of [["?since=x", 400], ["?limit=0", 422]] as const) {
      const refused = await send(server, "HEAD", `${pathOf(family, account)}${query}`, { headers })
      expect(refused).toMatchObject({ status, text: "" })
    }
  })

  it("is 401 without a live session, whatever the query", async () => {
    const account = await server.register()
    const path = pathOf(family, account)
    for (const query of ["", "?since=x", "?limit=0"]) {
      expectProblem(await server.request("GET", `${path}${query}`), 401, "token_missing")
      expectProblem(await server.request("GET", `${path}${query}`, { token: "x.y.z" }), 401, "token_invalid")
      const late = expired(server, account.access_token)
      expectProblem(await server.request("GET", `${path}${query}`, { token: late }), 401, "token_expired")
    }
    having(204, await server.request("POST", "/api/v1/auth/logout", { token: account.access_token }))
    expectProblem(await ask(account, "", path), 401, "session_revoked")
  })
})

describe("another user", () => {
  it("R50 is refused under the path, before the query is looked at", async () => {
    const { account } = await withTasks(1)
    const { cursor } = await page(account)
    for (const query of ["", after(cursor), "?since=x", "?limit=0", "?bogus=1"]) {
      expectProblem(await ask(stranger, query, `/api/${account.id}/changes`), 403, "forbidden")
    }
  })

  it("R50 sees nothing of this user's changes and moves nothing of them", async () => {
    const [a, b] = [await withTasks(3), await withTasks(3)]
    const [mine, theirs] = [await page(a.account), await page(b.account)]
    await patch(server, b.account, b.id(0), { title: "b" })
    expect((await page(a.account, after(mine.cursor))).changes).toEqual([])
    await remove(server, a.account, a.id(0))
    expect(titles((await page(b.account, after(theirs.cursor))).changes)).toEqual(["b"])
  })
})

describe("the two families", () => {
  it("share cursors", async () => {
    const { account, id } = await withTasks(3)
    const [one, two] = families.map((family) => pathOf(family, account))
    const first = await page(account, "?limit=2", one)
    const rest = await page(account, after(first.cursor), two)
    expect(titles([...first.changes, ...rest.changes])).toEqual(["t0", "t1", "t2"])
    await remove(server, account, id(0))
    expect(titles((await page(account, after(rest.cursor), one)).changes)).toEqual(["t0"])
  })
})

describe("pages of changes", () => {
  it("are of 100 tasks unless limit asks for another size, up to 500", async () => {
    const account = await server.register()
    await createMany(server, account, 101)
    const first = await page(account)
    expect(first.changes).toHaveLength(100)
    expect(first.has_more).toBe(true)
    expect((await page(account, after(first.cursor))).changes).toHaveLength(1)
    expect((await page(account, "?limit=500")).changes).toHaveLength(101)
  })

  it("say has_more exactly while more follow", async () => {
    const { account, id } = await withTasks(4)
    const { cursor: start } = await walk(account, 500)
    for (const limit of [1, 2, 3, 4, 5]) {
      const { changes, pages } = await walk(account, limit)
      expect(titles(changes)).toEqual(["t0", "t1", "t2", "t3"])
      expect(pages).toHaveLength(Math.ceil(4 / limit))
    }
    for (const index of [0, 1, 2, 3]) await patch(server, account, id(index), { completed: true })
    for (const limit of [1, 2, 3, 4, 5]) {
      const { changes, pages } = await walk(account, limit, start)
      expect(titles(changes)).toEqual(["t0", "t1", "t2", "t3"])
      expect(pages).toHaveLength(Math.ceil(4 / limit))
    }
  })

  it("leave out tombstones that are older than the first read, on every page and after the last", async () => {
    const { account, id } = await withTasks(6)
    for (const index of [0, 3, 5]) await remove(server, account, id(index))
    for (const limit of [1, 2, 3, 4, 100]) {
      const { changes, cursor } = await walk(account, limit)
      expect(titles(changes)).toEqual(["t1", "t2", "t4"])
      expect((await page(account, after(cursor))).changes).toEqual([])
    }
    // also when the newest of the user's changes is not the end of what is alive
    await patch(server, account, id(1), { title: "t1 again" })
    await remove(server, account, id(2))
    const { changes, cursor } = await walk(account, 1)
    expect(titles(changes)).toEqual(["t4", "t1 again"])
    expect((await page(account, after(cursor))).changes).toEqual([])
  })

  it("show a task of an earlier page that was deleted meanwhile as a tombstone", async () => {
    const { account, id } = await withTasks(6)
    await remove(server, account, id(5))
    const first = await page(account, "?limit=2")
    expect(titles(first.changes)).toEqual(["t0", "t1"])
    await remove(server, account, id(0))
    await patch(server, account, id(1), { title: "t1 again" })
    const { changes } = await walk(account, 2, first.cursor)
    expect(changes.map(({ title, deleted_at }) => [title, deleted_at !== null])).toEqual([
      ["t2", false],
      ["t3", false],
      ["t4", false],
      ["t0", true],
      ["t1 again", false]
    ])
  })

  it("show what was written between them", async () => {
    const { account, id } = await withTasks(4)
    const first = await page(account, "?limit=2")
    await create(server, account, { title: "new" })
    await patch(server, account, id(2), { title: "t2 again" })
    const { changes } = await walk(account, 2, first.cursor)
    expect(titles(changes)).toEqual(["t3", "new", "t2 again"])
  })

  it("may be asked for again, with another limit too", async () => {
    const { account } = await withTasks(5)
    const { cursor } = await page(account, "?limit=2")
    const once = await page(account, after(cursor, "&limit=2"))
    expect((await page(account, after(cursor, "&limit=2"))).changes).toEqual(once.changes)
    expect(titles((await page(account, after(cursor, "&limit=500"))).changes)).toEqual(["t2", "t3", "t4"])
  })
})

describe("since", () => {
  const refused = async (account: Account, cursor: string) => {
    for (const family of families) {
      expectProblem(await ask(account, after(cursor), pathOf(family, account)), 400, "invalid_cursor")
    }
  }

  it("R55 that is cut is refused", async () => {
    const { account } = await withTasks(1)
    const { cursor } = await page(account)
    expect(cursor.length).toBeGreaterThan(8)
    for (const length of [0, 1, 2, 8, cursor.length >> 1, cursor.length - 4, cursor.length - 1]) {
      await refused(account, cursor.slice(0, length))
      await refused(account, cursor.slice(cursor.length - length))
    }
  })

  it("R55 with any letter changed is refused", async () => {
    const { account } = await withTasks(1)
    const { cursor } = await page(account)
    for (let at = 0; at < cursor.length; at++) await refused(account, flipped(cursor, at))
  })

  it("R55 that was put together by hand or is 10 KB long is refused", async () => {
    const { account } = await withTasks(1)
    const { cursor } = await page(account)
    const forged = [
      "0",
      "1",
      "-1",
      "null",
      "[0,0]",
      Buffer.from("[0,0]").toString("base64url"),
      Buffer.from('{"position":0,"floor":0}').toString("base64url"),
      new Date().toISOString(),
      newId(),
      `${cursor}${cursor}`,
      `${cursor}.${cursor}`,
      `${cursor} `,
      ` ${cursor}`,
      `${cursor}=`,
      "A".repeat(10_240),
      `${cursor}${"A".repeat(10_240)}`,
      "\u0000",
      "' or 1=1 --",
      "é🎉"
    ]
    for (const one of forged) await refused(account, one)
  })

  it("R55 of another user is refused and shows none of that user's rows", async () => {
    const { account } = await withTasks(2)
    await refused(stranger, (await page(account)).cursor)
    await refused(stranger, (await page(account, "?limit=1")).cursor)
  })

  it("R55 that was given by the list of tasks is refused, and the other way around", async () => {
    const { account } = await withTasks(3)
    for (const query of ["?limit=1", "?limit=1&sort=created_at"]) {
      const list = having(200, await ask(account, query, "/api/v1/tasks"))
      const link = new URL(nextOf(server, list) ?? "", server.url)
      await refused(account, link.searchParams.get("cursor") ?? "")
    }
    for (const { cursor } of [await page(account), await page(account, "?limit=1")]) {
      for (const { tasks } of families) {
        const answer = await ask(account, `?cursor=${encodeURIComponent(cursor)}`, tasks(account))
        expectProblem(answer, 400, "invalid_cursor")
      }
    }
  })
})

describe("the query of changes", () => {
  const refused = async (query: string, pointers: ReadonlyArray<string>) => {
    for (const family of families) {
      const answer = await ask(stranger, `?${query}`, pathOf(family, stranger))
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer)).toEqual(pointers)
    }
  }

  it.each([
    "-1",
    "0",
    "-0",
    "501",
    "2147483647",
    "2147483648",
    "9007199254740993",
    "9223372036854775808",
    "1e400",
    "-1e400",
    "1e2",
    "0x10",
    "+1",
    "1.0",
    "1.5",
    "500.000001",
    "NaN",
    "Infinity",
    "-Infinity",
    "",
    " ",
    "abc",
    "null",
    "1,2",
    "1;drop",
    "10abc",
    "٣",
    "１０",
    "\u0000"
  ])("R58 limit=%j is refused", async (value) => {
    await refused(`limit=${encodeURIComponent(value)}`, ["?limit"])
  })

  it("R58 repeated parameters are refused", async () => {
    const { cursor } = await page(stranger)
    await refused("limit=1&limit=1", ["?limit"])
    await refused("limit=1&limit=2", ["?limit"])
    await refused(`since=${cursor}&since=${cursor}`, ["?since"])
    await refused(`since=${cursor}&limit=1&limit=1&since=${cursor}`, ["?limit", "?since"])
  })

  it("R56 unknown parameters are refused, never ignored", async () => {
    const unknown = [
      "cursor",
      "foo",
      "Since",
      "Limit",
      "limit[]",
      "since[]",
      "user_id",
      "offset",
      "completed",
      "__proto__"
    ]
    for (const name of unknown) await refused(`${encodeURIComponent(name)}=1`, [`?${name}`])
    await refused("foo=1&limit=0", ["?foo", "?limit"])
  })

  it("R58 limits of 1 and of 500 are accepted", async () => {
    const { account } = await withTasks(2)
    expect((await page(account, "?limit=1")).changes).toHaveLength(1)
    expect((await page(account, "?limit=500")).changes).toHaveLength(2)
  })
})

describe("tombstones", () => {
  const purge = () => second.purge()
  const expectGone = async (account: Account, cursor: string) => {
    for (const family of families) {
      for (const from of [server, second]) {
        const path = pathOf(family, account)
        expectProblem(await ask(account, after(cursor), path, from), 410, "cursor_expired")
      }
    }
  }

  it("are not what a cursor from the future asks for: it is of a database that was newer than this one", async () => {
    const { account } = await withTasks(3)
    const { cursor: past } = await page(account, "?limit=2")
    const { cursor } = await page(account)
    await server.sql("delete from tasks where user_id = $1 and version = 3", [account.id])
    await server.sql("update user_sequences set last_version = 2 where user_id = $1", [account.id])
    await expectGone(account, cursor)
    expect((await page(account, after(past))).changes).toEqual([])
    await expectGone(account, cursor)
  })

  it("are kept for 45 days", async () => {
    const { account, id } = await withTasks(3)
    const { cursor } = await page(account)
    await remove(server, account, id(0))
    await deletedFor(account, id(0), "44 days 23 hours 59 minutes")
    expect(await purge()).toMatchObject({ tombstones: 0 })
    expect((await page(account, after(cursor))).changes).toMatchObject([{ id: id(0) }])
    await deletedFor(account, id(0), "45 days 1 minute")
    expect(await purge()).toMatchObject({ tombstones: 1 })
    await expectGone(account, cursor)
    const rows = await server.sql("select id from tasks where user_id = $1", [account.id])
    expect(rows).toHaveLength(2)
  })

  it("that are gone expire only the cursors of clients that needed them", async () => {
    const { account, id } = await withTasks(4)
    const before = await page(account)
    await remove(server, account, id(0)) // version 5
    const seen = await page(account, after(before.cursor))
    await patch(server, account, id(1), { title: "t1 again" }) // version 6
    await remove(server, account, id(2)) // version 7, not aged
    await deletedFor(account, id(0), "46 days")
    expect(await purge()).toMatchObject({ tombstones: 1 })
    await expectGone(account, before.cursor)
    expect(titles((await page(account, after(seen.cursor))).changes)).toEqual(["t1 again", "t2"])
    expect(await server.sql("select purged_version::text from user_sequences where user_id = $1", [account.id]))
      .toEqual([{ purged_version: "5" }])
  })

  it("that are gone don't expire a first read that began after the deletion, on any page", async () => {
    const { account, id } = await withTasks(5)
    await remove(server, account, id(4)) // version 6
    const begun = await page(account, "?limit=1")
    await deletedFor(account, id(4), "46 days")
    expect(await purge()).toMatchObject({ tombstones: 1 })
    const rest = await walk(account, 1, begun.cursor)
    expect(titles(rest.changes)).toEqual(["t1", "t2", "t3"])
    expect(titles((await walk(account, 1)).changes)).toEqual(["t0", "t1", "t2", "t3"])
    await patch(server, account, id(0), { title: "t0 again" })
    expect(titles((await page(account, after(rest.cursor))).changes)).toEqual(["t0 again"])
  })

  it("that are gone expire a first read that began before the deletion", async () => {
    const { account, id } = await withTasks(3)
    const begun = await page(account, "?limit=1")
    await remove(server, account, id(0))
    await create(server, account, { title: "new" })
    await deletedFor(account, id(0), "46 days")
    expect(await purge()).toMatchObject({ tombstones: 1 })
    await expectGone(account, begun.cursor)
  })

  it("of another user expire nothing", async () => {
    const [a, b] = [await withTasks(2), await withTasks(2)]
    const { cursor } = await page(a.account)
    await remove(server, b.account, b.id(0))
    await deletedFor(b.account, b.id(0), "46 days")
    expect(await purge()).toMatchObject({ tombstones: 1 })
    expect((await page(a.account, after(cursor))).changes).toEqual([])
  })

  it("are not made of live tasks, however old, nor of restored ones", async () => {
    const { account, id } = await withTasks(2)
    const { cursor } = await page(account)
    await remove(server, account, id(0))
    await restore(account, id(0))
    await server.sql(
      "update tasks set created_at = now() - interval '99 days', updated_at = now() - interval '99 days' where user_id = $1",
      [account.id]
    )
    expect(await purge()).toMatchObject({ tombstones: 0 })
    expect(titles((await page(account, after(cursor))).changes)).toEqual(["t0"])
  })

  it("of many users go in one run", async () => {
    const users = [await withTasks(2), await withTasks(2), await withTasks(2)]
    for (const { account, id } of users) {
      for (const index of [0, 1]) {
        await remove(server, account, id(index))
        await deletedFor(account, id(index), "46 days")
      }
    }
    expect(await purge()).toMatchObject({ tombstones: 6 })
    expect(await purge()).toMatchObject({ tombstones: 0 })
    for (const { account } of users) expect((await page(account)).changes).toEqual([])
  })
})

describe("a replica that follows the changes", () => {
  type Step = "create" | "rename" | "complete" | "delete" | "restore" | "purge" | "read"
  const step = fc.tuple(
    fc.constantFrom<Step>("create", "rename", "complete", "delete", "delete", "restore", "purge", "read", "read"),
    fc.nat()
  )

  it("is equal to the server, whatever happens between the pages", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(step, { minLength: 10, maxLength: 25 }),
        async (limit, steps) => {
          const { account, tasks } = await withTasks(3)
          const ids = tasks.map(({ id }) => id)
          const own = { token: account.access_token }
          const replica = new Map<string, TaskAnswer>()
          let cursor: string | undefined
          let hasMore = true

          const follow = async () => {
            const answer = await ask(
              account,
              cursor === undefined ? `?limit=${limit}` : after(cursor, `&limit=${limit}`)
            )
            if (answer.status === 410) {
              replica.clear()
              cursor = undefined
              hasMore = true
              return
            }
            const { changes, cursor: next, has_more }: Page = having(200, answer).json
            for (const task of changes) {
              if (task.deleted_at === null) replica.set(task.id, shown(task))
              else replica.delete(task.id)
            }
            cursor = next
            hasMore = has_more
          }

          const act = async (kind: Step, choice: number) => {
            const path = `/api/v1/tasks/${ids[choice % ids.length]}`
            if (kind === "create") return void ids.push((await create(server, account, { title: `n${choice}` })).id)
            if (kind === "rename") return server.request("PATCH", path, { ...own, body: { title: `r${choice}` } })
            if (kind === "complete") return server.request("PATCH", `${path}/complete`, own)
            if (kind === "delete") return server.request("DELETE", path, own)
            if (kind === "restore") return server.request("POST", `${path}/restore`, own)
            if (kind === "read") return follow()
            await server.sql("update tasks set deleted_at = now() - interval '50 days' where deleted_at is not null")
            await server.purge()
          }

          for (const [kind, choice] of steps) await act(kind, choice)
          hasMore = true
          for (let pages = 0; hasMore; pages++) {
            await follow()
            expect(pages).toBeLessThan(100)
          }
          const byId = (a: TaskAnswer, b: TaskAnswer) => a.id < b.id ? -1 : 1
          expect([...replica.values()].sort(byId)).toEqual([...await listAll(server, account)].sort(byId))
        }
      ),
      { numRuns: 25, endOnFailure: true }
    )
  }, 30_000)

  it("misses nothing that was written at the same time on two instances", async () => {
    const { account, tasks } = await withTasks(5)
    const own = { token: account.access_token }
    const replica = new Map(tasks.map((task) => [task.id, task]))
    let { cursor } = await page(account)
    let writing = true
    let newest = tasks.at(-1)?.version ?? 0
    const follow = async (from: typeof server) => {
      const one = await page(account, after(cursor, "&limit=3"), "/api/v1/changes", from)
      for (const task of one.changes) {
        expect(task.version).toBeGreaterThan(newest)
        newest = task.version
        replica.set(task.id, task)
      }
      cursor = one.cursor
      return one.has_more
    }
    const writer = async (to: typeof server, index: number) => {
      for (let times = 0; times < 12; times++) {
        const id = tasks[(index + times) % tasks.length]?.id
        const body = { title: `${index} ${times}` }
        having(200, await to.request("PATCH", `/api/v1/tasks/${id}`, { ...own, body }))
        if (times % 4 === 0) await create(to, account, { title: `new ${index} ${times}` })
      }
    }
    const reader = async () => {
      for (let turn = 0; writing; turn++) await follow(turn % 2 === 0 ? server : second)
    }
    await Promise.all([
      reader(),
      Promise.all([0, 1, 2, 3, 4, 5].map((index) => writer(index % 2 === 0 ? server : second, index)))
        .finally(() => writing = false)
    ])
    while (await follow(server));
    const byId = (a: TaskAnswer, b: TaskAnswer) => a.id < b.id ? -1 : 1
    expect([...replica.values()].sort(byId)).toEqual([...await listAll(server, account)].sort(byId))
    expect(newest).toBe(5 + 6 * 15)
  })
})
