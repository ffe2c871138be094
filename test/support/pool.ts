/** Whether a server's pools of connections are whole. */
import { setTimeout as pause } from "node:timers/promises"
import { expect } from "vitest"
import { connectTo } from "../operation/postgres.ts"
import type { Finished, Program } from "../operation/program.ts"
import type { Account } from "./TestServer.ts"

/**
 * All the connections that requests use are there in a while: so many wait for a lock at once, and no more. There have to
 * be more users than connections, because writes of one wait for each other.
 */
export const expectWholePool = async (
  url: string,
  server: Program,
  users: ReadonlyArray<Account>,
  size: number,
  finished: Finished
) => {
  const admin = connectTo(url, finished)
  const holder = connectTo(url, finished)
  const waiting = async () =>
    (await admin.sql(
      `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
         and application_name = 'tasks-api'`
    )).length
  const mostWaiting = async () => {
    await holder.sql("begin")
    await holder.sql("lock table tasks in access exclusive mode")
    const asked = users.flatMap(({ access_token: token }) => [
      server.request("POST", "/api/v1/tasks", { token, body: { title: "waits" } }),
      server.request("GET", "/api/v1/tasks?limit=1", { token })
    ])
    let most = 0
    // less than who waits for a lock has
    for (const end = performance.now() + 1_000; performance.now() < end; await pause(50)) {
      most = Math.max(most, await waiting())
    }
    await holder.sql("rollback")
    for (const { status } of await Promise.all(asked)) expect([200, 201, 503]).toContain(status)
    return most
  }
  try {
    await expect.poll(mostWaiting, { interval: 500, timeout: 25_000 }).toBe(size)
  } finally {
    await Promise.all([admin.close(), holder.close()])
  }
}
