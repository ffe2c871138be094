/** Streams of real processes: what a restart of the database loses (nothing), and what a thousand of them cost. */
import { readFileSync } from "node:fs"
import { setTimeout as pause } from "node:timers/promises"
import { describe, expect, it } from "vitest"
import { connectTo, emptyDatabase, startProxy, testDatabaseUrl } from "../operation/postgres.ts"
import { patience, type Program, start } from "../operation/program.ts"
import { type EventReader, followChanges } from "../support/EventStream.ts"
import type { Account } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"

const secret = { JWT_SECRET: "0f7c2e5b9a4d4e6f8a1b3c5d7e9f0a2b4c6d8e0f" }

const create = async (program: Program, { access_token }: Account, title: string) =>
  having(201, await program.request("POST", "/api/v1/tasks", { token: access_token, body: { title } }))

const titles = (reader: EventReader) => reader.events.map(({ data }) => JSON.parse(data).title)

const until = async (what: () => boolean, milliseconds: number) => {
  for (const end = Date.now() + milliseconds; !what() && Date.now() < end;) await pause(20)
}

describe.skipIf(testDatabaseUrl === undefined)(
  "with a PostgreSQL server (TEST_DATABASE_URL; the embedded database has neither a network nor instances)",
  () => {
    it(
      "a stream outlives the connections to the database, misses nothing, and is woken again after them",
      async ({ onTestFinished }) => {
        const db = await emptyDatabase(onTestFinished)
        const proxy = await startProxy(db.url, onTestFinished)
        const [writer, follower] = await Promise.all([
          start({ ...secret, DATABASE_URL: db.url }, onTestFinished),
          start({ ...secret, DATABASE_URL: proxy.url }, onTestFinished)
        ])
        const user = await writer.register()
        const reader = await followChanges(follower, user, onTestFinished)
        await create(writer, user, "before")
        await until(() => reader.events.length === 1, 5_000)

        await proxy.cut()
        await create(writer, user, "meanwhile")
        await pause(1_500)
        expect(titles(reader)).toEqual(["before"])
        await proxy.restore()
        await until(() => reader.events.length === 2, 10_000)
        expect(titles(reader)).toEqual(["before", "meanwhile"])

        // its listener tries every half second; well before the next heartbeat it hears again
        await pause(2_000)
        await create(writer, user, "after")
        await until(() => reader.events.length === 3, 5_000)
        expect(titles(reader)).toEqual(["before", "meanwhile", "after"])
      },
      patience
    )

    it(
      "a thousand streams cost at most 150 MB and one connection, and each hears of its user's change",
      async ({ onTestFinished }) => {
        const db = await emptyDatabase(onTestFinished)
        const program = await start({ ...secret, DATABASE_URL: db.url, DATABASE_POOL_SIZE: "5" }, onTestFinished)
        const resident = () =>
          Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${program.pid}/status`, "utf8"))?.[1]) / 1024
        const users = await Promise.all(Array.from({ length: 20 }, () => program.register()))
        const before = resident()
        const readers: Array<EventReader> = []
        for (let i = 0; i < 1_000; i += 50) {
          readers.push(
            ...await Promise.all(
              Array.from({ length: 50 }, (_, j) => followChanges(program, users[(i + j) % 20]!, onTestFinished))
            )
          )
        }
        await Promise.all(users.map((user) => create(program, user, "x")))
        await until(() => readers.every(({ events }) => events.length === 1), 20_000)
        expect(readers.filter(({ events }) => events.length !== 1)).toHaveLength(0)
        expect(resident() - before).toBeLessThan(150)

        const sessions = await connectTo(db.url, onTestFinished).sql<{ listening: boolean; count: number }>(
          `select query like 'LISTEN%' as listening, count(*)::int as count from pg_stat_activity
         where datname = current_database() and application_name = 'tasks-api' group by 1 order by 1`
        )
        expect(sessions.find(({ listening }) => listening)?.count).toBe(1)
        expect(sessions.find(({ listening }) => !listening)?.count).toBeLessThanOrEqual(5)
      },
      patience
    )
  }
)
