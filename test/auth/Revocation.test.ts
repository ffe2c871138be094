/** A session's end is noticed by every instance, although none asks the database at each request. */
import { randomBytes } from "node:crypto"
import { setTimeout as pause } from "node:timers/promises"
import { afterAll, beforeAll, describe, it } from "vitest"
import { emptyDatabase, type Proxy, startProxy, type TestDatabase, testDatabaseUrl } from "../operation/postgres.ts"
import { emptyDirectory, patience, type Program, start, useFinished } from "../operation/program.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, type TestServer, useServers } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import {
  type Asked,
  expectAlive,
  expectNoticed,
  expectRefused,
  goodPassword,
  login,
  me,
  refresh,
  sessionOf,
  sessions,
  type Tokens
} from "./accounts.ts"

const [one, other] = useServers(2)

type Instance = Pick<TestServer, "request" | "register">

/** An account with a session that is going to end, and another one. */
interface Case {
  readonly account: Account
  readonly victim: Tokens
  readonly second: Tokens
}

interface End {
  readonly name: string
  readonly end: (server: Asked, one: Case) => Promise<unknown>
  /** how the tokens of the session are refused then */
  readonly code: "session_revoked" | "token_invalid"
  readonly sparesSecond: boolean
}

const post = (server: Asked, path: string, { access_token }: Tokens, body?: unknown) =>
  server.request("POST", `/api/v1/auth${path}`, { token: access_token, body })

const revoked = { code: "session_revoked", sparesSecond: true } as const

const ends: ReadonlyArray<End> = [
  {
    ...revoked,
    name: "logout",
    end: async (server, { victim }) => having(204, await post(server, "/logout", victim))
  },
  {
    ...revoked,
    name: "logout by its refresh token",
    end: async (server, { victim: { refresh_token } }) =>
      having(204, await server.request("POST", "/api/v1/auth/logout?scope=local", { body: { refresh_token } }))
  },
  {
    ...revoked,
    name: "logout of the others",
    end: async (server, { second }) => having(204, await post(server, "/logout?scope=others", second))
  },
  {
    ...revoked,
    name: "logout everywhere by another session",
    end: async (server, { second }) => having(204, await post(server, "/logout?scope=global", second)),
    sparesSecond: false
  },
  {
    ...revoked,
    name: "a change of the password by another session",
    end: async (server, { account: { password }, second }) =>
      having(204, await post(server, "/password", second, { current_password: password, new_password: goodPassword }))
  },
  {
    ...revoked,
    name: "its deletion by another session",
    end: async (server, { second, victim }) => {
      const path = `/api/v1/auth/sessions/${sessionOf(victim)}`
      having(204, await server.request("DELETE", path, { token: second.access_token }))
    }
  },
  {
    name: "the deletion of the account",
    end: async (server, { account: { password }, second }) =>
      having(
        204,
        await server.request("DELETE", "/api/v1/auth/me", { token: second.access_token, body: { password } })
      ),
    code: "token_invalid",
    sparesSecond: false
  },
  {
    ...revoked,
    name: "the reuse of a refresh token",
    end: async (server, { victim }) => {
      const next = having(200, await refresh(server, victim.refresh_token)).json
      having(200, await refresh(server, next.refresh_token))
      expectProblem(await refresh(server, victim.refresh_token), 401, "refresh_token_reused")
    }
  },
  {
    ...revoked,
    name: "the twenty-first login",
    end: async (server, { account }) => {
      for (let count = 2; count < 21; count++) await login(server, account)
    }
  }
]

/** A case whose victim this instance has just seen alive. */
const seenBy = async (seeing: Asked, server: Instance): Promise<Case> => {
  const account = await server.register()
  const second = await login(server, account)
  for (let count = 0; count < 2; count++) having(200, await me(seeing, account.access_token))
  return { account, victim: account, second }
}

/** Ends a session at one instance, while another one sees it alive until the last moment. */
const expectNoticedElsewhere = async (seeing: Asked, ending: Instance, { code, end, sparesSecond }: End) => {
  const found = await seenBy(seeing, ending)
  let isOver = false
  const watching = (async () => {
    for (; !isOver; await pause(20)) await me(seeing, found.victim.access_token)
  })()
  await end(ending, found).finally(() => isOver = true)
  await expectNoticed(seeing, found.victim.access_token, code)
  await watching
  for (const server of [seeing, ending]) {
    const refused = code === "token_invalid" ? "invalid_refresh_token" : code
    expectProblem(await refresh(server, found.victim.refresh_token), 401, refused)
  }
  if (sparesSecond) await expectAlive(seeing, found.second)
}

it.each(ends)("R37 $name is noticed by the instance that did it with the very next request", async ({ code, end }) => {
  for (let round = 0; round < 2; round++) {
    const found = await seenBy(one, one)
    await end(one, found)
    expectRefused(await sessions(one, found.victim.access_token), code)
    expectRefused(await me(one, found.victim.access_token), code)
  }
})

it.each(ends)(
  "R38 R48 $name is noticed by another instance within a second",
  (end) => expectNoticedElsewhere(other, one, end)
)

describe.skipIf(testDatabaseUrl === undefined)(
  "with a PostgreSQL server (TEST_DATABASE_URL; the embedded database has one instance, which needs no notifications)",
  () => {
    const atTheEnd = useFinished()
    let db: TestDatabase
    let proxy: Proxy
    let ending: Program
    let deaf: Program

    beforeAll(async () => {
      db = await emptyDatabase(atTheEnd)
      proxy = await startProxy(db.url, atTheEnd)
      const env = { DATABASE_URL: db.url, JWT_SECRET: randomBytes(32).toString("hex") }
      const directory = () => emptyDirectory(atTheEnd)
      ;[ending, deaf] = await Promise.all([
        start({ ...env, DATA_DIR: directory() }, atTheEnd),
        // its LISTEN has a network of its own
        start({ ...env, DATA_DIR: directory(), DATABASE_DIRECT_URL: proxy.url }, atTheEnd)
      ])
    }, patience)

    const listeners = async () =>
      (await db.sql(
        "select 1 from pg_stat_activity where datname = current_database() and query ilike 'listen%'"
      )).length
    const networks: ReadonlyArray<readonly [string, () => Promise<void> | void]> = [
      ["is cut", () => proxy.cut()],
      ["is silent", () => proxy.hold()]
    ]

    describe.each(networks)("and an instance whose connection for notifications %s", (_, fail) => {
      beforeAll(async () => {
        while (await listeners() < 2) await pause(20)
        await fail()
      })
      afterAll(() => proxy.restore())

      it.each(ends)(
        "R38 R48 $name is noticed there within a second",
        (end) => expectNoticedElsewhere(deaf, ending, end),
        patience
      )
    })
  }
)

it("R38 an end that no instance was told of is noticed within a second, too", async () => {
  const { account, victim } = await seenBy(one, one)
  // past the server, as an operator would
  await one.sql("update sessions set revoked_at = now(), revoked_reason = 'revoked_by_user' where user_id = $1", [
    account.id
  ])
  await expectNoticed(one, victim.access_token, "session_revoked")
})

it("R38 requests that race with the end of their session leave nothing behind that lets later ones through", async () => {
  for (let round = 0; round < 10; round++) {
    const account = await one.register()
    const racing = Array.from({ length: 10 }, () => me(one, account.access_token))
    having(204, await one.request("POST", "/api/v1/auth/logout", { token: account.access_token }))
    expectRefused(await me(one, account.access_token), "session_revoked")
    await Promise.all(racing)
    expectRefused(await me(one, account.access_token), "session_revoked")
  }
})

it("R45 a session that reaches its end is not trusted beyond it", async () => {
  const account = await one.register()
  await one.sql("update sessions set expires_at = now() + interval '3 seconds' where user_id = $1", [account.id])
  having(200, await me(one, account.access_token))
  await pause(3_020)
  expectRefused(await me(one, account.access_token), "session_expired")
})
