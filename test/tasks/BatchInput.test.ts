import { beforeAll, describe, expect, it } from "vitest"
import { lastVersionOf } from "../changes/writes.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { batch, bulk, resultsOf } from "./batches.ts"
import { checksum, create, families, having, newId, pointersOf, read, remove } from "./families.ts"

const server = useServer()
let user: Account
let other: Account
beforeAll(async () => {
  user = await server.register()
  other = await server.register()
})

const stateOf = async (...accounts: ReadonlyArray<Account>) => [
  await checksum(server, ...accounts),
  await Promise.all(accounts.map((account) => lastVersionOf(server, account)))
]

/** That all of this is refused with 422, and that nothing of it happens. */
const refused = async (ask: () => Promise<Parameters<typeof expectProblem>[0]>, pointer?: RegExp) => {
  const before = await stateOf(user, other)
  const answer = await ask()
  expectProblem(answer, 422, "validation_failed")
  if (pointer !== undefined) {
    expect(pointersOf(answer).some((one) => pointer.test(one)), `${pointersOf(answer)} has ${pointer}`).toBe(true)
  }
  expect(await stateOf(user, other)).toEqual(before)
}

const ids = (count: number) => Array.from({ length: count }, () => newId())

describe.each(families)("bulk of POST $name", (family) => {
  describe.each(["complete", "delete"] as const)("/bulk/%s", (action) => {
    const done = action === "complete" ? "updated" : "deleted"

    it("R52 refuses none, 101 and whatever is no list of ids", async () => {
      const { id } = await create(server, user)
      const faulty: ReadonlyArray<readonly [unknown, RegExp]> = [
        [{ ids: [] }, /^\/ids$/],
        [{ ids: [...ids(100), id] }, /^\/ids$/],
        [{ ids: [...ids(100), ...ids(9_900)].slice(0, 10_000) }, /^\/ids$/],
        [{}, /^\/ids$/],
        [{ ids: id }, /^\/ids$/],
        [{ ids: { 0: id } }, /^\/ids$/],
        [{ ids: null }, /^\/ids$/],
        [{ ids: { length: 1, 0: id } }, /^\/ids$/],
        [{ ids: [id, null] }, /^\/ids\/1$/],
        [{ ids: [id, 1] }, /^\/ids\/1$/],
        [{ ids: [id, [id]] }, /^\/ids\/1$/],
        [{ ids: [id, ""] }, /^\/ids\/1$/],
        [{ ids: [id, "not-a-uuid"] }, /^\/ids\/1$/],
        [{ ids: [id, `{${id}}`] }, /^\/ids\/1$/],
        [{ ids: [id, `${id} `] }, /^\/ids\/1$/],
        [{ ids: [id, id.replaceAll("-", "")] }, /^\/ids\/1$/],
        [{ ids: [id, `${id}\u0000`] }, /^\/ids\/1$/],
        [{ ids: [id, `${id}' or '1'='1`] }, /^\/ids\/1$/],
        [{ ids: [id], bogus: 1 }, /^\/bogus$/],
        [{ ids: [id], user_id: other.id }, /^\/user_id$/],
        [{ ids: [id], completed: "true" }, /^\/completed$/],
        [{ ids: [id], completed: null }, /^\/completed$/],
        [{ ids: [id], completed: 1 }, /^\/completed$/],
        [{ ids: [id], Completed: true }, /^\/Completed$/]
      ]
      for (const [body, pointer] of faulty) await refused(() => bulk(server, user, action, body, { family }), pointer)
      for (const body of [[id], [], id, null, 1, true]) {
        await refused(() => bulk(server, user, action, body, { family }))
      }
      for (const raw of [`{"ids":["${id}"],"__proto__":{}}`, `{"ids":["${id}"],"constructor":{}}`]) {
        await refused(() => bulk(server, user, action, undefined, { family, raw }))
      }
      for (const raw of ["", " ", "{", `{"ids":["${id}"]`, `{"ids":["${id}"]}{}`, "\u0000", "ids"]) {
        expectProblem(await bulk(server, user, action, undefined, { family, raw }), 400, "malformed_body")
      }
      expect(await read(server, user, id)).toMatchObject({ version: expect.any(Number), completed: false })
    })

    it("R52 takes 1 and 100", async () => {
      const [one] = [await create(server, user)]
      const few = having(200, await bulk(server, user, action, { ids: [one.id] }, { family })).json
      expect(few).toEqual({ [done]: 1, results: [{ id: one.id, status: done }] })
      const made = resultsOf(
        await batch(server, user, "atomic", Array.from({ length: 100 }, () => ({ op: "create", task: { title: "x" } })))
      ).map(({ task }) => task!.id)
      const last = await lastVersionOf(server, user)
      const many = having(200, await bulk(server, user, action, { ids: made }, { family })).json
      expect(many).toEqual({ [done]: 100, results: made.map((id) => ({ id, status: done })) })
      expect(await lastVersionOf(server, user)).toBe(last + 100)
    })

    it("R51 tells what is another's, deleted or nobody's alike, in the order of the ids", async () => {
      const [own, gone, foreign] = [await create(server, user), await create(server, user), await create(server, other)]
      await remove(server, user, gone.id)
      const theirs = await stateOf(other)
      const nobodys = newId()
      const asked = [foreign.id, own.id, gone.id, nobodys]
      const { results, ...counts } = having(200, await bulk(server, user, action, { ids: asked }, { family })).json
      expect(counts).toEqual({ [done]: 1 })
      expect(results).toEqual([
        { id: foreign.id, status: "not_found" },
        { id: own.id, status: done },
        { id: gone.id, status: "not_found" },
        { id: nobodys, status: "not_found" }
      ])
      expect(await stateOf(other)).toEqual(theirs)
    })

    it("R51 that finds nothing moves nothing", async () => {
      const foreign = await create(server, other)
      const before = await stateOf(user, other)
      const { json } = having(200, await bulk(server, user, action, { ids: [foreign.id, ...ids(99)] }, { family }))
      expect([json[done], json.results.length]).toEqual([0, 100])
      expect(await stateOf(user, other)).toEqual(before)
    })

    it("R52 does an id that is there twice once", async () => {
      const { id } = await create(server, user)
      const last = await lastVersionOf(server, user)
      const { json } = having(200, await bulk(server, user, action, { ids: [id, id, id] }, { family }))
      expect(json).toEqual({ [done]: 1, results: [{ id, status: done }] })
      expect(await lastVersionOf(server, user)).toBe(last + 1)
    })
  })

  it("/bulk/complete sets, and says what it left as it was", async () => {
    const [a, b] = [await create(server, user), await create(server, user)]
    const ask = (ids: ReadonlyArray<string>, completed?: boolean) =>
      bulk(server, user, "complete", { ids, ...(completed === undefined ? {} : { completed }) }, { family })
    expect(having(200, await ask([b.id])).json.updated).toBe(1)
    const last = await lastVersionOf(server, user)
    expect(having(200, await ask([a.id, b.id], true)).json).toEqual({
      updated: 1,
      results: [{ id: a.id, status: "updated" }, { id: b.id, status: "unchanged" }]
    })
    expect((await read(server, user, a.id)).version).toBeGreaterThan(last)
    expect((await read(server, user, b.id)).version).toBe(last)
    const before = await stateOf(user)
    expect(having(200, await ask([a.id, b.id])).json.updated).toBe(0)
    expect(await stateOf(user)).toEqual(before)
    expect(having(200, await ask([a.id, b.id], false)).json.updated).toBe(2)
    expect(await read(server, user, a.id)).toMatchObject({ completed: false, completed_at: null })
  })

  it("leaves deleted tasks in the trash, where each can be restored", async () => {
    const [a, b] = [await create(server, user), await create(server, user)]
    having(200, await bulk(server, user, "delete", { ids: [a.id, b.id] }, { family }))
    const again = having(200, await bulk(server, user, "delete", { ids: [a.id, b.id] }, { family })).json
    expect(again).toEqual({ deleted: 0, results: [a, b].map(({ id }) => ({ id, status: "not_found" })) })
    for (const { id } of [a, b]) {
      const path = `${family.tasks(user)}/${id}/restore`
      expect(having(200, await server.request("POST", path, { token: user.access_token })).json.id).toBe(id)
    }
  })
})

describe.each(families)("POST $name/batch", (family) => {
  it("R52 refuses none, 101 and what is no batch", async () => {
    const good = { op: "create", task: { title: "x" } }
    const { id } = await create(server, user)
    const ask = (body: unknown) =>
      server.request("POST", `${family.tasks(user)}/batch`, { token: user.access_token, body })
    const faulty: ReadonlyArray<readonly [unknown, RegExp]> = [
      [{ mode: "atomic", operations: [] }, /^\/operations$/],
      [{ mode: "partial", operations: [] }, /^\/operations$/],
      [{ mode: "atomic", operations: Array.from({ length: 101 }, () => good) }, /^\/operations$/],
      [{ mode: "partial", operations: Array.from({ length: 5_000 }, () => good) }, /^\/operations$/],
      [{ operations: [good] }, /^\/mode$/],
      [{ mode: "Atomic", operations: [good] }, /^\/mode$/],
      [{ mode: "all", operations: [good] }, /^\/mode$/],
      [{ mode: ["atomic"], operations: [good] }, /^\/mode$/],
      [{ mode: null, operations: [good] }, /^\/mode$/],
      [{ mode: "atomic" }, /^\/operations$/],
      [{ mode: "atomic", operations: good }, /^\/operations$/],
      [{ mode: "atomic", operations: { 0: good } }, /^\/operations$/],
      [{ mode: "atomic", operations: [good], bogus: 1 }, /^\/bogus$/],
      [{ mode: "atomic", operations: [good], user_id: other.id }, /^\/user_id$/]
    ]
    for (const [body, pointer] of faulty) await refused(() => ask(body), pointer)
    for (const body of [[good], [], null, "atomic", 1]) await refused(() => ask(body))
    expect((await read(server, user, id)).version).toBeLessThanOrEqual(await lastVersionOf(server, user))
  })

  it.each(["atomic", "partial"] as const)(
    "R53 refuses operations that are none, in mode %s, and does none",
    async (mode) => {
      const { id, version } = await create(server, user)
      const good = { op: "create", task: { title: "x" } }
      const task = { title: "x" }
      const operations: ReadonlyArray<unknown> = [
        ...[null, 1, "create", [], {}, [good], { op: null }, { op: "" }, { op: "Create", task }, { op: "restore", id }],
        ...[{ op: "__proto__", task }, { op: "constructor", task }, { op: ["create"], task }, { task }],
        ...[{ op: "create" }, { op: "create", task: null }, { op: "create", task: [] }, { op: "create", task: "x" }],
        ...[{ op: "create", task, id: newId() }, { op: "create", task, if_match: 1 }, { op: "create", task, bogus: 1 }],
        ...[{ op: "update", id }, { op: "update", task }, { op: "update", id, task: null }, {
          op: "update",
          id,
          task: []
        }],
        ...[{ op: "update", id: null, task }, { op: "update", id: "x", task }, {
          op: "update",
          id,
          task,
          completed: true
        }],
        ...[{ op: "complete" }, { op: "complete", id: 1 }, { op: "complete", id, completed: "true" }],
        ...[{ op: "complete", id, completed: null }, { op: "complete", id, task }, { op: "delete" }, {
          op: "delete",
          id: [id]
        }],
        ...[{ op: "delete", id, task }, { op: "delete", id, completed: true }, { op: "delete", ids: [id] }],
        ...[{ op: "delete", id: `${id}\u0000` }, { op: "delete", id: "not-a-uuid" }, {
          op: "delete",
          id,
          user_id: other.id
        }]
      ]
      for (const operation of operations) {
        await refused(
          () => batch(server, user, mode, [good, operation as Record<string, unknown>], { family }),
          /^\/operations\/1(\/|$)/
        )
      }
      const inTask = [
        "user_id",
        "version",
        "created_at",
        "deleted_at",
        "is_admin",
        "search",
        "constructor",
        "__proto__"
      ]
      for (const member of inTask) {
        for (const op of ["create", "update"]) {
          const raw = `{"mode":"${mode}","operations":[{"op":"create","task":{"title":"x"}},` +
            `{"op":"${op}",${op === "update" ? `"id":"${id}",` : ""}"task":{"title":"y","${member}":{"x":1}}}]}`
          const before = await stateOf(user, other)
          const answer = await batch(server, user, mode, [], { family, raw })
          expectProblem(answer, 422, "validation_failed")
          expect(await stateOf(user, other)).toEqual(before)
        }
      }
      for (
        const raw of [
          `{"mode":"${mode}","operations":[{"op":"delete","id":"${id}","__proto__":{"id":"${id}"}}]}`,
          `{"mode":"${mode}","operations":[{"__proto__":{"op":"delete","id":"${id}"}}]}`,
          `{"mode":"${mode}","operations":[{"op":"delete","constructor":1,"id":"${id}"}]}`,
          `{"mode":"${mode}","__proto__":1,"operations":[{"op":"delete","id":"${id}"}]}`
        ]
      ) {
        await refused(() => batch(server, user, mode, [], { family, raw }))
      }
      expect(await read(server, user, id)).toMatchObject({ id, version })
    }
  )

  it.each(["atomic", "partial"] as const)("refuses an if_match that is no version, in mode %s", async (mode) => {
    const { id, version } = await create(server, user)
    for (
      const value of [`"${version}"`, `"\\"${version}\\""`, "null", "true", "1.5", "-1", "1e400", "[1]", "{}", '"*"']
    ) {
      const raw = `{"mode":"${mode}","operations":[{"op":"delete","id":"${id}","if_match":${value}}]}`
      const answer = await batch(server, user, mode, [], { family, raw })
      expect([value, answer.status]).toEqual([value, 422])
    }
    for (
      const value of [
        "0",
        "9007199254740991",
        "9007199254740992",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "1e21",
        "2147483648"
      ]
    ) {
      const raw = `{"mode":"${mode}","operations":[{"op":"delete","id":"${id}","if_match":${value}}]}`
      const answer = await batch(server, user, mode, [], { family, raw })
      if (answer.status === 422) continue
      const status = mode === "atomic" ? having(409, answer).status && 412 : 412
      expect([value, answer.json.results[0].status, answer.json.results[0].problem.code]).toEqual([
        value,
        status,
        "stale_version"
      ])
    }
    expect(await read(server, user, id)).toMatchObject({ id, version })
  })

  it.each(["atomic", "partial"] as const)("R52 takes 1 and 100 in mode %s, in order", async (mode) => {
    const [one] = resultsOf(await batch(server, user, mode, [{ op: "create", task: { title: "one" } }], { family }))
    expect(one).toMatchObject({ status: 201, task: { title: "one", user_id: user.id } })
    const last = await lastVersionOf(server, user)
    const operations = Array.from({ length: 100 }, (_, index) => ({ op: "create", task: { title: `${index}` } }))
    const results = resultsOf(await batch(server, user, mode, operations, { family }))
    expect(results.map(({ status, task }) => [status, task?.title, task?.version])).toEqual(
      operations.map(({ task }, index) => [201, task.title, last + 1 + index])
    )
    expect(await lastVersionOf(server, user)).toBe(last + 100)
  })

  it("takes 1 MiB and no byte more", async () => {
    const limit = 1_048_576
    // of all that a task may be the longest
    const task = { title: "𐐀".repeat(200), description: "𐐃".repeat(1_000), tags: [] }
    const body = JSON.stringify({
      mode: "atomic",
      operations: Array.from({ length: 100 }, () => ({ op: "create", task }))
    })
    expect(Buffer.byteLength(body)).toBeLessThan(limit)
    const padded = (size: number) => body + " ".repeat(size - Buffer.byteLength(body))
    const results = resultsOf(await batch(server, user, "atomic", [], { family, raw: padded(limit) }))
    expect(results.map(({ status }) => status)).toEqual(Array.from({ length: 100 }, () => 201))
    const before = await stateOf(user)
    expectProblem(await batch(server, user, "atomic", [], { family, raw: padded(limit + 1) }), 413, "too_large")
    expect(await stateOf(user)).toEqual(before)
    // what only one task may come with is still short
    const path = family.tasks(user)
    const alone = await server.request("POST", path, {
      token: user.access_token,
      headers: { "content-type": "application/json" },
      raw: `{"title":"x"}${" ".repeat(131_072)}`
    })
    expectProblem(alone, 413, "too_large")
  })

  it("R51 tells what is another's, deleted or nobody's alike", async () => {
    const [gone, foreign] = [await create(server, user), await create(server, other)]
    await remove(server, user, gone.id)
    const before = await stateOf(user, other)
    for (const op of ["update", "complete", "delete"]) {
      for (const if_match of [undefined, foreign.version, 1]) {
        const operations = [foreign.id, gone.id, newId()].map((id) => ({
          op,
          id,
          ...(op === "update" && { task: { title: "mine" } }),
          ...(if_match !== undefined && { if_match })
        }))
        const results = resultsOf(await batch(server, user, "partial", operations, { family }))
        const seen = results.map((result) => JSON.stringify(result).replaceAll(/[0-9a-f-]{36}/g, "id"))
        expect(new Set(seen).size, seen.join("\n")).toBe(1)
        expect(results[0]).toMatchObject({ status: 404, problem: { code: "not_found", status: 404 } })
        const atomic = await batch(server, user, "atomic", operations, { family })
        expectProblem(atomic, 409, "batch_failed")
      }
    }
    expect(await stateOf(user, other)).toEqual(before)
  })

  it("R51 may create by an id that is another's", async () => {
    const foreign = await create(server, other)
    const theirs = await stateOf(other)
    for (const status of [201, 200]) {
      const operations = [{ op: "create", task: { id: foreign.id, title: "mine" } }]
      expect(resultsOf(await batch(server, user, "atomic", operations, { family }))).toMatchObject([
        { status, task: { id: foreign.id, title: "mine", user_id: user.id } }
      ])
    }
    expect(await stateOf(other)).toEqual(theirs)
    await remove(server, user, foreign.id)
    having(200, await server.request("GET", `/api/v1/tasks/${foreign.id}`, { token: other.access_token }))
    await server.sql("delete from tasks where user_id = $1 and id = $2", [user.id, foreign.id])
  })

  it("is refused in somebody else's name and without one", async () => {
    const before = await stateOf(user, other)
    const operations = [{ op: "create", task: { title: "x" } }]
    const path = `/api/${other.id}/tasks`
    for (const at of ["batch", "bulk/complete", "bulk/delete"]) {
      const body = at === "batch" ? { mode: "atomic", operations } : { ids: [newId()] }
      expectProblem(await server.request("POST", `${path}/${at}`, { token: user.access_token, body }), 403, "forbidden")
      expectProblem(await server.request("POST", `${family.tasks(user)}/${at}`, { body }), 401, "token_missing")
      expectProblem(
        await server.request("POST", `${family.tasks(user)}/${at}?bogus=1`, { token: user.access_token, body }),
        422,
        "validation_failed"
      )
    }
    expect(await stateOf(user, other)).toEqual(before)
  })
})

it("R63 many tasks are written by POST only", async () => {
  for (const at of ["batch", "bulk/complete", "bulk/delete"]) {
    for (const method of ["GET", "PUT", "DELETE", "PATCH"]) {
      const answer = await server.request(method, `/api/v1/tasks/${at}`, {
        token: user.access_token,
        ...(method !== "GET" && { body: { ids: [newId()] } })
      })
      expect([404, 405, 422], `${method} ${at}: ${answer.text}`).toContain(answer.status)
      expect(answer.headers.get("content-type")).toMatch(/^application\/problem\+json/)
    }
  }
})
