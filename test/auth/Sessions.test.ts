import { beforeAll, describe, expect, it } from "vitest"
import { send } from "../http/exchange.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { expired, having, instant, newId, pointersOf, visible } from "../tasks/families.ts"
import {
  bases,
  expectAlive,
  expectRefused,
  expectRevoked,
  login,
  me,
  refresh,
  sessionMembers,
  sessionOf,
  type Tokens,
  uuid7
} from "./accounts.ts"

const server = useServer()
let stranger: Account
beforeAll(async () => {
  stranger = await server.register()
})

interface Listed {
  readonly id: string
  readonly current: boolean
  readonly created_at: string
  readonly last_used_at: string
  readonly expires_at: string
  readonly user_agent: string | null
  readonly ip: string | null
}
const list = async (tokens: Pick<Tokens, "access_token">, base = "/api/v1/auth"): Promise<ReadonlyArray<Listed>> =>
  having(200, await server.request("GET", `${base}/sessions`, { token: tokens.access_token })).json
const idsOf = (sessions: ReadonlyArray<Listed>) => sessions.map(({ id }) => id).sort()
const logout = (options: { token?: string; body?: unknown }, query = "", base = "/api/v1/auth") =>
  server.request("POST", `${base}/logout${query}`, options)

describe.each(bases)("GET %s/sessions", (base) => {
  it("R48 lists exactly one's own live sessions with the documented members", async () => {
    const account = await server.register()
    const phone = await login(server, account, { "user-agent": "Phone/1.0 (Unit)" })
    const laptop = await login(server, account, { "user-agent": "Laptop/2.0" })
    const sessions = await list(phone, base)
    expect(idsOf(sessions)).toEqual([account, phone, laptop].map(sessionOf).sort())
    for (const session of sessions) {
      expect(Object.keys(session).sort()).toEqual(sessionMembers)
      expect(session.id).toMatch(uuid7)
      expect(session.current).toBe(session.id === sessionOf(phone))
      for (const time of [session.created_at, session.last_used_at, session.expires_at]) expect(time).toMatch(instant)
      expect(Math.abs(Date.parse(session.created_at) - Date.now())).toBeLessThan(60_000)
      expect(Date.parse(session.last_used_at)).toBeGreaterThanOrEqual(Date.parse(session.created_at))
      const days = (Date.parse(session.expires_at) - Date.now()) / 86_400_000
      expect(days).toBeCloseTo(30, 1)
      expect(session.ip).toMatch(/^(127\.0\.0\.1|::1)$/)
    }
    const agents = new Map(sessions.map((session) => [session.id, session.user_agent]))
    expect(agents.get(sessionOf(phone))).toBe("Phone/1.0 (Unit)")
    expect(agents.get(sessionOf(laptop))).toBe("Laptop/2.0")
    expect((await list(laptop, base)).find((session) => session.current)?.id).toBe(sessionOf(laptop))
    expect(idsOf(await list(stranger, base))).toEqual([sessionOf(stranger)])
  })

  it("leaves out what has ended or expired", async () => {
    const account = await server.register()
    const [ended, late] = [await login(server, account), await login(server, account)]
    const left = await login(server, account)
    having(204, await logout({ token: ended.access_token }, "", base))
    await server.sql("update sessions set expires_at = now() - interval '1 second' where user_id = $1 and id = $2", [
      account.id,
      sessionOf(late)
    ])
    expect(idsOf(await list(left, base))).toEqual([account, left].map(sessionOf).sort())
  })

  it("tells when a session was last used", async () => {
    const account = await server.register()
    await server.sql(
      `update sessions set created_at = now() - interval '3 days', last_used_at = now() - interval '2 days'
        where user_id = $1`,
      [account.id]
    )
    having(200, await refresh(server, account.refresh_token))
    const [session] = await list(account, base)
    expect((Date.now() - Date.parse(session?.created_at ?? "")) / 86_400_000).toBeCloseTo(3, 1)
    expect(Math.abs(Date.now() - Date.parse(session?.last_used_at ?? ""))).toBeLessThan(60_000)
  })

  it("has no query", async () => {
    const token = stranger.access_token
    const answer = await server.request("GET", `${base}/sessions?user_id=${stranger.id}`, { token })
    expectProblem(answer, 422, "validation_failed")
    expect(pointersOf(answer)).toEqual(["?user_id"])
    const nul = await server.request("GET", `${base}/sessions?a=%00`, { token })
    expectProblem(nul, 422, "validation_failed")
  })
})

describe("a User-Agent", () => {
  const signIn = (headers: Record<string, string>) =>
    send(server, "POST", "/api/v1/auth/login", {
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ email: stranger.email, password: stranger.password })
    })

  it("may be missing", async () => {
    const tokens = having(200, await signIn({})).json
    expect((await list(tokens)).find((session) => session.current)?.user_agent ?? null).toBeNull()
  })

  it("R7 may hold any bytes that a header can have", async () => {
    const plain = ["'); drop table sessions;--", "<script>"]
    for (const agent of [...plain, "caf\u00e9 \u00ff\u0080", "a\tb", "x".repeat(4000), "\u009b31m"]) {
      const tokens = having(200, await signIn({ "user-agent": agent })).json
      const shown = (await list(tokens)).find((session) => session.current)?.user_agent ?? ""
      expect(shown).toMatch(/\S/)
      expect(shown).not.toContain("\u0000")
      if (plain.includes(agent)) expect(shown).toBe(agent)
    }
  })
})

describe.each(bases)("DELETE %s/sessions/{id}", (base) => {
  const end = (tokens: Pick<Tokens, "access_token">, id: string) =>
    server.request("DELETE", `${base}/sessions/${id}`, { token: tokens.access_token })

  it("R48 ends one of one's own sessions at once, and no other", async () => {
    const account = await server.register()
    const [other, third] = [await login(server, account), await login(server, account)]
    having(200, await me(server, other.access_token))
    expect(having(204, await end(account, sessionOf(other))).text).toBe("")
    await expectRevoked(server, other)
    expect(idsOf(await list(account, base))).toEqual([account, third].map(sessionOf).sort())
    await expectAlive(server, third)
    expectProblem(await end(account, sessionOf(other)), 404, "not_found")
  })

  it("R48 ends the session that asks, too", async () => {
    const account = await server.register()
    const other = await login(server, account)
    having(204, await end(other, sessionOf(other)))
    await expectRevoked(server, other)
    await expectAlive(server, account)
  })

  it("R48 finds no other user's session, byte-equal to an id that does not exist", async () => {
    const [account, victim] = [await server.register(), await server.register()]
    const random = await end(account, newId())
    expectProblem(random, 404, "not_found")
    expect(visible(await end(account, sessionOf(victim)))).toEqual(visible(random))
    await expectAlive(server, victim)
  })

  it("refuses a malformed id", async () => {
    for (const id of ["1", "not-a-uuid", "%00", "null", "current", "x".repeat(90)]) {
      expectProblem(await end(stranger, id), 422, "validation_failed")
    }
    expectRefused(await end({ access_token: "rubbish" }, "1"), "token_invalid")
    having(200, await me(server, stranger.access_token))
  })
})

describe.each(bases)("POST %s/logout", (base) => {
  const three = async () => {
    const account = await server.register()
    return [account, await login(server, account), await login(server, account)] as const
  }

  it("R48 ends the session of the bearer at once, and no other", async () => {
    const [own, second, third] = await three()
    having(200, await me(server, own.access_token))
    expect(having(204, await logout({ token: own.access_token }, "", base)).text).toBe("")
    await expectRevoked(server, own)
    await expectAlive(server, second)
    await expectAlive(server, third)
  })

  it("R48 ends every access token of the session", async () => {
    const account = await server.register()
    const next = having(200, await refresh(server, account.refresh_token)).json
    having(200, await me(server, account.access_token))
    having(200, await me(server, next.access_token))
    having(204, await logout({ token: next.access_token }, "?scope=local", base))
    await expectRevoked(server, account)
    await expectRevoked(server, next)
  })

  it("R48 is 204 however often, with either token", async () => {
    const [own, second] = await three()
    for (let count = 0; count < 3; count++) having(204, await logout({ token: own.access_token }, "", base))
    const body = { refresh_token: second.refresh_token }
    for (let count = 0; count < 3; count++) having(204, await logout({ body }, "", base))
    having(204, await logout({ token: second.access_token }, "", base))
    having(204, await logout({ body: { refresh_token: own.refresh_token } }, "", base))
    await expectRevoked(server, own)
    await expectRevoked(server, second)
  })

  it("R48 takes a good refresh token, with an access token that has expired or none", async () => {
    const [own, second, third] = await three()
    const token = expired(server, own.access_token)
    expectRefused(await me(server, token), "token_expired")
    having(204, await logout({ token, body: { refresh_token: own.refresh_token } }, "", base))
    await expectRevoked(server, own)
    having(204, await logout({ body: { refresh_token: second.refresh_token } }, "", base))
    await expectRevoked(server, second)
    await expectAlive(server, third)
  })

  it("R48 with scope others keeps only the session that asks", async () => {
    const [own, second, third] = await three()
    for (const tokens of [own, second, third]) having(200, await me(server, tokens.access_token))
    having(204, await logout({ token: second.access_token }, "?scope=others", base))
    await expectRevoked(server, own)
    await expectRevoked(server, third)
    having(204, await logout({ token: second.access_token }, "?scope=others", base))
    await expectAlive(server, second)
    await expectAlive(server, stranger).then(({ refresh_token, access_token }) => {
      stranger = { ...stranger, refresh_token, access_token }
    })
  })

  it("R48 with scope global ends all sessions of the user, and nobody else's", async () => {
    const [own, second, third] = await three()
    for (const tokens of [own, second, third]) having(200, await me(server, tokens.access_token))
    having(204, await logout({ token: own.access_token }, "?scope=global", base))
    for (const tokens of [own, second, third]) await expectRevoked(server, tokens)
    having(204, await logout({ token: own.access_token }, "?scope=global", base))
    await expectAlive(server, await login(server, own))
    having(200, await me(server, stranger.access_token))
  })

  it("R48 has the same scopes with a refresh token", async () => {
    const [own, second, third] = await three()
    having(204, await logout({ body: { refresh_token: own.refresh_token } }, "?scope=others", base))
    await expectRevoked(server, second)
    await expectRevoked(server, third)
    const next = await expectAlive(server, own)
    const fourth = await login(server, own)
    having(204, await logout({ body: { refresh_token: next.refresh_token } }, "?scope=global", base))
    await expectRevoked(server, next)
    await expectRevoked(server, fourth)
  })

  it("R48 of a session that has ended is 204, and ends no other one whatever the scope", async () => {
    const [ended, second, third] = await three()
    having(204, await logout({ token: ended.access_token }, "", base))
    for (const scope of ["local", "others", "global"]) {
      having(204, await logout({ token: ended.access_token }, `?scope=${scope}`, base))
      having(204, await logout({ body: { refresh_token: ended.refresh_token } }, `?scope=${scope}`, base))
    }
    for (const tokens of [second, third]) await expectAlive(server, tokens)
  })

  it("is 401 without a token that was issued", async () => {
    const missing = await logout({}, "", base)
    expectProblem(missing, 401, "token_missing")
    expect(missing.headers.get("www-authenticate")).toMatch(/^Bearer\b/)
    expectProblem(await logout({ body: {} }, "", base), 401, "token_missing")
    expectRefused(await logout({ token: "rubbish" }, "", base), "token_invalid")
    for (const refresh_token of ["rubbish", `${stranger.refresh_token.slice(0, -6)}AAAAAA`, stranger.access_token]) {
      expectProblem(await logout({ body: { refresh_token } }, "", base), 401, "invalid_refresh_token")
    }
    having(200, await me(server, stranger.access_token))
  })

  it("refuses another scope, unknown members and parameters, and ends nothing then", async () => {
    const account = await server.register()
    const token = account.access_token
    for (const query of ["?scope=all", "?scope=", "?scope=LOCAL", "?scope=%00", "?scope=local&scope=global"]) {
      const answer = await logout({ token }, query, base)
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer)).toEqual(["?scope"])
    }
    const parameter = await logout({ token }, "?everywhere=true", base)
    expectProblem(parameter, 422, "validation_failed")
    expect(pointersOf(parameter)).toEqual(["?everywhere"])
    const member = await logout({ token, body: { scope: "global" } }, "", base)
    expectProblem(member, 422, "validation_failed")
    expect(pointersOf(member)).toEqual(["/scope"])
    const wrong = await logout({ token, body: { refresh_token: 1 } }, "", base)
    expectProblem(wrong, 422, "validation_failed")
    expect(pointersOf(wrong)).toEqual(["/refresh_token"])
    const headers = { "content-type": "application/json" }
    const cut = await server.request("POST", `${base}/logout`, { token, raw: "{", headers })
    expectProblem(cut, 400, "malformed_body")
    await expectAlive(server, account)
  })

  it("needs no body at all", async () => {
    for (const headers of [{}, { "content-length": "0" }, { "content-type": "application/json" }]) {
      const account = await server.register()
      const authorization = `Bearer ${account.access_token}`
      const answer = await send(server, "POST", `${base}/logout`, { headers: { ...headers, authorization } })
      expect(having(204, answer).text).toBe("")
      await expectRevoked(server, account)
    }
    const account = await server.register()
    having(204, await logout({ token: account.access_token, body: {} }, "", base))
    await expectRevoked(server, account)
  })
})

describe("a session that was logged out", () => {
  it("R48 is kept with the time of its end", async () => {
    const account = await server.register()
    having(204, await logout({ token: account.access_token }))
    const find = () =>
      server.sql<{ revoked_at: unknown; revoked_reason: string | null }>(
        "select revoked_at, revoked_reason from sessions where user_id = $1",
        [account.id]
      )
    const ended = await find()
    expect(ended).toHaveLength(1)
    expect(ended[0]?.revoked_at).not.toBeNull()
    expect(ended[0]?.revoked_reason).toMatch(/\S/)
    having(204, await logout({ token: account.access_token }))
    expect(await find()).toEqual(ended)
  })
})
