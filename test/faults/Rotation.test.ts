/** Instances are replaced one after the other by ones with other settings, while their users go on. */
import { randomBytes } from "node:crypto"
import { beforeAll, describe, expect, it } from "vitest"
import { emptyDatabase, type TestDatabase, testDatabaseUrl } from "../operation/postgres.ts"
import { emptyDirectory, patience, type Program, start, useFinished } from "../operation/program.ts"
import { expectProblem } from "../support/expect.ts"
import type { Answer } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import { expectStored, startLoad } from "./load.ts"
import { pause } from "./process.ts"

const atTheEnd = useFinished()

interface Tokens {
  readonly access_token: string
  readonly refresh_token: string
}

describe.skipIf(testDatabaseUrl === undefined)("with a PostgreSQL server (TEST_DATABASE_URL)", () => {
  let db: TestDatabase

  beforeAll(async () => {
    db = await emptyDatabase(atTheEnd)
  }, patience)

  const [older, newer] = [randomBytes(32).toString("hex"), randomBytes(32).toString("hex")]

  it("F16 a secret is replaced under load: nobody notices until the old one is removed", async () => {
    const boot = (env: Record<string, string>) =>
      start({ DATABASE_URL: db.url, DATABASE_POOL_SIZE: "4", DATA_DIR: emptyDirectory(atTheEnd), ...env }, atTheEnd)
    let instances: Array<Program> = await Promise.all([1, 2].map(() => boot({ JWT_SECRET: older })))
    const everyInstance = [...instances]
    /** As a load balancer sees it: old and new ones together, then the old ones go. */
    const roll = async (env: Record<string, string>) => {
      const old = instances
      const next = await Promise.all(old.map(() => boot(env)))
      everyInstance.push(...next)
      instances = [...old, ...next]
      await pause(500)
      instances = next
      for (const { kill } of old) kill("SIGTERM")
      for (const { ended } of old) expect(await ended).toMatchObject({ code: 0 })
    }

    let isOver = false
    const statuses: Record<string, number> = {}
    const count = (what: string, { status, json }: Answer) => {
      const key = `${what} ${status} ${json?.code ?? ""}`.trim()
      statuses[key] = (statuses[key] ?? 0) + 1
    }
    const any = () => instances[Math.floor(Math.random() * instances.length)]!
    const client = async () => {
      const account = await any().register()
      let tokens: Tokens = account
      for (let turn = 0; !isOver; turn++) {
        count("read", await any().request("GET", "/api/v1/tasks", { token: tokens.access_token }))
        if (turn % 5 === 4) {
          const refreshed = await any().request("POST", "/api/v1/auth/refresh", {
            body: { refresh_token: tokens.refresh_token }
          })
          count("refresh", refreshed)
          if (refreshed.status === 200) tokens = refreshed.json
        }
        await pause(20)
      }
      return tokens
    }
    const keeper = await instances[0]!.register()
    const clients = Promise.all(Array.from({ length: 6 }, client))
    clients.catch(() => {
      isOver = true
    })

    await roll({ JWT_SECRET: older, JWT_SECRET_PREVIOUS: newer })
    await roll({ JWT_SECRET: newer, JWT_SECRET_PREVIOUS: older })
    // what the old secret made is good as long as it is there
    having(200, await any().request("GET", "/api/v1/tasks", { token: keeper.access_token }))
    await pause(1_000)
    isOver = true
    const tokens = await clients
    console.log(`F16: ${JSON.stringify(statuses)}`)
    expect(Object.keys(statuses).sort()).toEqual(["read 200", "refresh 200"])

    await roll({ JWT_SECRET: newer })
    // only what the old secret made fails
    for (const instance of instances) {
      expectProblem(
        await instance.request("GET", "/api/v1/tasks", { token: keeper.access_token }),
        401,
        "token_invalid"
      )
      for (const { access_token } of tokens) {
        having(200, await instance.request("GET", "/api/v1/tasks", { token: access_token }))
      }
    }
    const refresh = (refresh_token: string) =>
      any().request("POST", "/api/v1/auth/refresh", { body: { refresh_token } })
    expectProblem(await refresh(keeper.refresh_token), 401, "invalid_refresh_token")
    for (const { refresh_token } of tokens) having(200, await refresh(refresh_token))
    for (const { lines } of everyInstance) {
      expect(lines().filter(({ message }) => message === "defect")).toEqual([])
    }
  }, 4 * patience)

  it("F14 a newer version's migration changes the tables under load: this one goes on", async () => {
    const program = await start(
      { DATABASE_URL: db.url, DATABASE_POOL_SIZE: "4", DATA_DIR: emptyDirectory(atTheEnd), JWT_SECRET: newer },
      atTheEnd
    )

    const user = await program.register()
    const load = startLoad([program], user)
    await pause(500)
    const before = load.acknowledged.size
    // what an expanding migration does: columns with and without a default, an index, a table that refers to others
    for (const table of ["tasks", "users", "sessions", "user_sequences", "idempotency_keys"]) {
      await db.sql(`alter table ${table} add column later text`)
      await db.sql(`alter table ${table} add column later_with_default integer not null default 0`)
      await pause(100)
    }
    await db.sql("create index tasks_of_later on tasks (user_id, later)")
    await db.sql("create table of_later (user_id uuid primary key references users on delete cascade)")
    await db.sql("insert into schema_migrations (migration_id, name) values (9999, 'of_a_newer_version')")
    await pause(500)
    const next = await start(
      { DATABASE_URL: db.url, DATABASE_POOL_SIZE: "4", DATA_DIR: emptyDirectory(atTheEnd), JWT_SECRET: newer },
      atTheEnd
    )
    having(200, await next.request("GET", "/api/v1/tasks", { token: user.access_token }))
    await load.stop()
    console.log(`F14: ${JSON.stringify(load.statuses)}`)
    expect(load.acknowledged.size).toBeGreaterThan(before)
    expect(Object.keys(load.statuses)).toEqual(["200", "201"])
    await expectStored(load, db.sql, user)
    having(
      204,
      await program.request("DELETE", "/api/v1/auth/me", {
        token: user.access_token,
        body: { password: user.password }
      })
    )
  }, 3 * patience)
})
