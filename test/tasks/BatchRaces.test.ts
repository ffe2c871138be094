import { randomUUID } from "node:crypto"
import { request as httpRequest } from "node:http"
import { expect, it } from "vitest"
import { lastVersionOf } from "../changes/writes.ts"
import { type Account, type Answer, type TestServer, useServers } from "../support/TestServer.ts"
import { batch, bulk, feedOf, type Operation, type Result, resultsOf } from "./batches.ts"
import { create, families, having, listAll, newId, patiently, type TaskAnswer } from "./families.ts"

const servers = useServers(2)
const [server, second] = servers

const shuffled = <A>(all: ReadonlyArray<A>, seed: number): Array<A> => {
  // a different order for each seed, the same in every run
  const keyed = all.map((one, index) => ({ one, key: (index * 7919 + seed * 104_729) % 9973 }))
  return keyed.sort((a, b) => a.key - b.key).map(({ one }) => one)
}

const many = async (account: Account, count: number): Promise<ReadonlyArray<TaskAnswer>> => {
  const operations = Array.from({ length: count }, (_, index) => ({ op: "create", task: { title: `t${index}` } }))
  return resultsOf(await batch(server, account, "atomic", operations)).map(({ task }) => task!)
}

const byId = (tasks: ReadonlyArray<TaskAnswer>) => [...tasks].sort((a, b) => a.id < b.id ? -1 : 1)

/** What a client has that had these tasks and then read the changes. */
const applied = (had: ReadonlyArray<TaskAnswer>, changes: ReadonlyArray<TaskAnswer>) => {
  const copy = new Map(had.map((task) => [task.id, task]))
  for (const task of changes) {
    if (task.deleted_at === null) copy.set(task.id, task)
    else copy.delete(task.id)
  }
  return byId([...copy.values()])
}

it("20 batches of the same tasks in 20 orders on two instances wait for each other and lose nothing", async () => {
  const account = await server.register()
  const other = await server.register()
  const tasks = await many(account, 20)
  const theirs = await many(other, 3)
  const start = await lastVersionOf(server, account)
  const { cursor } = await feedOf(server, account)
  const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => {
    const operations: Array<Operation> = shuffled(tasks, index).map(({ id }, at) =>
      (at + index) % 4 === 0
        ? { op: "complete", id, completed: index % 2 === 0 }
        : { op: "update", id, task: { title: `${index}.${at}` } }
    )
    operations.push({ op: "create", task: { title: `made by ${index}` } })
    const mode = index % 3 === 0 ? "partial" : "atomic"
    return patiently(() => batch(servers[index % 2]!, account, mode, operations, { family: families[index % 2]! }))
  }))
  const results: Array<Result> = []
  for (const answer of answers) {
    const one = resultsOf(answer)
    expect(one.map(({ status }) => status)).toEqual([...Array.from({ length: 20 }, () => 200), 201])
    const versions = one.map(({ task }) => task!.version)
    expect(versions, "in the order of the operations").toEqual([...versions].sort((a, b) => a - b))
    results.push(...one)
  }
  // a completion that had nothing to do keeps its version; each other version is of one state only
  const states = new Map<number, string>()
  for (const { task } of results) {
    const text = JSON.stringify(task)
    expect(states.get(task!.version) ?? text).toBe(text)
    states.set(task!.version, text)
  }
  const last = await lastVersionOf(server, account)
  const inOrder = [...states.keys()].filter((version) => version > start).sort((a, b) => a - b)
  expect(inOrder).toEqual(Array.from({ length: last - start }, (_, index) => start + 1 + index))
  const live = byId(await listAll(server, account))
  expect(live).toHaveLength(40)
  expect(applied(tasks, (await feedOf(second, account, cursor)).changes)).toEqual(live)
  expect(byId(await listAll(server, other))).toEqual(byId(theirs))
})

it(
  "bulk, batches and single writes at once are in one order, and the feed tells of all",
  { timeout: 60_000 },
  async () => {
    const account = await server.register()
    const token = account.access_token
    const tasks = await many(account, 30)
    const { cursor } = await feedOf(server, account)
    const reading = new AbortController()
    const followed: Array<TaskAnswer> = []
    let position = cursor
    const readOn = (async () => {
      while (!reading.signal.aborted) {
        const read: Awaited<ReturnType<typeof feedOf>> = await feedOf(second, account, position)
        followed.push(...read.changes)
        position = read.cursor
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    })()
    const ids = tasks.map(({ id }) => id)
    const ways: ReadonlyArray<(on: TestServer, index: number) => Promise<Answer>> = [
      (on, index) => bulk(on, account, "complete", { ids: shuffled(ids, index), completed: index % 2 === 0 }),
      (on, index) => bulk(on, account, "delete", { ids: shuffled(ids, index).slice(0, 3) }),
      (on, index) =>
        batch(
          on,
          account,
          "partial",
          shuffled(ids, index).map((id) => ({ op: "update", id, task: { title: `${index}` } }))
        ),
      (on, index) =>
        batch(on, account, "atomic", shuffled(ids, index).slice(0, 4).map((id) => ({ op: "complete", id }))),
      (on, index) =>
        batch(on, account, "atomic", [
          { op: "create", task: { title: `new ${index}` } },
          { op: "delete", id: ids[index % 30]! }
        ]),
      (on, index) => on.request("POST", `/api/v1/tasks/${ids[index % 30]}/restore`, { token }),
      (on, index) =>
        on.request("PATCH", `/api/v1/tasks/${ids[index % 30]}`, { token, body: { title: `single ${index}` } })
    ]
    const answers = await Promise.all(
      Array.from({ length: 70 }, (_, index) => ways[index % 7]!(servers[Math.floor(index / 7) % 2]!, index))
    )
    // 503: who waits for the others for more than 2 s, as on a machine that is busy with other tests, has done nothing
    for (const { status, text } of answers) expect([200, 404, 409, 503], text).toContain(status)
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThan(30)
    for (const { json } of answers.filter(({ status }) => status === 409)) expect(json.code).toBe("batch_failed")
    reading.abort()
    await readOn
    const rest = await feedOf(server, account, position)
    followed.push(...rest.changes)
    const versions = followed.map(({ version }) => version)
    expect(versions, "versions of a feed only grow").toEqual([...new Set(versions)].sort((a, b) => a - b))
    const live = byId(await listAll(server, account))
    expect(applied(tasks, followed)).toEqual(live)
    expect(new Set(live.map(({ version }) => version)).size).toBe(live.length)
    expect(Math.max(...live.map(({ version }) => version))).toBeLessThanOrEqual(await lastVersionOf(server, account))
  }
)

it("of many atomic batches that name one version one succeeds, and the others change nothing", async () => {
  const account = await server.register()
  const [a, b] = await many(account, 2)
  const before = await lastVersionOf(server, account)
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      patiently(() =>
        batch(servers[index % 2]!, account, "atomic", [
          { op: "create", task: { title: `made by ${index}` } },
          { op: "update", id: b!.id, task: { title: `${index}` } },
          { op: "update", id: a!.id, task: { title: `${index}` }, if_match: a!.version }
        ])
      ))
  )
  expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array.from({ length: 19 }, () => 409)])
  for (const { json } of answers.filter(({ status }) => status === 409)) {
    expect(json.results[2]).toMatchObject({ status: 412, problem: { code: "stale_version" } })
  }
  expect(await lastVersionOf(server, account)).toBe(before + 3)
  const titles = (await listAll(server, account)).map(({ title }) => title.replace("made by ", ""))
  expect([titles.length, new Set(titles).size]).toEqual([3, 1])
})

it("of many batches that create one id one does", async () => {
  const account = await server.register()
  const id = newId()
  const answers = await Promise.all(
    Array.from({ length: 16 }, (_, index) =>
      patiently(() =>
        batch(servers[index % 2]!, account, "partial", [
          { op: "create", task: { id, title: "the same" } },
          { op: "create", task: { title: `${index}` } }
        ])
      ))
  )
  const statuses = answers.map((answer) => resultsOf(answer)[0]!.status).sort()
  expect(statuses).toEqual([...Array.from({ length: 15 }, () => 200), 201])
  expect(await listAll(server, account)).toHaveLength(17)
  const last = await lastVersionOf(server, account)
  expect(last >= 17 && last <= 32, String(last)).toBe(true)
})

/** Sends a whole request and goes away this many milliseconds later; true where the answer came first. */
const abandoned = (path: string, token: string, body: string, key: string, after: number) =>
  new Promise<boolean>((resolve) => {
    const { hostname, port } = new URL(server.url)
    const request = httpRequest({
      hostname,
      port,
      path,
      method: "POST",
      agent: false,
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        "idempotency-key": key
      }
    })
    request.on("error", () => resolve(false))
    request.on("response", (response) => {
      response.resume()
      response.on("end", () => resolve(true))
      response.on("error", () => resolve(false))
    })
    request.on("close", () => resolve(false))
    request.end(body)
    setTimeout(() => request.destroy(), after)
  })

it.each(["atomic", "partial"] as const)(
  "R52 a batch in mode %s whose client goes away happens wholly or not at all, and a retry converges",
  { timeout: 60_000 },
  async (mode) => {
    const account = await server.register()
    const operations = Array.from({ length: 100 }, (_, index) => ({ op: "create", task: { title: `${index}` } }))
    const body = JSON.stringify({ mode, operations })
    const token = account.access_token
    let isAnswered = false
    // until one is answered before its client goes: so they have gone at any time from the first byte to the answer
    for (let after = 0; after < 24 || (!isAnswered && after < 2_000); after += 2) {
      const key = randomUUID()
      isAnswered = await abandoned("/api/v1/tasks/batch", token, body, key, after)
      expect((await listAll(server, account)).length % 100, `after ${after} ms`).toBe(0)
      const headers = { "idempotency-key": key }
      const retry = { token, body: JSON.parse(body), headers }
      having(200, await server.request("POST", "/api/v1/tasks/batch", retry))
      const [row] = await server.sql<{ count: number }>(
        "select count(*)::int as count from tasks where user_id = $1",
        [account.id]
      )
      expect(row?.count, `after ${after} ms`).toBe(100)
      expect(await lastVersionOf(server, account)).toBe(100)
      await server.sql("delete from tasks where user_id = $1", [account.id])
      await server.sql("update user_sequences set last_version = 0 where user_id = $1", [account.id])
    }
    expect(isAnswered, "the last of them").toBe(true)
  }
)

it("R52 a bulk whose body never ends does nothing", async () => {
  const account = await server.register()
  const [task] = await many(account, 1)
  const before = await lastVersionOf(server, account)
  const { hostname, port } = new URL(server.url)
  for (const action of ["bulk/delete", "bulk/complete", "batch"]) {
    const whole = action === "batch"
      ? JSON.stringify({ mode: "atomic", operations: [{ op: "delete", id: task!.id }] })
      : JSON.stringify({ ids: [task!.id] })
    await new Promise<void>((resolve) => {
      const request = httpRequest({
        hostname,
        port,
        path: `/api/v1/tasks/${action}`,
        method: "POST",
        agent: false,
        headers: {
          authorization: `Bearer ${account.access_token}`,
          "content-type": "application/json",
          "content-length": whole.length
        }
      })
      request.on("error", () => resolve())
      request.on("close", () => resolve())
      request.write(whole.slice(0, -1))
      setTimeout(() => request.destroy(), 30)
    })
  }
  expect(await lastVersionOf(server, account)).toBe(before)
  expect(await listAll(server, account)).toEqual([task])
})

it("one user's batches do not hold up another's", async () => {
  const [busy, idle] = [await server.register(), await server.register()]
  const tasks = await many(busy, 100)
  const [own] = [await create(server, idle)]
  const working = Promise.all(
    Array.from(
      { length: 10 },
      (_, index) =>
        patiently(() =>
          bulk(servers[index % 2]!, busy, "complete", { ids: tasks.map(({ id }) => id), completed: index % 2 === 0 })
        )
    )
  )
  const mixed = await bulk(second, idle, "delete", { ids: [...tasks.slice(0, 50).map(({ id }) => id), own.id] })
  expect(having(200, mixed).json.deleted).toBe(1)
  for (const answer of await working) having(200, answer)
  expect(await listAll(server, busy)).toHaveLength(100)
})
