import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServers } from "../support/TestServer.ts"
import { batch, bulk, resultsOf } from "./batches.ts"
import { dateIn, withinADay } from "./dated.ts"
import { create, families, type Family, having, listAll, remove, type TaskAnswer } from "./families.ts"

const servers = useServers(2)
const [server, second] = servers

const priorities = ["none", "low", "medium", "high", "urgent"]
const statsOf = async (account: Account, family: Family = families[0]!) =>
  having(200, await server.request("GET", `${family.tasks(account)}/stats`, { token: account.access_token })).json

interface Tally {
  readonly tag: string
  readonly open: number
  readonly completed: number
}

/** What its own numbers must say of each other, whenever it is asked. */
const expectConsistent = (stats: Awaited<ReturnType<typeof statsOf>>) => {
  expect(stats.total).toBe(stats.open + stats.completed)
  const by = Object.values(stats.by_priority) as ReadonlyArray<Tally>
  expect(Object.keys(stats.by_priority).sort()).toEqual([...priorities].sort())
  expect(by.reduce((sum, { open }) => sum + open, 0)).toBe(stats.open)
  expect(by.reduce((sum, { completed }) => sum + completed, 0)).toBe(stats.completed)
  if (stats.total === 0) expect(stats.completion_rate).toBeNull()
  else expect(stats.completion_rate).toBeCloseTo(stats.completed / stats.total, 3)
  expect(stats.by_tag.length).toBeLessThanOrEqual(50)
  const uses = stats.by_tag.map(({ completed, open }: Tally) => open + completed)
  expect(uses).toEqual([...uses].sort((a, b) => b - a))
  expect(stats.completed_by_day).toHaveLength(30)
  const completed = stats.completed_by_day.reduce((sum: number, { count }: { count: number }) => sum + count, 0)
  expect(completed).toBeLessThanOrEqual(stats.completed)
  const days = stats.completed_by_day.map(({ date }: { date: string }) => Date.parse(date))
  for (const [index, day] of days.entries()) if (index > 0) expect(day - days[index - 1]).toBe(86_400_000)
}

/** The same by counting tasks. */
const recount = (tasks: ReadonlyArray<TaskAnswer>) => {
  const of = (some: ReadonlyArray<TaskAnswer>) => ({
    open: some.filter(({ completed }) => !completed).length,
    completed: some.filter(({ completed }) => completed).length
  })
  const tags = [...new Set(tasks.flatMap(({ tags }) => tags.map((tag) => tag.toLowerCase())))]
  return {
    total: tasks.length,
    ...of(tasks),
    by_priority: Object.fromEntries(
      priorities.map((one) => [one, of(tasks.filter(({ priority }) => priority === one))])
    ),
    by_tag: tags.map((tag) => ({
      tag,
      ...of(tasks.filter(({ tags }) => tags.some((one) => one.toLowerCase() === tag)))
    })).sort((a, b) => a.tag < b.tag ? -1 : 1)
  }
}

const expectRecounted = async (account: Account, family?: Family) => {
  const stats = await statsOf(account, family)
  expectConsistent(stats)
  const { by_tag, ...rest } = recount(await listAll(server, account))
  expect(stats).toMatchObject(rest)
  const asked = stats.by_tag.map((one: Tally) => ({ ...one, tag: one.tag.toLowerCase() }))
  const inOrder = asked.sort((a: Tally, b: Tally) => a.tag < b.tag ? -1 : 1)
  if (by_tag.length <= 50) expect(inOrder).toEqual(by_tag)
  return stats
}

describe.each(families)("GET $name/stats", (family) => {
  it("of an account without tasks is all zeros, and has no rate", () =>
    withinADay("UTC", async () => {
      const account = await server.register()
      const stats = await statsOf(account, family)
      expectConsistent(stats)
      expect(stats).toMatchObject({ total: 0, open: 0, completed: 0, completion_rate: null, by_tag: [] })
      expect(stats.completed_by_day.every(({ count }: { count: number }) => count === 0)).toBe(true)
      expect(stats.completed_by_day.at(-1).date).toBe(dateIn("UTC", new Date()))
      const { id } = await create(server, account)
      expect((await statsOf(account, family)).completion_rate).toBe(0)
      await bulk(server, account, "complete", { ids: [id] })
      expect((await statsOf(account, family)).completion_rate).toBe(1)
      await remove(server, account, id)
      expect(await statsOf(account, family)).toEqual(stats)
    }))

  it("takes no parameter, another's account or a missing token", async () => {
    const [account, other] = [await server.register(), await server.register()]
    const token = account.access_token
    for (const query of ["limit=1", "time_zone=UTC", "user_id=x", "completed=true", "a[]=1"]) {
      expectProblem(
        await server.request("GET", `${family.tasks(account)}/stats?${query}`, { token }),
        422,
        "validation_failed"
      )
    }
    expectProblem(await server.request("GET", `/api/${other.id}/tasks/stats`, { token }), 403, "forbidden")
    expectProblem(await server.request("GET", `${family.tasks(account)}/stats`), 401, "token_missing")
    for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
      const answer = await server.request(method, `${family.tasks(account)}/stats`, { token })
      expect([404, 405, 422], `${method}: ${answer.text}`).toContain(answer.status)
    }
  })
})

it("counts a tag whatever its case, as the filter does", async () => {
  const account = await server.register()
  for (
    const tags of [["Work", "home"], ["WORK"], ["work", "Ärger"], ["ärger"], ["__proto__", "constructor"], ["wörk"], [
      "ΟΔΟΣ"
    ], ["οδος"]]
  ) {
    await create(server, account, { title: "x", tags })
  }
  await create(server, account, { title: "x", tags: ["wORK"] })
  const { by_tag } = await expectRecounted(account)
  for (const { completed, open, tag } of by_tag) {
    const found = await listAll(server, account, `?limit=100&tag=${encodeURIComponent(tag)}`)
    expect([tag, open + completed]).toEqual([tag, found.length])
  }
  expect(by_tag[0]).toMatchObject({ open: 4, completed: 0 })
  expect(["Work", "WORK", "work", "wORK"]).toContain(by_tag[0].tag)
})

it("names the 50 most used of more than 50 tags", async () => {
  const account = await server.register()
  const operations = Array.from({ length: 15 }, (_, index) => ({
    op: "create",
    task: { title: "x", tags: Array.from({ length: 5 }, (_, at) => `t${(index * 5 + at) % 70}`) }
  }))
  // five of the tags twice by that, and these two more often
  operations.push({ op: "create", task: { title: "x", tags: ["t69", "t42"] } })
  operations.push({ op: "create", task: { title: "x", tags: ["T69"] } })
  const results = resultsOf(await batch(server, account, "atomic", operations))
  await bulk(server, account, "complete", { ids: [results[16]!.task!.id] })
  const stats = await expectRecounted(account)
  expect(stats.by_tag).toHaveLength(50)
  expect(stats.by_tag[0]).toMatchObject({ tag: expect.stringMatching(/^[tT]69$/), open: 2, completed: 1 })
  const uses = (stats.by_tag as ReadonlyArray<Tally>).map(({ completed, open }) => open + completed)
  expect(uses.slice(0, 8)).toEqual([3, 2, 2, 2, 2, 2, 2, 1])
  expect((await statsOf(account)).by_tag, "the same ones again").toEqual(stats.by_tag)
})

it("R54 is consistent in itself while others write, and equals a recount after", { timeout: 60_000 }, async () => {
  const [account, other] = [await server.register(), await server.register()]
  let isWritten = false
  const asking = (async () => {
    let asked = 0
    for (; !isWritten; asked++) expectConsistent(await statsOf(account, families[asked % 2]!))
    return asked
  })()
  const writer = async (who: Account, seed: number) => {
    const ids: Array<string> = []
    for (let round = 0; round < 12; round++) {
      const on = servers[(seed + round) % 2]!
      const operations = Array.from({ length: 6 }, (_, index) => ({
        op: "create",
        task: { title: "x", priority: priorities[(index + seed) % 5], tags: [`t${index}`, "All"] }
      }))
      ids.push(...resultsOf(await batch(on, who, "atomic", operations)).map(({ task }) => task!.id))
      having(
        200,
        await bulk(on, who, "complete", {
          ids: ids.filter((_, index) => index % 2 === round % 2),
          completed: round % 3 > 0
        })
      )
      having(200, await bulk(on, who, "delete", { ids: ids.splice(round % 4, 2) }))
    }
  }
  await Promise.all([writer(account, 0), writer(account, 1), writer(other, 2), writer(account, 3)])
  isWritten = true
  expect(await asking).toBeGreaterThan(3)
  await expectRecounted(account)
  await expectRecounted(other)
})

it("counts completions by the days of the user's zone, wherever that is", { timeout: 60_000 }, async () => {
  const account = await server.register()
  const token = account.access_token
  const operations = Array.from({ length: 60 }, () => ({ op: "create", task: { title: "x" } }))
  const ids = resultsOf(await batch(server, account, "atomic", operations)).map(({ task }) => task!.id)
  await bulk(server, account, "complete", { ids })
  const zones = [
    ...["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu"],
    ...["America/St_Johns", "America/New_York", "Australia/Lord_Howe", "Pacific/Chatham", "America/Santiago"]
  ]
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...zones),
      fc.array(
        fc.oneof(
          fc.integer({ min: 0, max: 40 * 86_400 }),
          // about the ends of days
          fc.tuple(fc.nat(34), fc.integer({ min: 0, max: 95 }), fc.integer({ min: -1, max: 1 })).map((
            [day, quarter, by]
          ) => ({ day, quarter, by }))
        ),
        { minLength: 60, maxLength: 60 }
      ),
      async (zone, ages) => {
        having(200, await server.request("PATCH", "/api/v1/auth/me", { token, body: { time_zone: zone } }))
        const now = new Date()
        const midnight = Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate())
        const instants = ages.map((age) =>
          new Date(Math.min(
            now.getTime(),
            typeof age === "number"
              ? now.getTime() - age * 1_000
              : midnight - age.day * 86_400_000 + age.quarter * 900_000 + age.by
          ))
        )
        await server.sql(
          `update tasks set completed_at = at::timestamptz from unnest($2::text[], $3::text[]) as changed (task, at)
            where user_id = $1 and id = task::uuid`,
          [account.id, ids, instants.map((at) => at.toISOString())]
        )
        const { completed_by_day } = await statsOf(account)
        const today = dateIn(zone, new Date())
        // a day that ends while this runs is no fault
        if (today !== dateIn(zone, now)) return
        expect(completed_by_day.at(-1).date).toBe(today)
        const counts = new Map<string, number>()
        for (const at of instants) counts.set(dateIn(zone, at), (counts.get(dateIn(zone, at)) ?? 0) + 1)
        for (const { count, date } of completed_by_day) {
          expect({ zone, date, count }).toEqual({ zone, date, count: counts.get(date) ?? 0 })
        }
      }
    ),
    { numRuns: 25 }
  )
})

it("answers alike on another instance, and from a HEAD", async () => {
  const account = await server.register()
  await create(server, account, { title: "x", tags: ["a"] })
  const token = account.access_token
  const path = "/api/v1/tasks/stats"
  const [one, two] = [await server.request("GET", path, { token }), await second.request("GET", path, { token })]
  expect(two.json).toEqual(one.json)
  expect(await server.request("HEAD", path, { token })).toMatchObject({ status: 200, text: "" })
})
