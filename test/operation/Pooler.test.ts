/** The real program behind a pooler in transaction mode, which gives every transaction another session. */
import { randomBytes } from "node:crypto"
import { Cause, Effect, Layer, ManagedRuntime } from "effect"
import { SqlClient } from "effect/sql"
import { beforeAll, describe, expect, it } from "vitest"
import * as Database from "../../src/database/Database.ts"
import { classify } from "../../src/database/Failures.ts"
import { snapshot, transaction } from "../../src/database/Transaction.ts"
import { read, Settings } from "../../src/Settings.ts"
import { having, newId, patiently } from "../tasks/families.ts"
import { connectTo, emptyDatabase, type TestDatabase, testDatabaseUrl } from "./postgres.ts"
import { emptyDirectory, patience, type Program, run, start, useFinished } from "./program.ts"
import { hasBouncer, startBouncer } from "./servers.ts"

const atTheEnd = useFinished()

const JWT_SECRET = randomBytes(32).toString("hex")
/** Fewer than the connections of one process. */
const sessions = 3

describe.skipIf(testDatabaseUrl === undefined || !hasBouncer)("behind PgBouncer (TEST_DATABASE_URL, pgbouncer)", () => {
  let db: TestDatabase
  let settings: Record<string, string>

  beforeAll(async () => {
    db = await emptyDatabase(atTheEnd)
    const [{ name } = { name: "" }] = await db.sql<{ name: string }>("select current_database() as name")
    // what nothing may depend on
    await db.sql(`alter database ${name} set timezone = 'Pacific/Kiritimati'`)
    await db.sql(`alter database ${name} set datestyle = 'SQL, DMY'`)
    settings = {
      DATABASE_URL: await startBouncer(db.url, sessions, atTheEnd),
      DATABASE_DIRECT_URL: db.url,
      DATABASE_PREPARE: "false",
      DATA_DIR: emptyDirectory(atTheEnd),
      JWT_SECRET
    }
  }, patience)

  describe("the server", () => {
    let here: Program
    let there: Program

    beforeAll(async () => {
      here = await start(settings, atTheEnd)
      there = await start(settings, atTheEnd)
    }, patience)

    it("serves accounts, dates, batches, retries, reminders, and streams of another instance", async () => {
      const user = await here.register()
      const token = user.access_token
      const stop = new AbortController()
      const stream = await fetch(`${there.url}/api/v1/changes/stream`, {
        headers: { authorization: `Bearer ${token}` },
        signal: stop.signal
      })
      const events = stream.body!.pipeThrough(new TextDecoderStream()).getReader()
      let heard = ""
      const hear = async (text: string) => {
        while (!heard.includes(text)) {
          const { done, value } = await events.read()
          if (done) throw new Error(`the stream ended:\n${heard}`)
          heard += value
        }
      }

      const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10)
      const created = having(
        201,
        await here.request("POST", "/api/v1/tasks", {
          token,
          body: {
            title: "water",
            due: { date: tomorrow, time: "09:00", time_zone: "Europe/Berlin" },
            recurrence: { rule: "FREQ=DAILY" },
            reminders: [{ at: new Date(Date.now() - 60_000).toISOString() }]
          }
        })
      ).json
      // well before the heartbeat of 15 s, which would find it too
      await Promise.race([hear("water"), new Promise((_, late) => setTimeout(late, 10_000, new Error("not woken")))])
      expect(new Date(created.due_at).toLocaleString("sv", { timeZone: "Europe/Berlin" })).toBe(`${tomorrow} 09:00:00`)

      const completed = having(
        200,
        await here.request("PATCH", `/api/v1/tasks/${created.id}/complete`, { token, body: { occurrence: tomorrow } })
      ).json
      expect(Date.parse(completed.due_at) - Date.parse(created.due_at)).toBeGreaterThanOrEqual(23 * 3_600_000)
      const { past } =
        having(200, await there.request("GET", `/api/v1/tasks/${created.id}/occurrences`, { token })).json
      expect(past).toEqual([expect.objectContaining({ occurrence: tomorrow, due_at: created.due_at })])
      const listed = having(200, await there.request("GET", `/api/v1/tasks?due_from=${tomorrow}`, { token })).json
      expect(listed.map(({ id }: { id: string }) => id)).toEqual([created.id])
      await expect.poll(
        async () =>
          (await there.request("GET", `/api/v1/tasks/${created.id}`, { token })).json.reminders[0].delivered_at,
        { timeout: 10_000, interval: 200 }
      ).not.toBeNull()

      const ids = [newId(), newId()]
      const batch = {
        token,
        headers: { "idempotency-key": newId() },
        body: { mode: "atomic", operations: ids.map((id) => ({ op: "create", task: { id, title: id } })) }
      }
      const first = having(200, await here.request("POST", "/api/v1/tasks/batch", batch))
      const again = having(200, await there.request("POST", "/api/v1/tasks/batch", batch))
      expect(again.headers.get("idempotent-replayed")).toBe("true")
      expect(again.json).toEqual(first.json)
      having(
        409,
        await here.request("POST", "/api/v1/tasks/batch", {
          token,
          body: {
            mode: "atomic",
            operations: [{ op: "delete", id: ids[0] }, { op: "delete", id: newId() }]
          }
        })
      )
      having(200, await here.request("GET", `/api/v1/tasks/${ids[0]}`, { token }))
      expect(having(200, await here.request("GET", "/api/v1/tasks/stats", { token })).json.total).toBe(3)
      await hear(ids[1]!)
      stop.abort()
      const exported = having(200, await here.request("GET", "/api/v1/auth/export", { token })).json
      expect(exported.tasks.map(({ id }: { id: string }) => id).sort()).toEqual([created.id, ...ids].sort())

      // one constraint's violation, which is no failure of the statement's transaction
      having(
        409,
        await here.request("POST", "/api/v1/auth/register", {
          body: { email: user.email, password: user.password }
        })
      )
      having(204, await there.request("POST", "/api/v1/auth/logout", { token }))
      await expect.poll(async () => (await here.request("GET", "/api/v1/auth/me", { token })).status, {
        timeout: 10_000
      }).toBe(401)
    }, patience)

    it("serves more requests at once than there are sessions", async () => {
      const { access_token: token } = await here.register()
      const answers = await Promise.all(
        Array.from(
          { length: 60 },
          (_, at) => {
            const request = { token, body: { title: String(at) } }
            return patiently(() => (at % 2 === 0 ? here : there).request("POST", "/api/v1/tasks", request))
          }
        )
      )
      expect([...new Set(answers.map(({ status }) => status))]).toEqual([201])
      expect(having(200, await there.request("GET", "/api/v1/tasks?limit=100", { token })).json).toHaveLength(60)
      // what listens and what migrates goes past the pooler
      const [{ count } = { count: 0 }] = await db.sql<{ count: number }>(
        `select count(*)::int as count from pg_stat_activity
         where datname = current_database() and application_name = 'tasks-api' and client_port is not null
           and query not like 'LISTEN%' and query not like '%advisory%' and pid <> pg_backend_pid()`
      )
      expect(count).toBeLessThanOrEqual(sessions)
    }, patience)
  })

  describe.concurrent("the start ends with one line", () => {
    it.for(
      [
        [
          "where statements are to be prepared",
          () => ({ DATABASE_PREPARE: "true" }),
          /^DATABASE_URL: .+ DATABASE_PREPARE=false/
        ],
        [
          "where only the pooler does not answer",
          () => ({ DATABASE_URL: "postgres://postgres@127.0.0.1:1/postgres" }),
          /^DATABASE_URL: the database does not answer/
        ],
        [
          "where only the server past it does not answer",
          () => ({ DATABASE_DIRECT_URL: "postgres://postgres@127.0.0.1:1/postgres" }),
          /^DATABASE_DIRECT_URL: the database does not answer/
        ]
      ] as const
    )("%s", { timeout: patience }, async ([, changed, line], { onTestFinished }) => {
      const ending = await run("src/main.ts", { ...settings, PORT: "0", ...changed() }, onTestFinished)
      expect({ code: ending.code, stdout: ending.stdout }).toEqual({ code: 1, stdout: "" })
      expect(ending.stderr).toMatch(/^[^\n]+\n$/)
      expect(ending.stderr).toMatch(line)
    })
  })

  describe.concurrent("a statement", () => {
    const open = (finished: (work: () => Promise<void>) => void) => {
      const runtime = ManagedRuntime.make(
        Database.layer.pipe(Layer.provide(Layer.effect(Settings, read(settings))))
      )
      finished(() => runtime.dispose())
      return <A, E>(use: (sql: SqlClient.SqlClient) => Effect.Effect<A, E>) =>
        runtime.runPromise(Effect.flatMap(SqlClient.SqlClient, use))
    }
    const timed = async <A>(answer: Promise<A>) => {
      const begin = performance.now()
      return { answer: await answer, ms: performance.now() - begin }
    }
    /** What its failure means, and how long that took. */
    const kindOf = <A, E>(run: ReturnType<typeof open>, work: (sql: SqlClient.SqlClient) => Effect.Effect<A, E>) =>
      timed(
        run((sql) =>
          Effect.catchCause(Effect.as(work(sql), "success"), (cause) => Effect.succeed(classify(Cause.squash(cause))))
        )
      )

    it("has its limits, in and out of transactions, whatever those of the database are", async ({ onTestFinished }) => {
      const run = open(onTestFinished)
      const names = [
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
        "TimeZone",
        "DateStyle",
        "jit"
      ]
      const all = (sql: SqlClient.SqlClient) =>
        Effect.map(
          sql<{ name: string; setting: string }>`select name, setting from pg_settings where name in ${sql.in(names)}`,
          (rows) => Object.fromEntries(rows.map(({ name, setting }) => [name, setting]))
        )
      const expected = {
        statement_timeout: "5000",
        lock_timeout: "2000",
        idle_in_transaction_session_timeout: "10000",
        TimeZone: "UTC",
        DateStyle: "ISO, YMD",
        jit: "off"
      }
      expect(await run(all)).toEqual(expected)
      expect(await run((sql) => transaction(sql)(all(sql)))).toEqual(expected)
      expect(await run((sql) => snapshot(sql)(all(sql)))).toEqual(expected)
    })

    it("of more than 5 seconds ends", async ({ onTestFinished }) => {
      const { answer, ms } = await kindOf(open(onTestFinished), (sql) => sql`select pg_sleep(20)`)
      expect(answer).toBe("busy")
      expect(ms).toBeGreaterThan(4_500)
      expect(ms).toBeLessThan(9_000)
    })

    it("waits for a lock no longer than 2 seconds", async ({ onTestFinished }) => {
      await db.sql("create table locked ()")
      const holder = connectTo(db.url, onTestFinished)
      await holder.sql("begin")
      await holder.sql("lock table locked")
      const { answer, ms } = await kindOf(open(onTestFinished), (sql) => sql`select from locked`)
      expect(answer).toBe("busy")
      expect(ms).toBeGreaterThan(1_500)
      expect(ms).toBeLessThan(4_500)
    })

    it("is not waited for longer than 10 seconds by its transaction", async ({ onTestFinished }) => {
      const run = open(onTestFinished)
      const { answer } = await kindOf(
        run,
        (sql) =>
          transaction(sql)(Effect.andThen(sql`select 1`, Effect.andThen(Effect.sleep("13 seconds"), sql`select 1`)))
      )
      expect(answer).toBe("busy")
      expect(await run((sql) => sql`select 1 as one`)).toEqual([{ one: 1 }])
    })

    it("that fails leaves nothing open, and its failure is its own", async ({ onTestFinished }) => {
      const run = open(onTestFinished)
      const failed = await run((sql) => Effect.flip(sql`select 1 / ${0}`))
      expect(String(failed.reason.cause)).toContain("division by zero")
      const [{ count } = { count: -1 }] = await db.sql<{ count: number }>(
        `select count(*)::int as count from pg_stat_activity where query like '%1 / $1%'
         and state like 'idle in transaction%' and datname = current_database()`
      )
      expect(count).toBe(0)
    })
  })
})
