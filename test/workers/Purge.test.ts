/** What workers take away, and what they leave. */
import { describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServers } from "../support/TestServer.ts"
import { expectAlive, login, me, refresh, sessionOf, type Tokens } from "../auth/accounts.ts"
import { having } from "../tasks/families.ts"

const [server, second] = useServers(2)

const sessionsOf = async (account: Account): Promise<number> =>
  (await server.sql("select 1 from sessions where user_id = $1", [account.id])).length

const revokedFor = (account: Account, tokens: Pick<Tokens, "access_token">, age: string) =>
  server.sql(
    `update sessions set revoked_at = now() - $3::interval, revoked_reason = 'logout' where user_id = $1 and id = $2`,
    [account.id, sessionOf(tokens), age]
  )
const expiredFor = (account: Account, tokens: Pick<Tokens, "access_token">, age: string) =>
  server.sql("update sessions set expires_at = now() - $3::interval where user_id = $1 and id = $2", [
    account.id,
    sessionOf(tokens),
    age
  ])

describe("ended sessions", () => {
  it.each([
    { how: "revoked", end: revokedFor, code: "session_revoked" },
    { how: "expired", end: expiredFor, code: "session_expired" }
  ])("that were $how are told of for 30 days, and refused after that too", async ({ code, end }) => {
    const account = await server.register()
    const tokens = await login(server, account)
    await end(account, tokens, "29 days 23 hours 59 minutes")
    expect(await server.purge()).toMatchObject({ sessions: 0 })
    expectProblem(await refresh(server, tokens.refresh_token), 401, code)
    expectProblem(await me(second, tokens.access_token), 401, code)
    await end(account, tokens, "30 days 1 minute")
    expect(await server.purge()).toMatchObject({ sessions: 1 })
    expectProblem(await refresh(server, tokens.refresh_token), 401, "invalid_refresh_token")
    expectProblem(await me(second, tokens.access_token), 401, "token_invalid")
    await expectAlive(server, account)
    expect(await sessionsOf(account)).toBe(1)
  })

  it("tell a reuse that they did not end by, for as long as they are kept", async () => {
    const account = await server.register()
    const first = await login(server, account)
    const next = having(200, await refresh(server, first.refresh_token)).json
    having(200, await refresh(server, next.refresh_token))
    await expiredFor(account, first, "29 days")
    await server.purge()
    expectProblem(await refresh(server, first.refresh_token), 401, "refresh_token_reused")
  })

  it("are kept from their revocation, however long ago they would have expired", async () => {
    const account = await server.register()
    const tokens = await login(server, account)
    await revokedFor(account, tokens, "31 days")
    expect(await server.purge()).toMatchObject({ sessions: 1 })
    expect(await server.purge()).toMatchObject({ sessions: 0 })
    expect(await sessionsOf(account)).toBe(1)
  })

  const endedSessions = (account: Account, count: number) =>
    server.sql(
      `insert into sessions (user_id, id, salt, expires_at, absolute_expires_at, revoked_at, revoked_reason)
       select $1, gen_random_uuid(), '\\x00', now(), now(), now() - interval '31 days', 'logout'
       from generate_series(1, $2::int)`,
      [account.id, count]
    )

  it("go in one run, however many a user has", async () => {
    const account = await server.register()
    await endedSessions(account, 2_500)
    expect(await server.purge()).toMatchObject({ sessions: 2_500 })
    expect(await sessionsOf(account)).toBe(1)
  })

  it("go once, whichever instances run at the same time", async () => {
    const accounts = await Promise.all(Array.from({ length: 5 }, () => server.register()))
    for (const account of accounts) await endedSessions(account, 1_500)
    const gone = await Promise.all([server.purge(), second.purge(), server.purge(), second.purge()])
    expect(gone.reduce((sum, { sessions }) => sum + sessions, 0)).toBe(7_500)
    for (const account of accounts) expect(await sessionsOf(account)).toBe(1)
  })
})

describe("refused tokens of external issuers", () => {
  it("are forgotten after their expiry, also where their user is gone", async () => {
    const account = await server.register()
    const insert = (userId: string, token: string, age: string) =>
      server.sql(
        "insert into revoked_tokens (user_id, token_hash, expires_at) values ($1, $2::bytea, now() - $3::interval)",
        [
          userId,
          `\\x${token}`,
          age
        ]
      )
    const nobody = "0198f5a0-1c2d-7e3f-8a4b-5c6d7e8f9a0b"
    await insert(account.id, "01", "1 second")
    await insert(account.id, "02", "-1 minute")
    await insert(account.id, "03", "-1 day")
    await insert(nobody, "04", "1 second")
    await insert(nobody, "05", "-1 minute")
    expect(await server.purge()).toMatchObject({ revokedTokens: 2 })
    const left = await server.sql("select encode(token_hash, 'hex') as hash from revoked_tokens order by 1")
    expect(left).toEqual([{ hash: "02" }, { hash: "03" }, { hash: "05" }])
  })
})
