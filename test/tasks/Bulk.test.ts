import fc from "fast-check"
import { beforeAll, describe, expect, it } from "vitest"
import { lastVersionOf } from "../changes/writes.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, type Answer, useServer } from "../support/TestServer.ts"
import {
  canonical,
  checksum,
  create,
  createMany,
  families,
  type Family,
  having,
  listAll,
  newId,
  pointersOf,
  read,
  remove,
  type TaskAnswer
} from "./families.ts"

const server = useServer()
let user: Account
let other: Account

beforeAll(async () => {
  user = await server.register()
  other = await server.register()
})

const post = (path: string, body: unknown, headers: Record<string, string> = {}, account = user, family = canonical) =>
  server.request("POST", `${family.tasks(account)}${path}`, { token: account.access_token, body, headers })

const lastVersion = (account = user) => lastVersionOf(server, account)

describe.each(families)("bulk, under $name", (family) => {
  it("R51 completes and reopens own tasks; those of others count like those that are not there", async () => {
    const [open, done, deleted] = [await create(server, user), await create(server, user), await create(server, user)]
    having(200, await post("/bulk/complete", { ids: [done.id] }, {}, user, family))
    await remove(server, user, deleted.id)
    const foreign = await create(server, other)
    const before = await checksum(server, other)
    const random = newId()
    const ids = [open.id, foreign.id, done.id, random, deleted.id, open.id]
    const { json } = having(200, await post("/bulk/complete", { ids }, {}, user, family))
    expect(json).toEqual({
      updated: 1,
      results: [
        { id: open.id, status: "updated" },
        { id: foreign.id, status: "not_found" },
        { id: done.id, status: "unchanged" },
        { id: random, status: "not_found" },
        { id: deleted.id, status: "not_found" }
      ]
    })
    expect((await read(server, user, open.id)).completed_at).not.toBeNull()
    const reopened = having(200, await post("/bulk/complete", { ids: [open.id], completed: false }, {}, user, family))
    expect(reopened.json).toEqual({ updated: 1, results: [{ id: open.id, status: "updated" }] })
    expect((await read(server, user, open.id)).completed).toBe(false)
    expect(await checksum(server, other)).toEqual(before)
  })

  it("R51 deletes own tasks, and leaves those of others bit by bit as they are", async () => {
    const [one, two] = [await create(server, user), await create(server, user)]
    const foreign = await create(server, other)
    const before = await checksum(server, other)
    const { json } = having(
      200,
      await post("/bulk/delete", { ids: [two.id, foreign.id, one.id, two.id] }, {}, user, family)
    )
    expect(json).toEqual({
      deleted: 2,
      results: [
        { id: two.id, status: "deleted" },
        { id: foreign.id, status: "not_found" },
        { id: one.id, status: "deleted" }
      ]
    })
    expect(await checksum(server, other)).toEqual(before)
    expect((await listAll(server, user, "?deleted=true&limit=100")).map(({ id }) => id)).toEqual(
      expect.arrayContaining([one.id, two.id])
    )
  })
})

describe("bulk and batch", () => {
  it("R52 take 1 to 100, and nothing that has not the form of an operation", async () => {
    const ids = Array.from({ length: 101 }, newId)
    for (const path of ["/bulk/complete", "/bulk/delete"]) {
      having(200, await post(path, { ids: ids.slice(0, 100) }))
      for (const wrong of [[], ids, ["x"], [1], "x", undefined]) {
        expectProblem(await post(path, { ids: wrong }), 422, "validation_failed")
      }
      expectProblem(await post(path, { ids: [ids[0]], user_id: other.id }), 422, "validation_failed")
    }
    const operations = ids.map((id) => ({ op: "delete", id }))
    const batch = (operations: unknown, mode: unknown = "partial") => post("/batch", { mode, operations })
    having(200, await batch(operations.slice(0, 100)))
    for (const wrong of [[], operations, "x"]) expectProblem(await batch(wrong), 422, "validation_failed")
    expectProblem(await batch(operations.slice(0, 1), "some"), 422, "validation_failed")
    const before = await lastVersion()
    const bad = await batch([
      { op: "create", task: { title: "good" } },
      { op: "create", task: { title: "" } },
      { op: "update", id: "x", task: {} },
      { op: "update", id: newId(), task: { user_id: other.id } },
      { op: "delete", id: newId(), if_match: 0 },
      { op: "explode", id: newId() },
      { op: "complete", id: newId(), completed: "yes" }
    ])
    expectProblem(bad, 422, "validation_failed")
    expect(pointersOf(bad)).toEqual([
      "/operations/1/task/title",
      "/operations/2/id",
      "/operations/3/task/user_id",
      "/operations/4/if_match",
      "/operations/5",
      "/operations/6/completed"
    ])
    expect(bad.json.errors[4].detail).toBe("must be an object whose op is create, update, complete or delete")
    expect(await lastVersion()).toBe(before)
  })

  it("give each changed task a version of its own, and wake who waits once for all", async () => {
    const account = await server.register()
    const made = await createMany(server, account, 100, (n) => ({ title: `${n}` }))
    having(200, await post("/bulk/complete", { ids: made.map(({ id }) => id) }, {}, account))
    const tasks = await listAll(server, account)
    expect(new Set(tasks.map(({ version }) => version)).size).toBe(100)
    expect(Math.min(...tasks.map(({ version }) => version))).toBeGreaterThan(100)
    expect(Math.max(...tasks.map(({ version }) => version))).toBe(await lastVersion(account))
  })

  it("R69 happen once under one key", async () => {
    const account = await server.register()
    const key = { "idempotency-key": newId() }
    const body = { mode: "atomic", operations: [{ op: "create", task: { title: "once" } }] }
    const first = having(200, await post("/batch", body, key, account))
    const second = having(200, await post("/batch", body, key, account))
    expect(second.headers.get("idempotent-replayed")).toBe("true")
    expect(second.json).toEqual(first.json)
    expect(await listAll(server, account)).toHaveLength(1)
    // one that failed was not done, and may be tried again
    const failing = { mode: "atomic", operations: [...body.operations, { op: "delete", id: newId() }] }
    const other = { "idempotency-key": newId() }
    expectProblem(await post("/batch", failing, other, account), 409, "batch_failed")
    expectProblem(await post("/batch", failing, other, account), 409, "batch_failed")
    expect(await listAll(server, account)).toHaveLength(1)
  })
})

describe("a batch", () => {
  /** Ids that operations meet on: own tasks, another's, and one that nobody has. */
  interface World {
    readonly account: Account
    readonly ids: ReadonlyArray<string>
    readonly foreign: string
    /** the version before the first of these tasks */
    readonly base: number
  }

  let accounts: readonly [Account, Account, Account]
  beforeAll(async () => {
    accounts = [await server.register(), await server.register(), await server.register()]
  })

  const makeWorld = async (account: Account): Promise<World> => {
    const base = await lastVersion(account)
    const ids: Array<string> = []
    for (let n = 0; n < 3; n++) ids.push((await create(server, account, { id: newId(), title: `task ${n}` })).id)
    return { account, base, ids: [...ids, newId()], foreign: (await create(server, other)).id }
  }

  const target = fc.integer({ min: 0, max: 4 })
  // the first versions of the three tasks, and one that none will have: which ones later writes get is their own affair
  const ifMatch = fc.option(fc.constantFrom(1, 2, 3, 1_000), { nil: undefined, freq: 2 })
  const members = fc.record({ title: fc.constantFrom("a", "b"), priority: fc.constantFrom("high", null) }, {
    requiredKeys: []
  })
  const operation = fc.oneof(
    fc.record({
      op: fc.constant("create" as const),
      at: fc.option(target, { nil: undefined }),
      title: fc.constantFrom("task 0", "new")
    }),
    fc.record({ op: fc.constant("update" as const), at: target, ifMatch, members }),
    fc.record({
      op: fc.constant("complete" as const),
      at: target,
      ifMatch,
      completed: fc.constantFrom(undefined, true, false)
    }),
    fc.record({ op: fc.constant("delete" as const), at: target, ifMatch })
  )
  type Step = typeof operation extends fc.Arbitrary<infer A> ? A : never

  const idAt = ({ foreign, ids }: World, at: number) => ids[at] ?? foreign

  const inBatch = (world: World, step: Step) => {
    if (step.op === "create") {
      return { op: step.op, task: { title: step.title, ...(step.at !== undefined && { id: idAt(world, step.at) }) } }
    }
    const { at, ifMatch: if_match, op } = step
    const one = { op, id: idAt(world, at), ...(if_match !== undefined && { if_match: world.base + if_match }) }
    if (step.op === "update") return { ...one, task: step.members }
    return step.op === "complete" && step.completed !== undefined ? { ...one, completed: step.completed } : one
  }

  const alone = (world: World, step: Step, family: Family): Promise<Answer> => {
    const { account } = world
    const tasks = family.tasks(account)
    const request = (method: string, path: string, body?: unknown) =>
      server.request(method, `${tasks}${path}`, {
        token: account.access_token,
        body,
        headers: step.op !== "create" && step.ifMatch !== undefined
          ? { "if-match": `"${world.base + step.ifMatch}"` }
          : {}
      })
    if (step.op === "create") {
      return request("POST", "", { title: step.title, ...(step.at !== undefined && { id: idAt(world, step.at) }) })
    }
    const id = idAt(world, step.at)
    if (step.op === "update") return request("PATCH", `/${id}`, step.members)
    if (step.op === "delete") return request("DELETE", `/${id}`)
    return request("PATCH", `/${id}/complete`, step.completed === undefined ? {} : { completed: step.completed })
  }

  /** What two worlds have in common: ids by their place, and neither times nor numbers of versions. */
  const comparable = (world: World, task: TaskAnswer | undefined) =>
    task && {
      place: world.ids.indexOf(task.id),
      title: task.title,
      priority: task.priority,
      completed: task.completed,
      deleted: task.deleted_at !== null
    }

  interface Result {
    readonly status: number
    readonly task?: TaskAnswer
    readonly problem?: { readonly code: string; readonly current?: TaskAnswer }
  }

  it("answers and does what the same requests do one after another", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(operation, { minLength: 1, maxLength: 12 }),
        fc.constantFrom(...families),
        async (steps, family) => {
          const [one, many] = [await makeWorld(accounts[0]), await makeWorld(accounts[1])]
          const expected: Array<unknown> = []
          for (const step of steps) {
            const { json, status } = await alone(one, step, family)
            expected.push(
              status < 300
                ? { status, task: step.op === "delete" ? undefined : comparable(one, json) }
                : { status, code: json.code, current: comparable(one, json.current) }
            )
          }
          const { json } = having(
            200,
            await post(
              "/batch",
              { mode: "partial", operations: steps.map((step) => inBatch(many, step)) },
              {},
              many.account,
              family
            )
          )
          const found = json.results.map(({ problem, status, task }: Result) =>
            problem === undefined
              ? { status, task: comparable(many, task) }
              : { status, code: problem.code, current: comparable(many, problem.current) }
          )
          expect(found).toEqual(expected)
          const state = async (world: World) =>
            (await listAll(server, world.account, "?limit=100")).filter(({ version }) => version > world.base)
              .map((task) => comparable(world, task))
              .map((task) => JSON.stringify(task)).sort()
          expect(await state(many)).toEqual(await state(one))
        }
      ),
      { numRuns: 20 }
    )
  })

  it("R52 that is atomic does all of it or nothing, and says why", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 8 }), async (steps) => {
        const world = await makeWorld(accounts[2])
        const before = [await checksum(server, world.account), await lastVersion(world.account)]
        const operations = steps.map((step) => inBatch(world, step))
        const answer = await post("/batch", { mode: "atomic", operations }, {}, world.account)
        if (answer.status === 200) {
          expect(answer.json.results.every(({ status }: Result) => status < 300)).toBe(true)
          return
        }
        expectProblem(answer, 409, "batch_failed")
        const results: ReadonlyArray<Result> = answer.json.results
        expect(results).toHaveLength(steps.length)
        expect(results.some(({ problem }) => problem !== undefined)).toBe(true)
        for (const { problem, status, task } of results) {
          expect(task).toBeUndefined()
          if (problem === undefined) expect(status).toBe(424)
          else expect([404, 409, 412]).toContain(status)
        }
        expect([await checksum(server, world.account), await lastVersion(world.account)]).toEqual(before)
      }),
      { numRuns: 20 }
    )
  })
})
