/** Clients who do as they are told: who gets a 503 comes back, and remembers whatever was acknowledged. */
import { randomUUID } from "node:crypto"
import { expect } from "vitest"
import { having, newId } from "../tasks/families.ts"
import type { Program } from "../operation/program.ts"
import { expectProblem } from "../support/expect.ts"
import type { Account, Answer } from "../support/TestServer.ts"
import { pause } from "./process.ts"

export interface Load {
  /** Lets each client finish what it has begun. */
  readonly stop: () => Promise<void>
  /** the ids of tasks whose creation was answered with 2xx */
  readonly acknowledged: ReadonlySet<string>
  readonly statuses: Readonly<Record<number, number>>
  /** milliseconds of the longest wait for an answer */
  readonly longest: () => number
}

/**
 * Keeps clients busy that write and read on any of these instances: creates with an Idempotency-Key, reads of what was
 * written, changes of it, pages. Every answer is 2xx or a 503 that says when to come back, after which the same request is sent again.
 */
export const startLoad = (instances: ReadonlyArray<Program>, account: Account, clients = 6): Load => {
  let isOver = false
  let longest = 0
  const acknowledged = new Set<string>()
  const statuses: Record<number, number> = {}
  const insist = async (ask: (instance: Program) => Promise<Answer>): Promise<Answer | undefined> => {
    for (let turn = Math.floor(Math.random() * instances.length);; turn++) {
      const begin = performance.now()
      const answer = await ask(instances[turn % instances.length]!)
      longest = Math.max(longest, performance.now() - begin)
      statuses[answer.status] = (statuses[answer.status] ?? 0) + 1
      if (answer.status < 300) return answer
      if (answer.status === 409 && answer.json.code === "idempotency_in_flight") {
        if (isOver) return undefined
        continue
      }
      expectProblem(answer, 503, answer.json?.code)
      expect(["database_unavailable", "overloaded"]).toContain(answer.json.code)
      expect(answer.headers.get("retry-after")).toMatch(/^[1-9]\d*$/)
      if (isOver) return undefined
      await pause(20)
    }
  }
  const token = account.access_token
  const write = async () => {
    const [key, title] = [randomUUID(), newId()]
    const made = await insist((instance) =>
      instance.request("POST", "/api/v1/tasks", { token, body: { title }, headers: { "idempotency-key": key } })
    )
    if (made === undefined) return
    expect(made.json).toMatchObject({ title, user_id: account.id })
    acknowledged.add(title)
    const read = await insist((instance) => instance.request("GET", `/api/v1/tasks/${made.json.id}`, { token }))
    if (read !== undefined) expect(read.json).toEqual(made.json)
    const changed = await insist((instance) =>
      instance.request("PATCH", `/api/v1/tasks/${made.json.id}`, { token, body: { description: title } })
    )
    if (changed !== undefined) expect(changed.json).toMatchObject({ id: made.json.id, title, description: title })
    const page = await insist((instance) => instance.request("GET", "/api/v1/tasks?limit=20", { token }))
    for (const task of page?.json ?? []) expect(task.user_id).toBe(account.id)
  }
  const client = async () => {
    while (!isOver) await write()
  }
  const all = Promise.all(Array.from({ length: clients }, client))
  // clients that fail must not outlive the test
  all.catch(() => {
    isOver = true
  })
  return {
    stop: async () => {
      isOver = true
      await all
    },
    acknowledged,
    statuses,
    longest: () => longest
  }
}

/** Every acknowledged task is there, and there once. What got no answer may be there, once. */
export const expectStored = async (
  { acknowledged }: Load,
  rows: (text: string, params: ReadonlyArray<unknown>) => Promise<Array<{ title: string; count: number }>>,
  account: Account
) => {
  const stored = await rows("select title, count(*)::int as count from tasks where user_id = $1 group by title", [
    account.id
  ])
  expect(stored.filter(({ count }) => count > 1)).toEqual([])
  const titles = new Set(stored.map(({ title }) => title))
  expect([...acknowledged].filter((title) => !titles.has(title))).toEqual([])
}

/** Asks until the answer is a 200, for at most this many milliseconds; resolves with how many it took. */
export const recovered = async (ask: () => Promise<Answer>, limit: number): Promise<number> => {
  const begin = performance.now()
  for (;;) {
    const answer = await ask()
    const took = performance.now() - begin
    if (answer.status === 200) return took
    if (took > limit) having(200, answer)
    await pause(50)
  }
}
