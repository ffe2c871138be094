import { randomUUID } from "node:crypto"
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import process from "node:process"
import { beforeAll, describe, expect, it } from "vitest"
import { connectTo, untilLocked } from "../operation/postgres.ts"
import { head, headerIn, sendBytes } from "../http/exchange.ts"
import type { Endpoint } from "../support/endpoints.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, type Answer, type TestServer, useServers } from "../support/TestServer.ts"
import { checksum, create, families, having, listAll, newId, patch, read, remove } from "../tasks/families.ts"
import { deletes, lastVersionOf, prepareWrite, varied, type Write, writing } from "./writes.ts"

const [server, second] = useServers(2)
const databaseUrl = process.env["TEST_DATABASE_URL"] || undefined
let user: Account
let other: Account
beforeAll(async () => {
  user = await server.register()
  other = await server.register()
})

const prepare = (endpoint: Endpoint, account = user) => prepareWrite(server, account, endpoint)
const lastVersion = (account: Account) => lastVersionOf(server, account)

const run = (
  { method, path, body }: Pick<Write, "method" | "path" | "body">,
  key?: string,
  options: { readonly as?: Account; readonly on?: TestServer; readonly headers?: Record<string, string> } = {}
): Promise<Answer> => {
  const { as = user, on = server, headers = {} } = options
  return on.request(method, path, {
    token: as.access_token,
    ...(body === undefined ? {} : { body }),
    headers: { ...(key === undefined ? {} : { "idempotency-key": key }), ...headers }
  })
}

const creation = (title: string): Pick<Write, "method" | "path" | "body"> => ({
  method: "POST",
  path: "/api/v1/tasks",
  body: { title }
})
const changing = (id: string, title: string): Pick<Write, "method" | "path" | "body"> => ({
  method: "PATCH",
  path: `/api/v1/tasks/${id}`,
  body: { title }
})

const storedKeys = async ({ id }: Account) =>
  (await server.sql<{ key: string }>("select key from idempotency_keys where user_id = $1 order by key", [id]))
    .map(({ key }) => key)
const age = ({ id }: Account, by: string) =>
  server.sql(`update idempotency_keys set created_at = now() - interval '${by}' where user_id = $1`, [id])

const marked = (answer: Answer) => answer.headers.get("idempotent-replayed")
const kept = ["content-type", "etag", "location"]
const expectReplay = (again: Answer, first: Answer) => {
  expect(again.status, again.text).toBe(first.status)
  expect(again.text).toBe(first.text)
  for (const name of kept) expect([name, again.headers.get(name)]).toEqual([name, first.headers.get(name)])
  expect(marked(again)).toBe("true")
  expect(again.headers.get("x-request-id")).not.toBe(first.headers.get("x-request-id"))
}
const expectDone = (answer: Answer) => {
  expect(answer.status, answer.text).toBeGreaterThanOrEqual(200)
  expect(answer.status, answer.text).toBeLessThan(300)
  expect(marked(answer)).toBeNull()
}

it("walks every endpoint that writes tasks", () => {
  expect(writing.length).toBeGreaterThanOrEqual(18)
  expect(writing.length % 2).toBe(0)
})

/** A write for each endpoint, made once, that is only ever refused. */
let prepared: Promise<ReadonlyArray<{ readonly name: string; readonly write: Write }>> | undefined
const waiting = () =>
  prepared ??= Promise.all(writing.map(async (endpoint) => ({ name: endpoint.name, write: await prepare(endpoint) })))

describe.each(writing)("R69 $name", (endpoint) => {
  it("with the same key is done once, and its answer is replayed", async () => {
    const write = await prepare(endpoint)
    const key = randomUUID()
    const before = await lastVersion(user)
    const first = await run(write, key)
    expectDone(first)
    const after = await checksum(server, user)
    expect(await lastVersion(user)).toBe(before + 1)
    for (const on of [server, second, server]) expectReplay(await run(write, key, { on }), first)
    expect(await checksum(server, user)).toEqual(after)
    expect(await lastVersion(user)).toBe(before + 1)
  })

  it("is replayed as it was, whatever has happened to the task since", async () => {
    const write = await prepare(endpoint)
    const key = randomUUID()
    const first = await run(write, key)
    const id = write.id || first.json.id
    if (deletes(write)) {
      having(200, await server.request("POST", `/api/v1/tasks/${id}/restore`, { token: user.access_token }))
    } else {
      await patch(server, user, id, { title: "changed since" })
      await remove(server, user, id)
    }
    const after = await checksum(server, user)
    expectReplay(await run(write, key), first)
    expect(await checksum(server, user)).toEqual(after)
  })

  it("without a key is never replayed", async () => {
    const write = await prepare(endpoint)
    expectDone(await run(write))
    const again = await run(write)
    expect(marked(again)).toBeNull()
    expect(await storedKeys(user)).not.toContain("")
  })

  it("with the key of another request is refused, and nothing happens", async () => {
    const key = randomUUID()
    const write = await prepare(endpoint)
    const others = (await waiting()).filter(({ name }) => name !== endpoint.name).map(({ write }) => write)
    expectDone(await run(write, key))
    others.push({ ...write, path: write.path.replace(/[0-9a-f-]{36}(?=$|\/(complete|restore)$)/, newId()) })
    if (write.path.startsWith("/api/v1/")) others.push({ ...write, path: write.path.replace("v1", user.id) })
    else others.push({ ...write, path: write.path.replace(user.id, "v1") })
    if (write.body !== undefined) others.push(varied(write))
    const before = [await checksum(server, user), await lastVersion(user)]
    for (const one of others) {
      if (one.path === write.path && one.method === write.method && one.body === write.body) continue
      const answer = await run(one, key)
      expectProblem(answer, 422, "idempotency_key_reused")
      expect(marked(answer)).toBeNull()
    }
    expect([await checksum(server, user), await lastVersion(user)]).toEqual(before)
  })

  it("of another user with the same key is another request", async () => {
    const key = randomUUID()
    const [mine, theirs] = [await prepare(endpoint, user), await prepare(endpoint, other)]
    const [first, second] = [await run(mine, key), await run(theirs, key, { as: other })]
    for (const one of [first, second]) expectDone(one)
    expectReplay(await run(mine, key), first)
    expectReplay(await run(theirs, key, { as: other }), second)
  })

  it("with a malformed key is refused, and nothing happens", async () => {
    const write = await prepare(endpoint)
    const before = await checksum(server, user)
    for (const key of ["", "k".repeat(256), "k".repeat(2_000)]) {
      expectProblem(await run(write, key), 400, "malformed_header")
      // 400 comes before 422, and after 401 and 403
      expectProblem(await run({ ...write, path: `${write.path}?bogus=1` }, key), 400, "malformed_header")
      if (write.body !== undefined) {
        expectProblem(await run({ ...write, body: { bogus: 1 } }, key), 400, "malformed_header")
      }
      const foreign = write.path.replace("v1", other.id).replace(user.id, other.id)
      expectProblem(await run({ ...write, path: foreign }, key), 403, "forbidden")
    }
    expect(await checksum(server, user)).toEqual(before)
    expectDone(await run(write, "k".repeat(200) + randomUUID()))
  })

  it("with a known key and an invalid request is 422 validation_failed", async () => {
    const write = await prepare(endpoint)
    const key = randomUUID()
    const first = await run(write, key)
    if (write.body !== undefined) {
      expectProblem(await run({ ...write, body: { bogus: 1 } }, key), 422, "validation_failed")
    }
    expectProblem(await run({ ...write, path: `${write.path}?bogus=1` }, key), 422, "validation_failed")
    expectReplay(await run(write, key), first)
  })

  it("with a key needs its token first", async () => {
    const write = await prepare(endpoint)
    const key = randomUUID()
    expectDone(await run(write, key))
    const options = { ...(write.body !== undefined && { body: write.body }), headers: { "idempotency-key": key } }
    expectProblem(await server.request(write.method, write.path, options), 401, "token_missing")
    if (write.path.startsWith("/api/v1/")) return
    expectProblem(await run(write, key, { as: other }), 403, "forbidden")
  })
})

describe("R69 an answer that refuses", () => {
  it("as 404 is not stored", async () => {
    const [id, key] = [newId(), randomUUID()]
    const write = changing(id, "b")
    expectProblem(await run(write, key), 404, "not_found")
    expectProblem(await run(write, key), 404, "not_found")
    await create(server, user, { id, title: "a" })
    const first = await run(write, key)
    expectDone(first)
    expectReplay(await run(write, key), first)
    expect((await read(server, user, id)).title).toBe("b")
  })

  it("as 412 is not stored", async () => {
    const account = await server.register()
    const { id } = await create(server, account)
    const [write, key] = [changing(id, "b"), randomUUID()]
    const options = { as: account, headers: { "if-match": '"2"' } }
    expectProblem(await run(write, key, options), 412, "stale_version")
    expectProblem(await run(write, key, options), 412, "stale_version")
    expect(await lastVersion(account)).toBe(1)
    await patch(server, account, id, { title: "now at 2" })
    const first = await run(write, key, options)
    expectDone(first)
    // the replay comes before If-Match is looked at again
    expectReplay(await run(write, key, options), first)
  })

  it("as 422, 400 or 415 is not stored", async () => {
    const key = randomUUID()
    const headers = { "idempotency-key": key }
    const token = user.access_token
    expectProblem(await run({ ...creation("a"), body: { title: "" } }, key), 422, "validation_failed")
    const json = { ...headers, "content-type": "application/json" }
    const cut = await server.request("POST", "/api/v1/tasks", { token, headers: json, raw: "{" })
    expectProblem(cut, 400, "malformed_body")
    const text = { ...headers, "content-type": "text/plain" }
    const answer = await server.request("POST", "/api/v1/tasks", { token, headers: text, raw: "{}" })
    expectProblem(answer, 415, "unsupported_media_type")
    expect(await storedKeys(user)).not.toContain(key)
    expectDone(await run(creation("a"), key))
  })

  it("as 409 id_reused is not stored", async () => {
    const [id, key] = [newId(), randomUUID()]
    await create(server, user, { id, title: "a" })
    expectProblem(await run({ ...creation("b"), body: { id, title: "b" } }, key), 409, "id_reused")
    expectDone(await run(creation("b"), key))
  })

  it("as 401 or 403 is not stored", async () => {
    const key = randomUUID()
    const options = { body: { title: "a" }, headers: { "idempotency-key": key } }
    expectProblem(await server.request("POST", "/api/v1/tasks", options), 401, "token_missing")
    expectProblem(await run({ ...creation("a"), path: `/api/${other.id}/tasks` }, key), 403, "forbidden")
    for (const account of [user, other]) expect(await storedKeys(account)).not.toContain(key)
    expectDone(await run(creation("a"), key))
  })
})

describe("R69 a key", () => {
  it("of 1 and of 255 characters is accepted, and each character counts", async () => {
    const stem = randomUUID().padEnd(254, "k")
    const answers = new Map<string, Answer>()
    for (const key of ["~", `${stem}a`, `${stem}b`, `${stem}B`, stem]) {
      const answer = await run(creation(key.slice(-5)), key)
      expectDone(answer)
      answers.set(key, answer)
    }
    for (const [key, first] of answers) expectReplay(await run(creation(key.slice(-5)), key), first)
  })

  it("may be any visible ASCII", async () => {
    const visible = Array.from({ length: 94 }, (_, index) => String.fromCharCode(33 + index)).join("")
    for (
      const key of [visible, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "' or 1=1 --", "__proto__", "a,b", "%00", "\\0"]
    ) {
      const account = await server.register()
      const first = await run(creation("a"), key, { as: account })
      expectDone(first)
      expectReplay(await run(creation("a"), key, { as: account }), first)
      expect(await storedKeys(account)).toEqual([key])
    }
  })

  it("with control or non-ASCII characters is refused", async () => {
    const before = await checksum(server, user)
    const ask = (key: string) => {
      const body = '{"title":"a"}'
      const lines = [
        "Host: localhost",
        "Connection: close",
        `Authorization: Bearer ${user.access_token}`,
        `Idempotency-Key: ${key}`,
        "Content-Type: application/json",
        `Content-Length: ${body.length}`
      ]
      return sendBytes(server, Buffer.from(head("POST /api/v1/tasks", ...lines) + body, "latin1"))
    }
    // these reach the application
    for (const key of ["a\tb", "caf\u00e9", "\u0080", "\u00a0", "\u00ff", Buffer.from("🎉").toString("latin1")]) {
      const { statuses, text } = await ask(key)
      expect(statuses, JSON.stringify(key)).toEqual([400])
      expect(text).toContain('"code":"malformed_header"')
      expect(headerIn(text, "content-type")).toMatch(/^application\/problem\+json/)
    }
    // some of these are no HTTP
    for (const key of ["a\u0000b", "a\u0001b", "a\u001bb", "a\u007fb", "", " ", "\t"]) {
      expect((await ask(key)).statuses, JSON.stringify(key)).toEqual([400])
    }
    expect(await checksum(server, user)).toEqual(before)
    expect((await ask("plain")).statuses).toEqual([201])
  })

  it("that is sent twice is refused or one key, never half of it", async () => {
    const account = await server.register()
    const body = '{"title":"a"}'
    const lines = [
      "Host: localhost",
      "Connection: close",
      `Authorization: Bearer ${account.access_token}`,
      "Idempotency-Key: one",
      "Idempotency-Key: two",
      "Content-Type: application/json",
      `Content-Length: ${body.length}`
    ]
    const { statuses } = await sendBytes(server, head("POST /api/v1/tasks", ...lines) + body)
    expect([201, 400]).toContain(statuses[0])
    const stored = await storedKeys(account)
    expect(stored).not.toContain("one")
    expect(stored).not.toContain("two")
  })

  it("is known with another method as another request, where all else is the same", async () => {
    for (const { tasks } of families) {
      const { id } = await create(server, user)
      const key = randomUUID()
      const write = { method: "PUT", path: `${tasks(user)}/${id}`, body: { title: "b" } }
      const first = await run(write, key)
      expectDone(first)
      for (const method of ["PATCH", "DELETE"]) {
        const { path, body } = { ...write, body: method === "DELETE" ? undefined : write.body }
        expectProblem(await run({ method, path, body }, key), 422, "idempotency_key_reused")
      }
      expectReplay(await run(write, key), first)
    }
  })

  it("is known with another If-Match as another request", async () => {
    const task = await create(server, user)
    const [write, key] = [changing(task.id, "b"), randomUUID()]
    const matching = { "if-match": `"${task.version}"` }
    const first = await run(write, key, { headers: matching })
    expectDone(first)
    expectProblem(await run(write, key), 422, "idempotency_key_reused")
    expectProblem(await run(write, key, { headers: { "if-match": "*" } }), 422, "idempotency_key_reused")
    expectReplay(await run(write, key, { headers: matching }), first)
  })

  it("comes with a request, whatever session and connection it came through", async () => {
    const account = await server.register()
    const key = randomUUID()
    const first = await run(creation("a"), key, { as: account })
    const login = await server.request("POST", "/api/v1/auth/login", {
      body: { email: account.email, password: account.password }
    })
    const again = { ...account, access_token: having(200, login).json.access_token }
    expectReplay(await run(creation("a"), key, { as: again, headers: { "user-agent": "another" } }), first)
  })

  it("is not asked of a read", async () => {
    const { id } = await create(server, user)
    const key = randomUUID()
    for (const path of ["/api/v1/tasks?limit=1", `/api/v1/tasks/${id}`, "/api/v1/changes?limit=1"]) {
      const answer = await run({ method: "GET", path, body: undefined }, key)
      expect([answer.status, marked(answer)]).toEqual([200, null])
    }
    expectDone(await run(creation("a"), key))
  })

  it("replays the creation of a task with the client's own id as a creation", async () => {
    const [id, key] = [newId(), randomUUID()]
    const write = { ...creation("a"), body: { id, title: "a" } }
    const first = having(201, await run(write, key))
    expectReplay(await run(write, key), first)
    const unmarked = having(200, await run(write))
    expect(marked(unmarked)).toBeNull()
    expect(unmarked.json).toEqual(first.json)
  })
})

describe("R69 after 24 hours", () => {
  it("a key is free again, also before the purge ran", async () => {
    const account = await server.register()
    const as = { as: account }
    const first = await run(creation("a"), "key", as)
    await age(account, "23 hours 59 minutes")
    expectReplay(await run(creation("a"), "key", as), first)
    expectProblem(await run(creation("b"), "key", as), 422, "idempotency_key_reused")
    await age(account, "24 hours 1 second")
    const later = await run(creation("b"), "key", as)
    expectDone(later)
    expectReplay(await run(creation("b"), "key", as), later)
    await age(account, "24 hours 1 second")
    const same = await run(creation("b"), "key", as)
    expectDone(same)
    expect(same.json.id).not.toBe(later.json.id)
    expect(await listAll(server, account)).toHaveLength(3)
  })

  it("the purge takes the key away, and only then", async () => {
    const account = await server.register()
    const as = { as: account }
    await server.purge()
    await run(creation("a"), "old", as)
    await age(account, "24 hours 1 minute")
    await run(creation("a"), "new", as)
    expect(await storedKeys(account)).toEqual(["new", "old"])
    expect(await second.purge()).toMatchObject({ idempotencyKeys: 1 })
    expect(await storedKeys(account)).toEqual(["new"])
    expect(await server.purge()).toMatchObject({ idempotencyKeys: 0 })
    await age(account, "23 hours 59 minutes")
    expect(await server.purge()).toMatchObject({ idempotencyKeys: 0 })
    expect(marked(await run(creation("a"), "new", as))).toBe("true")
  })

  it("a key that was used again is not purged for its first use", async () => {
    const account = await server.register()
    const as = { as: account }
    await run(creation("a"), "key", as)
    await age(account, "25 hours")
    const again = await run(creation("a"), "key", as)
    await server.purge()
    expectReplay(await run(creation("a"), "key", as), again)
  })
})

const onBoth = (index: number) => index % 2 === 0 ? server : second

describe("R69 at the same time", () => {
  it("twenty creates with one key on two instances make one task", async () => {
    const account = await server.register()
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => run(creation("a"), "key", { as: account, on: onBoth(index) }))
    )
    const done = answers.filter(({ status }) => status === 201)
    for (const answer of answers) {
      if (answer.status !== 201) expectProblem(answer, 409, "idempotency_in_flight")
    }
    expect(done.filter((answer) => marked(answer) === null)).toHaveLength(1)
    expect(new Set(done.map(({ text }) => text)).size).toBe(1)
    expect(new Set(done.map(({ headers }) => headers.get("location"))).size).toBe(1)
    expect(await listAll(server, account)).toEqual([done[0]?.json])
    expect(await lastVersion(account)).toBe(1)
  })

  it("requests that differ and share a key are one success and refusals", async () => {
    const account = await server.register()
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => run(creation(`${index}`), "key", { as: account, on: onBoth(index) }))
    )
    const done = answers.filter(({ status }) => status === 201)
    expect(done).toHaveLength(1)
    for (const answer of answers) {
      if (answer === done[0]) continue
      const inFlight = answer.status === 409
      expectProblem(answer, inFlight ? 409 : 422, inFlight ? "idempotency_in_flight" : "idempotency_key_reused")
    }
    expect(await listAll(server, account)).toEqual([done[0]?.json])
  })

  it("two users with one key don't wait for each other", async () => {
    const accounts = [await server.register(), await server.register()]
    const answers = await Promise.all(
      Array.from(
        { length: 20 },
        (_, index) => run(creation("a"), "key", { as: accounts[index % 2]!, on: onBoth(index >> 1) })
      )
    )
    for (const account of accounts) expect(await listAll(server, account)).toHaveLength(1)
    expect(answers.filter((answer) => answer.status === 201 && marked(answer) === null)).toHaveLength(2)
  })

  it("R68 one of thirty changes of one version wins, and 29 are told the current task", async () => {
    const task = await create(server, user)
    const headers = { "if-match": `"${task.version}"` }
    const key = randomUUID()
    const write = (index: number) =>
      run(changing(task.id, `writer ${index}`), `${key}${index}`, { headers, on: onBoth(index) })
    const before = await lastVersion(user)
    const answers = await Promise.all(Array.from({ length: 30 }, (_, index) => write(index)))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array<number>(29).fill(412)])
    const winner = answers.findIndex(({ status }) => status === 200)
    expect(await read(server, user, task.id)).toEqual(answers[winner]?.json)
    for (const answer of answers) {
      if (answer.status !== 412) continue
      expectProblem(answer, 412, "stale_version")
      expect(answer.json.current).toEqual(answers[winner]?.json)
    }
    expect(await lastVersion(user)).toBe(before + 1)
    expect((await storedKeys(user)).filter((one) => one.startsWith(key))).toEqual([`${key}${winner}`])
    for (const [index, first] of answers.entries()) {
      const again = await write(index)
      if (index === winner) expectReplay(again, first)
      else expectProblem(again, 412, "stale_version")
    }
  })

  it("thirty retries of one change of one version are one change", async () => {
    const task = await create(server, user)
    const key = randomUUID()
    const options = { headers: { "if-match": `"${task.version}"` } }
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, index) => run(changing(task.id, "b"), key, { ...options, on: onBoth(index) }))
    )
    for (const answer of answers) {
      if (answer.status !== 200) expectProblem(answer, 409, "idempotency_in_flight")
      else expect(answer.json.version).toBe(task.version + 1)
    }
    expect(answers.filter((answer) => answer.status === 200 && marked(answer) === null)).toHaveLength(1)
  })

  it("a client that goes away and retries has written once", async () => {
    const account = await server.register()
    let count = 0
    let isAnswered = false
    // until one is answered before its client goes: so they have gone at any time from the first byte to the answer
    for (; count < 30 || (!isAnswered && count < 300); count++) {
      const index = count
      isAnswered = true
      const gone = new AbortController()
      const request = fetch(`${server.url}/api/v1/tasks`, {
        method: "POST",
        signal: gone.signal,
        headers: {
          authorization: `Bearer ${account.access_token}`,
          "content-type": "application/json",
          "idempotency-key": `key ${index}`
        },
        body: JSON.stringify({ title: `${index}` })
      }).then((response) => response.text()).catch(() => isAnswered = false)
      setTimeout(() => gone.abort(), index / 5)
      await request
      const answer = await run(creation(`${index}`), `key ${index}`, { as: account, on: onBoth(index) })
      having(201, answer)
    }
    expect(isAnswered, "the last of them").toBe(true)
    const titles = (await listAll(server, account)).map(({ title }) => Number(title)).sort((a, b) => a - b)
    expect(titles).toEqual(Array.from({ length: count }, (_, index) => index))
    expect(await lastVersion(account)).toBe(count)
  })
})

describe.skipIf(databaseUrl === undefined)("R69 while another transaction holds the user's sequence", () => {
  const superuserUrl = async () => {
    const [database] = await server.sql<{ name: string }>("select current_database() as name")
    const url = new URL(databaseUrl ?? "")
    url.pathname = `/${database?.name}`
    return url
  }

  /** Takes the row on a connection of its own, until it is released. */
  const hold = async ({ id }: Account) => {
    const url = await superuserUrl()
    const released = Promise.withResolvers<void>()
    const taken = Promise.withResolvers<void>()
    const holding = Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql.withTransaction(Effect.gen(function* () {
        yield* sql`select from user_sequences where user_id = ${id} for update`
        taken.resolve()
        yield* Effect.promise(() => released.promise)
      }))
    }).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(url.href), maxConnections: 1 })), Effect.runPromise)
    holding.catch(taken.reject)
    await taken.promise
    return async () => {
      released.resolve()
      await holding
    }
  }

  it("what comes behind the deletion of its user is of nobody: 401", async ({ onTestFinished }) => {
    // who sees what everybody waits for
    const admin = connectTo((await superuserUrl()).href, onTestFinished)
    const account = await server.register()
    const { id } = await create(server, account)
    const token = account.access_token
    const keyed = (path: string, body: unknown) =>
      server.request("POST", `/api/v1/tasks${path}`, { token, headers: { "idempotency-key": randomUUID() }, body })
    const release = await hold(account)
    const deletion = server.request("DELETE", "/api/v1/auth/me", { token, body: { password: account.password } })
    await untilLocked(admin, 1)
    const writes = [
      keyed("/bulk/delete", { ids: [id] }),
      keyed("/bulk/complete", { ids: [id] }),
      keyed("/batch", { mode: "partial", operations: [{ op: "delete", id }] })
    ]
    await untilLocked(admin, 4)
    await release()
    expect((await deletion).status).toBe(204)
    for (const answer of await Promise.all(writes)) expectProblem(answer, 401, "token_invalid")
  })

  const timed = async (ask: () => Promise<Answer>) => {
    const start = performance.now()
    const answer = await ask()
    return { answer, took: performance.now() - start }
  }

  // each holds a connection while it waits
  const halves = [writing.slice(0, writing.length / 2), writing.slice(writing.length / 2)]
  it.each(halves)(
    "every write gives up after 2 s: 409 with a key, 503 without, and has done nothing",
    async (...half) => {
      const writes = []
      for (const endpoint of half) writes.push(await prepare(endpoint))
      const before = [await checksum(server, user), await lastVersion(user)]
      const keys = writes.map(() => randomUUID())
      for (const withKey of [true, false]) {
        const release = await hold(user)
        try {
          const answers = await Promise.all(
            writes.map((write, index) =>
              timed(() => run(write, withKey ? keys[index] : undefined, { on: onBoth(index) }))
            )
          )
          for (const { answer, took } of answers) {
            if (withKey) expectProblem(answer, 409, "idempotency_in_flight")
            else {
              expectProblem(answer, 503, "overloaded")
              expect(answer.headers.get("retry-after")).toMatch(/^\d+$/)
            }
            expect(took).toBeGreaterThan(1_900)
            // without a key the database limits each lock; who is second in the queue waits for two
            expect(took).toBeLessThan(withKey ? 3_000 : 5_000)
          }
          expect([await checksum(server, user), await lastVersion(user)]).toEqual(before)
          for (const path of ["/api/v1/tasks?limit=1", "/api/v1/changes?limit=1"]) {
            const { answer, took } = await timed(() => run({ method: "GET", path, body: undefined }))
            having(200, answer)
            expect(took).toBeLessThan(1_000)
          }
          const { answer, took } = await timed(() => run(creation("not delayed"), randomUUID(), { as: other }))
          having(201, answer)
          expect(took).toBeLessThan(1_000)
        } finally {
          await release()
        }
      }
      expect([await checksum(server, user), await lastVersion(user)]).toEqual(before)
      for (const [index, write] of writes.entries()) {
        const first = await run(write, keys[index])
        expectDone(first)
        expectReplay(await run(write, keys[index]), first)
      }
    }
  )

  it("a duplicate that waits less gets the answer of the first", async () => {
    const account = await server.register()
    const release = await hold(account)
    const asked = [0, 1, 2, 3, 4, 5].map((index) => run(creation("a"), "key", { as: account, on: onBoth(index) }))
    await new Promise((resolve) => setTimeout(resolve, 700))
    await release()
    const answers = await Promise.all(asked)
    const [first] = answers.filter((answer) => marked(answer) === null)
    expectDone(first!)
    for (const answer of answers) {
      if (answer !== first) expectReplay(answer, first!)
    }
    expect(await listAll(server, account)).toHaveLength(1)
  })

  it("a purge does not wait for it", async () => {
    const [held, free] = [await server.register(), await server.register()]
    for (const account of [held, free]) {
      await run(creation("a"), "key", { as: account })
      const { id } = await create(server, account)
      await remove(server, account, id)
      await server.sql("update tasks set deleted_at = now() - interval '46 days' where user_id = $1 and id = $2", [
        account.id,
        id
      ])
    }
    const release = await hold(held)
    try {
      const start = performance.now()
      expect(await server.purge()).toMatchObject({ tombstones: 1 })
      expect(performance.now() - start).toBeLessThan(1_000)
    } finally {
      await release()
    }
    expect(await server.purge()).toMatchObject({ tombstones: 1 })
  })
})

describe.each(families)("R69 the deletion of a task under $name", ({ tasks }) => {
  it("is replayed also after the task is gone from the database", async () => {
    const { id } = await create(server, user)
    const write = { method: "DELETE", path: `${tasks(user)}/${id}`, body: undefined }
    const key = randomUUID()
    const first = await run(write, key)
    expectDone(first)
    await server.sql("delete from tasks where user_id = $1 and id = $2", [user.id, id])
    expectReplay(await run(write, key), first)
    expectProblem(await run(write), 404, "not_found")
  })
})
