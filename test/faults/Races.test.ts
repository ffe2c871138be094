/** Fifty at once, on two instances: one order of events in the end, and none that was never promised. */
import { randomUUID } from "node:crypto"
import { describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, type Answer, useServers } from "../support/TestServer.ts"
import { create, having, listAll, newId, read } from "../tasks/families.ts"
import { size } from "./sizes.ts"

const servers = useServers(2)
const [server] = servers

const rounds = size(3, 20)
const at = (index: number) => servers[index % 2]!
const fifty = (ask: (index: number) => Promise<Answer>) => Promise.all(Array.from({ length: 50 }, (_, i) => ask(i)))
const statusesOf = (answers: ReadonlyArray<Answer>) => {
  const counts: Record<number, number> = {}
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

describe("F23 fifty at once", () => {
  it("that change one version: one does", async () => {
    for (let round = 0; round < rounds; round++) {
      const account = await server.register()
      const task = await create(server, account)
      const headers = { "if-match": `"${task.version}"` }
      const answers = await fifty((index) =>
        at(index).request("PATCH", `/api/v1/tasks/${task.id}`, {
          token: account.access_token,
          headers,
          body: { title: `writer ${index}` }
        })
      )
      expect(statusesOf(answers)).toEqual({ 200: 1, 412: 49 })
      const winner = answers.find(({ status }) => status === 200)
      expect(await read(server, account, task.id)).toEqual(winner?.json)
    }
  })

  it("that have one key: one does, and the others have its answer", async () => {
    for (let round = 0; round < rounds; round++) {
      const account = await server.register()
      const headers = { "idempotency-key": randomUUID() }
      const answers = await fifty((index) =>
        at(index).request("POST", "/api/v1/tasks", { token: account.access_token, headers, body: { title: "once" } })
      )
      const done = answers.filter(({ status }) => status === 201)
      for (const answer of answers) {
        if (answer.status !== 201) expectProblem(answer, 409, "idempotency_in_flight")
      }
      expect(new Set(done.map(({ text }) => text)).size).toBe(1)
      expect(await listAll(server, account)).toHaveLength(1)
    }
  })

  it("that refresh while one logs out: nothing that any of them got works afterwards", async () => {
    for (let round = 0; round < rounds; round++) {
      const account = await server.register()
      const answers = await fifty((index) =>
        index === 25
          ? at(index).request("POST", "/api/v1/auth/logout", { token: account.access_token })
          : at(index).request("POST", "/api/v1/auth/refresh", { body: { refresh_token: account.refresh_token } })
      )
      expect(answers[25]?.status).toBe(204)
      const tokens = [account, ...answers.flatMap(({ json, status }) => status === 200 ? [json] : [])]
      for (const answer of answers) expect([200, 204, 401], answer.text).toContain(answer.status)
      for (const refresh_token of new Set(tokens.map((one: Account) => one.refresh_token))) {
        for (const instance of servers) {
          const again = await instance.request("POST", "/api/v1/auth/refresh", { body: { refresh_token } })
          expectProblem(again, 401, "session_revoked")
        }
      }
    }
  })

  it("that create tasks while one deletes their user: no task is without one", async () => {
    for (let round = 0; round < rounds; round++) {
      const account = await server.register()
      const token = account.access_token
      const answers = await fifty((index) =>
        index === 25
          ? at(index).request("DELETE", "/api/v1/auth/me", { token, body: { password: account.password } })
          : index % 10 === 3
          ? at(index).request("POST", "/api/v1/tasks/bulk/delete", {
            token,
            headers: { "idempotency-key": randomUUID() },
            body: { ids: [newId()] }
          })
          : index % 2 === 0
          ? at(index).request("POST", "/api/v1/tasks", { token, body: { id: newId(), title: "a" } })
          : at(index).request("POST", "/api/v1/tasks/batch", {
            token,
            body: { mode: index % 4 === 1 ? "atomic" : "partial", operations: [{ op: "create", task: { title: "b" } }] }
          })
      )
      expect(answers[25]?.status, answers[25]?.text).toBe(204)
      for (const answer of answers) expect([200, 201, 204, 401], answer.text).toContain(answer.status)
      for (const table of ["tasks", "user_sequences", "sessions", "idempotency_keys", "users"]) {
        const column = table === "users" ? "id" : "user_id"
        expect(await server.sql(`select 1 from ${table} where ${column} = $1`, [account.id]), table).toEqual([])
      }
    }
  })
})

describe("F10 bulk updates", () => {
  it("of the same tasks in opposite orders, and of two users' tasks across each other: no 500, and no deadlock", async () => {
    const [one, other] = [await server.register(), await server.register()]
    const ids: Array<string> = []
    for (let index = 0; index < 40; index++) {
      ids.push((await create(server, index % 2 === 0 ? one : other)).id)
    }
    for (let round = 0; round < rounds; round++) {
      const answers = await fifty((index) => {
        const { access_token: token } = index % 3 === 0 ? other : one
        const all = index % 2 === 0 ? ids : [...ids].reverse()
        return index % 5 === 0
          ? at(index).request("POST", "/api/v1/tasks/batch", {
            token,
            body: { mode: "partial", operations: all.map((id) => ({ op: "update", id, task: { title: `${index}` } })) }
          })
          : at(index).request("POST", "/api/v1/tasks/bulk/complete", {
            token,
            body: { ids: all, completed: index % 4 < 2 }
          })
      })
      // those who wait for 2 s in vain are told to come back
      for (const answer of answers) {
        if (answer.status !== 200) expectProblem(answer, 503, "overloaded")
      }
      expect(statusesOf(answers)[200]).toBeGreaterThan(0)
    }
    for (const [index, account] of [one, other].entries()) {
      expect((await listAll(server, account)).map(({ id }) => id).sort())
        .toEqual(ids.filter((_, at) => at % 2 === index).sort())
    }
    for (const { logs } of servers) {
      expect(logs()).not.toContain("40P01")
      expect(logs()).not.toMatch(/"message":"defect"/)
    }
    having(200, await server.request("GET", "/health/ready"))
  })
})
