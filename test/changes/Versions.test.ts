import { randomUUID } from "node:crypto"
import { beforeAll, describe, expect, it } from "vitest"
import { type Endpoint, endpoints } from "../support/endpoints.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServers } from "../support/TestServer.ts"
import { checksum, create, having, listAll, newId, remove } from "../tasks/families.ts"
import { lastVersionOf, prepareWrite, writing } from "./writes.ts"

const [server, second] = useServers(2)
let user: Account
let other: Account
beforeAll(async () => {
  user = await server.register()
  other = await server.register()
  await create(server, other)
})

const ofTasks = endpoints.filter(({ path }) => /^\/api\/(v1|:user_id)\/(tasks|changes)(\/|$)/.test(path))
const reading = ofTasks.filter(({ method }) => method === "GET")

interface Row {
  readonly id: string
  readonly version: number
  readonly digest: string
}
const rowsOf = async ({ id }: Account) =>
  new Map(
    (await server.sql<Row>(
      "select id, version::int as version, md5(t::text) as digest from tasks t where user_id = $1",
      [id]
    )).map((row) => [row.id, row])
  )
const lastVersion = (account: Account) => lastVersionOf(server, account)
const stateOf = async (...accounts: ReadonlyArray<Account>) => [
  await checksum(server, ...accounts),
  await Promise.all(accounts.map(lastVersion))
]

const prepare = async (endpoint: Endpoint, account = user) => {
  const { body, ...request } = await prepareWrite(server, account, endpoint)
  return { ...request, options: { token: account.access_token, ...(body === undefined ? {} : { body }) } }
}

it("walks every endpoint of tasks and changes", () => {
  expect(writing.length).toBeGreaterThanOrEqual(18)
  expect(reading.length).toBeGreaterThanOrEqual(10)
})

describe.each(writing)("$name", (endpoint) => {
  it.each([{ name: "without a key", headers: {} }, { name: "with a key", headers: { "idempotency-key": "" } }])(
    "moves the user's sequence once and gives the task that version, $name",
    async ({ headers }) => {
      const { method, path, options, status } = await prepare(endpoint)
      const [before, theirs] = [await rowsOf(user), await stateOf(other)]
      const last = await lastVersion(user)
      const key = "idempotency-key" in headers ? { "idempotency-key": randomUUID() } : {}
      const answer = having(status, await server.request(method, path, { ...options, headers: key }))
      expect(await lastVersion(user)).toBe(last + 1)
      const after = await rowsOf(user)
      const changed = [...after.values()].filter((row) => before.get(row.id)?.digest !== row.digest)
      expect(changed).toHaveLength(1)
      expect(changed[0]?.version).toBe(last + 1)
      if (answer.json?.version !== undefined) {
        expect(answer.json).toMatchObject({ id: changed[0]?.id, version: last + 1 })
        expect(answer.headers.get("etag")).toBe(`"${last + 1}"`)
      } else expect(endpoint.name).toMatch(/^DELETE|bulk|batch/)
      expect(await stateOf(other)).toEqual(theirs)
    }
  )

  it("shows at once in the changes, also on another instance", async () => {
    const { method, path, options } = await prepare(endpoint)
    const token = user.access_token
    const { cursor } = having(200, await server.request("GET", "/api/v1/changes?limit=500", { token })).json
    await server.request(method, path, options)
    const since = `/api/v1/changes?since=${encodeURIComponent(cursor)}`
    const { changes } = having(200, await second.request("GET", since, { token })).json
    expect(changes).toMatchObject([{ version: await lastVersion(user) }])
  })

  it("that is refused changes no task and moves nothing", async () => {
    const { method, path, options, id } = await prepare(endpoint)
    const before = await stateOf(user, other)
    for (const key of [{}, { "idempotency-key": randomUUID() }]) {
      const ask = (at: string, headers: Record<string, string> = {}, body: unknown = options.body) =>
        server.request(method, at, {
          token: user.access_token,
          headers: { ...headers, ...key },
          ...(body === undefined ? {} : { body })
        })
      expectProblem(await ask(`${path}?bogus=1`), 422, "validation_failed")
      if (options.body !== undefined) expectProblem(await ask(path, {}, { bogus: 1 }), 422, "validation_failed")
      if (endpoint.path.includes(":id")) {
        expectProblem(await ask(path.replace(id, newId())), 404, "not_found")
        expectProblem(await ask(path.replace(id, "not-a-uuid")), 422, "validation_failed")
        // of a restore: see below
        if (!path.endsWith("/restore")) expectProblem(await ask(path, { "if-match": '"0"' }), 412, "stale_version")
        expectProblem(await ask(path, { "if-match": "0" }), 400, "malformed_header")
      }
      expectProblem(
        await server.request(method, path.replace("v1", user.id).replace(user.id, other.id), options),
        403,
        "forbidden"
      )
    }
    expect(await stateOf(user, other)).toEqual(before)
    // what was refused left nothing in the way of doing it
    expect((await server.request(method, path, options)).status).toBeLessThan(300)
  })
})

describe.each(reading)("$name", (endpoint) => {
  it.each(["GET", "HEAD"])("moves nothing, as %s", async (method) => {
    const { path, options } = await prepare(endpoint)
    const before = await stateOf(user, other)
    const reading = new AbortController()
    const response = await fetch(server.url + path, {
      method,
      signal: reading.signal,
      headers: { authorization: `Bearer ${options.token}`, "idempotency-key": randomUUID() }
    })
    expect(response.status).toBe(200)
    if (!path.endsWith("/stream")) await response.text()
    reading.abort()
    expect(await stateOf(user, other)).toEqual(before)
  })
})

describe("a write that finds nothing to do", () => {
  it("as a create that was done already moves nothing", async () => {
    const body = { id: newId(), title: "a" }
    const token = user.access_token
    const first = having(201, await server.request("POST", "/api/v1/tasks", { token, body }))
    const before = await stateOf(user)
    expect(having(200, await second.request("POST", "/api/v1/tasks", { token, body })).json).toEqual(first.json)
    const other = { ...body, title: "b" }
    expectProblem(await second.request("POST", "/api/v1/tasks", { token, body: other }), 409, "id_reused")
    expect(await stateOf(user)).toEqual(before)
  })

  it("as a deletion of what is deleted, or a restore of what is alive and of what is nobody's, moves nothing", async () => {
    const [alive, gone] = [await create(server, user), await create(server, user)]
    await remove(server, user, gone.id)
    const before = await stateOf(user)
    const token = user.access_token
    expectProblem(await server.request("DELETE", `/api/v1/tasks/${gone.id}`, { token }), 404, "not_found")
    expectProblem(await server.request("PATCH", `/api/v1/tasks/${gone.id}`, { token, body: {} }), 404, "not_found")
    expectProblem(await server.request("POST", `/api/v1/tasks/${newId()}/restore`, { token }), 404, "not_found")
    expect(await stateOf(user)).toEqual(before)
    // whether restoring what is alive succeeds or not, the answer tells the truth about the version
    const answer = await server.request("POST", `/api/v1/tasks/${alive.id}/restore`, { token })
    const row = (await rowsOf(user)).get(alive.id)
    if (answer.status === 200) expect(answer.json.version).toBe(row?.version)
    else expect(row?.version).toBe(alive.version)
  })
})

describe("a write of dates", () => {
  const recurring = {
    title: "a",
    due: { date: "2031-01-31" },
    recurrence: { rule: "FREQ=MONTHLY;COUNT=3" },
    reminders: [{ before: "PT30M" }]
  }
  const past = [{ at: "2026-01-01T00:00:00Z" }, { at: "2026-01-02T00:00:00Z" }]

  /** Of these tasks each gets one of the next versions, and nobody else anything. */
  const expectWritten = async (account: Account, ids: ReadonlyArray<string>, write: () => Promise<unknown>) => {
    const [before, last, theirs] = [await rowsOf(account), await lastVersion(account), await stateOf(other)]
    await write()
    const after = await rowsOf(account)
    const changed = [...after.values()].filter((row) => before.get(row.id)?.digest !== row.digest)
    expect(changed.map(({ id }) => id).sort()).toEqual([...ids].sort())
    expect(changed.map(({ version }) => version).sort((a, b) => a - b)).toEqual(ids.map((_, index) => last + 1 + index))
    expect(await lastVersion(account)).toBe(last + ids.length)
    expect(await stateOf(other)).toEqual(theirs)
  }

  it("moves the sequence once for an occurrence that is completed or taken back, and not where there is none", async () => {
    const account = await server.register()
    const { id } = await create(server, account, recurring)
    const complete = (status: number, body: object, on = server) => async () =>
      having(status, await on.request("PATCH", `/api/v1/tasks/${id}/complete`, { token: account.access_token, body }))
    await expectWritten(account, [id], complete(200, { occurrence: "2031-01-31" }))
    await expectWritten(account, [], complete(200, { occurrence: "2031-01-31" }, second))
    await expectWritten(account, [], complete(409, { occurrence: "2031-03-31" }))
    await expectWritten(account, [id], complete(200, {}, second))
    await expectWritten(account, [id], complete(200, { completed: false }))
    await expectWritten(account, [id], complete(200, { completed: false }, second))
    await expectWritten(account, [], complete(200, { completed: false }))
  })

  it("moves it by the tasks that a change of the zone renews", async () => {
    const account = await server.register()
    const floating = [await create(server, account, recurring), await create(server, account, recurring)]
    await create(server, account)
    await create(server, account, { title: "a", due: { date: "2031-01-31", time: "09:00", time_zone: "Asia/Tokyo" } })
    const moveTo = (time_zone: string) => async () =>
      having(
        200,
        await second.request("PATCH", "/api/v1/auth/me", { token: account.access_token, body: { time_zone } })
      )
    await expectWritten(account, floating.map(({ id }) => id), moveTo("Asia/Tokyo"))
    await expectWritten(account, [], moveTo("Asia/Tokyo"))
  })

  it("moves it by the tasks whose reminders are delivered, by as many workers as there may be", async () => {
    const account = await server.register()
    const reminding = [0, 1, 2].map(() => ({ id: newId(), title: "a", reminders: past }))
    const operations = [...reminding, { id: newId(), ...recurring }].map((task) => ({ op: "create", task }))
    const ids = reminding.map(({ id }) => id)
    const last = await lastVersion(account)
    having(
      200,
      await server.request("POST", "/api/v1/tasks/batch", {
        token: account.access_token,
        body: { mode: "atomic", operations }
      })
    )
    // those that the servers have are at it, too
    const delivered = async () => {
      await Promise.all([server, second, server, second].map((on) => on.remind()))
      return (await rowsOf(account)).values().filter(({ version }) => version > last + 4).toArray()
    }
    await expect.poll(async () => (await delivered()).length, { timeout: 10_000 }).toBe(3)
    const rows = await delivered()
    expect(rows.map(({ id }) => id).sort()).toEqual(ids.sort())
    expect(rows.map(({ version }) => version).sort()).toEqual([last + 5, last + 6, last + 7])
    expect(await lastVersion(account)).toBe(last + 7)
    await expectWritten(account, [], () => server.remind())
  })

  it("moves nothing where it is refused, or was done before", async () => {
    const account = await server.register()
    const token = account.access_token
    const body = { ...recurring, id: newId() }
    having(201, await server.request("POST", "/api/v1/tasks", { token, body }))
    const post = (status: number, body: object) => async () =>
      having(status, await second.request("POST", "/api/v1/tasks", { token, body }))
    await expectWritten(account, [], post(200, body))
    await expectWritten(account, [], post(409, { ...body, due: { date: "2031-02-28" } }))
    await expectWritten(account, [], post(422, { title: "a", recurrence: recurring.recurrence }))
    await expectWritten(account, [], async () => {
      const request = { token, body: { due: null } }
      having(422, await second.request("PATCH", `/api/v1/tasks/${body.id}`, request))
    })
  })
})

describe("If-Match of a restore", () => {
  const restore = (id: string, ifMatch: string) =>
    server.request("POST", `/api/v1/tasks/${id}/restore`, {
      token: user.access_token,
      headers: { "if-match": ifMatch }
    })

  it("lets the version of the tombstone through, which the changes show", async () => {
    const { id, version } = await create(server, user)
    await remove(server, user, id)
    const { json } = having(200, await restore(id, `"${version + 1}"`))
    expect(json).toMatchObject({ id, version: version + 2, deleted_at: null })
  })

  it("is 412 with the tombstone for another version", async () => {
    const { id, version } = await create(server, user)
    await remove(server, user, id)
    const answer = await restore(id, `"${version}"`)
    expectProblem(answer, 412, "stale_version")
    expect(answer.json.current).toMatchObject({ id, version: version + 1 })
    expect(answer.json.current.deleted_at).not.toBeNull()
  })

  it("that names the version of a live task is answered as without it, and not with 412 and that version", async () => {
    const task = await create(server, user)
    for (const ifMatch of ["*", `"${task.version}"`]) {
      const answer = await restore(task.id, ifMatch)
      expect(answer.status, answer.text).toBe(200)
      expect(answer.json).toEqual(task)
    }
  })
})

describe("versions", () => {
  it("have no gap and no repetition when many write at once on two instances", async () => {
    const account = await server.register()
    const token = account.access_token
    const own = await Promise.all([0, 1, 2, 3].map((index) => create(server, account, { title: `${index}` })))
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, index) => {
        const on = index % 2 === 0 ? server : second
        const path = `/api/v1/tasks/${own[index % 4]?.id}`
        const headers: Record<string, string> = index % 5 === 0 ? { "idempotency-key": `key ${index}` } : {}
        return index % 3 === 0
          ? on.request("POST", "/api/v1/tasks", { token, headers, body: { title: `new ${index}` } })
          : on.request("PATCH", path, { token, headers, body: { title: `again ${index}` } })
      })
    )
    for (const [index, answer] of answers.entries()) having(index % 3 === 0 ? 201 : 200, answer)
    const versions = answers.map(({ json }) => json.version).sort((a, b) => a - b)
    expect(versions).toEqual(Array.from({ length: 60 }, (_, index) => 5 + index))
    expect(await lastVersion(account)).toBe(64)
    const stored = (await listAll(server, account)).map(({ version }) => version)
    expect(new Set(stored).size).toBe(24)
    expect(Math.max(...stored)).toBe(64)
  })

  it("of one user are not moved by another", async () => {
    const [a, b] = [await server.register(), await server.register()]
    for (let times = 0; times < 5; times++) await create(server, a)
    expect((await create(server, b)).version).toBe(1)
    expect((await create(server, a)).version).toBe(6)
  })
})
