/** What a batch does is what its operations do one by one: on the account of a twin. */
import { randomUUID } from "node:crypto"
import fc from "fast-check"
import { beforeAll, describe, expect, it } from "vitest"
import { lastVersionOf } from "../changes/writes.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServers } from "../support/TestServer.ts"
import { batch, bulk, feedOf, type Operation, type Result, resultsOf, single } from "./batches.ts"
import { checksum, create, families, having, listAll, newId, patch, remove, type TaskAnswer } from "./families.ts"

const [server, second] = useServers(2)
let user: Account
let twin: Account
beforeAll(async () => {
  user = await server.register()
  twin = await server.register()
})

/**
 * Without what is different by nature between two accounts: their ids, and when something happened. Versions are told
 * by their order: an operation that changes nothing may use one up.
 */
const instants = ["created_at", "updated_at", "completed_at", "deleted_at"]
const alike = (value: unknown): unknown => {
  const text = JSON.stringify(value)
  const versions = [...new Set([...text.matchAll(/"version":(\d+)/g)].map(([, version]) => Number(version)))]
    .sort((a, b) => a - b)
  return JSON.parse(text, (key, member) => {
    if (key === "user_id") return "the user"
    if (key === "request_id") return undefined
    if (key === "version") return versions.indexOf(member)
    return instants.includes(key) && member !== null ? "an instant" : member
  })
}

const stateOf = async (account: Account) => [
  (await checksum(server, account))[0],
  await lastVersionOf(server, account)
]

const storedOf = async (account: Account) =>
  alike({
    live: await listAll(server, account, "?limit=100&sort=title,priority"),
    trash: await listAll(server, account, "?limit=100&sort=title,priority&deleted=true"),
    feed: (await feedOf(server, account)).changes
  })

/** Both accounts forget all of their tasks, and are equal again. What follows is told by versions above 1100. */
const begin = async (tasks: ReadonlyArray<Record<string, unknown>>, gone: ReadonlyArray<string>) => {
  for (const account of [user, twin]) {
    await server.sql("delete from tasks where user_id = $1", [account.id])
    await server.sql("update user_sequences set last_version = 1000, purged_version = 0 where user_id = $1", [
      account.id
    ])
    for (const task of tasks) await create(server, account, task)
    for (const id of gone) await remove(server, account, id)
    await server.sql("update user_sequences set last_version = 1100 where user_id = $1", [account.id])
  }
}

/** What a single request answered, in the words of a batch. */
const resultOf = async (account: Account, operation: Operation): Promise<Result> => {
  const { json, status } = await single(server, account, operation)
  if (status >= 400) return { status, problem: json }
  return operation.op === "delete" ? { status } : { status, task: json }
}

const orders = <A>(all: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  all.length === 0
    ? [[]]
    : all.flatMap((one, index) =>
      orders([...all.slice(0, index), ...all.slice(index + 1)]).map((rest) => [one, ...rest])
    )

const expectAlike = (results: ReadonlyArray<Result>, singles: ReadonlyArray<Result>) => {
  // the families differ in how a deletion is answered
  const told = (some: ReadonlyArray<Result>) =>
    alike(some.map((one) => one.status === 204 ? { ...one, status: 200 } : one))
  expect(told(results)).toEqual(told(singles))
}

const both = async (operations: ReadonlyArray<Operation>, family = families[0]!) => {
  const singles: Array<Result> = []
  for (const operation of operations) singles.push(await resultOf(twin, operation))
  const last = await lastVersionOf(server, user)
  const results = resultsOf(await batch(server, user, "partial", operations, { family }))
  expectAlike(results, singles)
  expect(await lastVersionOf(server, user)).toBeLessThanOrEqual(last + operations.length)
  expect(await storedOf(user)).toEqual(await storedOf(twin))
  return singles
}

const everyOrder = orders(["create", "update", "complete", "delete"])

it.each([{ name: "a new id", tasks: [] }, { name: "the id of a task", tasks: [{ title: "made" }] }])(
  "a partial batch does create, update, complete and delete of $name in every order as they would one by one",
  { timeout: 60_000 },
  async ({ tasks }) => {
    for (const [index, order] of everyOrder.entries()) {
      const id = newId()
      await begin(tasks.map((task) => ({ ...task, id })), [])
      await both(
        order.map((op) =>
          op === "create"
            ? { op, task: { id, title: "made" } }
            : { op, id, ...(op === "update" && { task: { title: "changed", priority: "high" } }) }
        ),
        families[index % 2]!
      )
    }
  }
)

describe.each(families)("a partial batch of POST $name/batch", (family) => {
  it("creates an id that is there twice once", async () => {
    await begin([], [])
    const [a, b] = [newId(), newId()]
    const singles = await both([
      { op: "create", task: { id: a, title: "a" } },
      { op: "create", task: { id: a, title: "a" } },
      { op: "create", task: { id: b, title: "b" } },
      { op: "create", task: { id: b, title: "other" } }
    ], family)
    expect(singles.map(({ status }) => status)).toEqual([201, 200, 201, 409])
  })

  it("sees the versions of what it did before", async () => {
    const id = newId()
    await begin([{ id, title: "made" }], [])
    const singles = await both([
      { op: "update", id, task: { title: "first" }, if_match: 1001 },
      { op: "update", id, task: { title: "second" }, if_match: 1001 },
      { op: "update", id, task: { title: "third" }, if_match: 1101 },
      { op: "complete", id, if_match: 1103 },
      { op: "complete", id, if_match: 1102 },
      { op: "delete", id, if_match: 1 },
      { op: "delete", id, if_match: 1103 },
      { op: "delete", id, if_match: 1104 },
      { op: "update", id, task: { title: "late" }, if_match: 1104 }
    ], family)
    expect(singles.map(({ status }) => status)).toEqual([200, 412, 200, 412, 200, 412, 200, 404, 404])
  })
})

const known = Array.from({ length: 5 }, () => newId())
const others = Array.from({ length: 5 }, () => newId())
const task = fc.record({
  title: fc.constantFrom("a", "b", "  c  ", "ß"),
  description: fc.constantFrom(null, "words"),
  priority: fc.constantFrom("none", "high"),
  tags: fc.constantFrom([], ["A"], ["A", "b"]),
  completed: fc.boolean()
}, { requiredKeys: [] })
/** Without the members that are undefined. */
const without = (value: unknown): Operation => JSON.parse(JSON.stringify(value))

/** Operations on the known tasks; one in so many names a version, which may be right. */
const operationsOf = (made: ReadonlyArray<string>, conditionalOneIn: number): fc.Arbitrary<Operation> => {
  const id = fc.constantFrom(...known)
  const if_match = fc.oneof(
    { weight: conditionalOneIn - 1, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.integer({ min: 1000, max: 1008 }) }
  )
  const completed = fc.option(fc.boolean(), { nil: undefined })
  return fc.oneof(
    fc.record({ id: fc.constantFrom(...made), task }).map(({ id, task: { completed: _, ...task } }) => ({
      op: "create",
      task: { title: "a", ...task, id }
    })),
    fc.record({ id, task, if_match }).map((one) => without({ op: "update", ...one })),
    fc.record({ id, completed, if_match }).map((one) => without({ op: "complete", ...one })),
    fc.record({ id, if_match }).map((one) => without({ op: "delete", ...one }))
  )
}

const setUp = (has: number, gone: number) =>
  begin(
    known.slice(0, has).map((id, index) => ({ id, title: "ab"[index % 2] })),
    known.slice(0, Math.min(gone, has))
  )

it("any operations of a partial batch do what they do one by one", { timeout: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(5),
      fc.nat(2),
      fc.array(operationsOf(known, 3), { minLength: 1, maxLength: 12 }),
      async (has, gone, operations) => {
        await setUp(has, gone)
        await both(operations)
      }
    ),
    { numRuns: 30, endOnFailure: true }
  )
})

it("any operations of an atomic batch do what they do one by one, or nothing", { timeout: 60_000 }, async () => {
  const seen = new Set<number>()
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 3, max: 5 }),
      fc.nat(1),
      fc.array(operationsOf(others, 10), { minLength: 1, maxLength: 5 }),
      async (has, gone, operations) => {
        await setUp(has, gone)
        const before = await stateOf(user)
        const singles: Array<Result> = []
        for (const operation of operations) singles.push(await resultOf(twin, operation))
        const answer = await batch(server, user, "atomic", operations)
        const fault = singles.findIndex(({ status }) => status >= 400)
        seen.add(answer.status)
        if (fault < 0) {
          expectAlike(resultsOf(answer), singles)
          expect(await storedOf(user)).toEqual(await storedOf(twin))
        } else {
          expectProblem(answer, 409, "batch_failed")
          expect(answer.json.results).toHaveLength(operations.length)
          expect(alike(answer.json.results[fault])).toEqual(alike(singles[fault]))
          expect(await stateOf(user)).toEqual(before)
        }
      }
    ),
    { numRuns: 25, endOnFailure: true }
  )
  expect([...seen].sort()).toEqual([200, 409])
})

describe("an atomic batch with a fault", () => {
  const faults = async (): Promise<ReadonlyArray<readonly [number, string, Operation]>> => {
    const [stale, taken, gone] = [await create(server, user), await create(server, user), await create(server, user)]
    await remove(server, user, gone.id)
    await patch(server, user, stale.id, { title: "newer" })
    return [
      [404, "not_found", { op: "update", id: newId(), task: { title: "x" } }],
      [404, "not_found", { op: "delete", id: gone.id }],
      [404, "not_found", { op: "complete", id: newId() }],
      [412, "stale_version", { op: "complete", id: stale.id, if_match: stale.version }],
      [412, "stale_version", { op: "delete", id: stale.id, if_match: stale.version + 1_000 }],
      [409, "id_reused", { op: "create", task: { id: taken.id, title: "another" } }]
    ]
  }

  it.each([0, 1, 2, 3, 4])("at place %d leaves nothing and moves nothing", async (place) => {
    for (const [status, code, fault] of await faults()) {
      const [a, b] = [await create(server, user), await create(server, user)]
      const operations: Array<Operation> = [
        { op: "create", task: { id: newId(), title: "new" } },
        { op: "update", id: a.id, task: { title: "changed" }, if_match: a.version },
        { op: "complete", id: a.id },
        { op: "delete", id: b.id }
      ]
      operations.splice(place, 0, fault)
      const before = await stateOf(user)
      const { cursor } = await feedOf(server, user)
      const key = { "idempotency-key": randomUUID() }
      for (const headers of [{}, key, key]) {
        const answer = await batch(server, user, "atomic", operations, { headers })
        expectProblem(answer, 409, "batch_failed")
        expect(answer.headers.get("idempotent-replayed")).toBeNull()
        expect(answer.json.results).toHaveLength(5)
        expect(answer.json.results[place]).toMatchObject({
          status,
          problem: { code, status, type: `/problems/${code}` }
        })
        for (const [index, result] of answer.json.results.entries()) {
          if (index !== place) expect(result.status, "no other is said to have been done").not.toBe(201)
        }
      }
      expect(await stateOf(user)).toEqual(before)
      expect((await feedOf(server, user, cursor)).changes).toEqual([])
      // only what succeeded is kept: mended, the same key does it
      operations.splice(place, 1)
      const mended = await batch(server, user, "atomic", operations, { headers: key })
      expect(resultsOf(mended).map(({ status }) => status)).toEqual([201, 200, 200, expect.any(Number)])
    }
  })

  it("has the task as it is in the problem of a stale version, also in a partial one", async () => {
    const { id, version } = await create(server, user)
    const current = await patch(server, user, id, { title: "newer" })
    const operations = [{ op: "delete", id, if_match: version }]
    const [partial] = resultsOf(await batch(server, user, "partial", operations))
    const atomic = (await batch(server, user, "atomic", operations)).json.results[0]
    expect(partial).toMatchObject({ status: 412, problem: { code: "stale_version", current } })
    expect(alike(atomic)).toEqual(alike(partial))
  })
})

describe("R69 a batch with an idempotency key", () => {
  it.each(["atomic", "partial"] as const)("is done once in mode %s and its answer is replayed", async (mode) => {
    const { id } = await create(server, user)
    const operations = [
      { op: "create", task: { title: "once" } },
      { op: "update", id, task: { title: "twice" } },
      ...(mode === "partial" ? [{ op: "delete", id: newId() }] : []),
      { op: "delete", id }
    ]
    const headers = { "idempotency-key": randomUUID() }
    const first = having(200, await batch(server, user, mode, operations, { headers }))
    const after = await stateOf(user)
    for (const on of [server, second]) {
      const again = having(200, await batch(on, user, mode, operations, { headers }))
      expect(again.text).toBe(first.text)
      expect(again.headers.get("idempotent-replayed")).toBe("true")
    }
    const reversed = await batch(server, user, mode, operations.toReversed(), { headers })
    expectProblem(reversed, 422, "idempotency_key_reused")
    const inOtherMode = await batch(server, user, mode === "atomic" ? "partial" : "atomic", operations, { headers })
    expectProblem(inOtherMode, 422, "idempotency_key_reused")
    expect(await stateOf(user)).toEqual(after)
  })

  it("that comes twice at once is done once", async () => {
    for (const action of ["batch", "bulk/complete", "bulk/delete"]) {
      const made: Array<TaskAnswer> = []
      for (let index = 0; index < 3; index++) made.push(await create(server, user))
      const body = action === "batch"
        ? { mode: "partial", operations: [{ op: "create", task: { title: "a" } }, { op: "delete", id: made[0]!.id }] }
        : { ids: made.map(({ id }) => id) }
      const last = await lastVersionOf(server, user)
      const headers = { "idempotency-key": randomUUID() }
      const answers = await Promise.all(
        [server, second, server, second].map((on) =>
          on.request("POST", `/api/v1/tasks/${action}`, { token: user.access_token, body, headers })
        )
      )
      const texts = new Set(answers.map((answer) => having(200, answer).text))
      expect(texts.size).toBe(1)
      expect(answers.filter(({ headers }) => headers.get("idempotent-replayed") === "true")).toHaveLength(3)
      expect(await lastVersionOf(server, user)).toBe(last + (action === "batch" ? 2 : 3))
    }
  })

  it("is another's with the same key", async () => {
    const headers = { "idempotency-key": randomUUID() }
    const operations = [{ op: "create", task: { title: "mine" } }]
    for (const account of [user, twin]) {
      const answer = having(200, await batch(server, account, "atomic", operations, { headers }))
      expect(answer.headers.get("idempotent-replayed")).toBeNull()
      expect(answer.json.results[0].task.user_id).toBe(account.id)
    }
  })
})

it("under REQUIRE_IF_MATCH wants an if_match wherever a single request wants If-Match", async () => {
  await server.restart({ REQUIRE_IF_MATCH: "true" })
  try {
    await begin([], [])
    const [a, b] = [newId(), newId()]
    const singles = await both([
      { op: "create", task: { id: a, title: "a" } },
      { op: "create", task: { id: b, title: "b" } },
      { op: "update", id: a, task: { title: "c" } },
      { op: "complete", id: a },
      { op: "delete", id: a },
      { op: "update", id: a, task: { title: "c" }, if_match: 1101 },
      { op: "delete", id: b, if_match: 1102 },
      { op: "delete", id: newId() }
    ])
    expect(singles.map(({ status }) => status)).toEqual([201, 201, 428, 428, 428, 200, 200, 404])
    const answer = await bulk(server, user, "delete", { ids: [a] })
    expect([200, 428], answer.text).toContain(answer.status)
  } finally {
    await server.restart({})
  }
})
