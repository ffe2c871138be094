import { decodeJwt } from "jose"
import { describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { useServer } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import {
  bases,
  expectRefused,
  expectRevoked,
  goodPassword,
  login,
  me,
  newEmail,
  refresh,
  type Tokens
} from "./accounts.ts"

const server = useServer({
  ACCESS_TOKEN_TTL: "10 minutes",
  REFRESH_TOKEN_GRACE: "10 seconds",
  REFRESH_TOKEN_IDLE_TTL: "2 hours",
  REFRESH_TOKEN_ABSOLUTE_TTL: "5 hours"
})

const update = (tokens: Tokens, assignment: string) => {
  const { sid, sub } = decodeJwt(tokens.access_token)
  return server.sql(`update sessions set ${assignment} where user_id = $1 and id = $2`, [sub, sid])
}
const hours = async (tokens: Tokens) => {
  const { sid, sub } = decodeJwt(tokens.access_token)
  const [left] = await server.sql<{ idle: number; absolute: number }>(
    `select extract(epoch from expires_at - now())::float8 / 3600 as idle,
      extract(epoch from absolute_expires_at - now())::float8 / 3600 as absolute
      from sessions where user_id = $1 and id = $2`,
    [sub, sid]
  )
  return left ?? { idle: 0, absolute: 0 }
}

describe("ACCESS_TOKEN_TTL", () => {
  it("is what expires_in and exp say, after each way to get a token", async () => {
    const body = { email: newEmail(), password: goodPassword }
    for (const base of bases) {
      const registered = base === bases[0]
      const first = having(
        registered ? 201 : 200,
        await server.request("POST", `${base}/${registered ? "register" : "login"}`, { body })
      ).json
      const next = having(200, await refresh(server, first.refresh_token)).json
      for (const { access_token, expires_in } of [first, next]) {
        const { exp = 0, iat = 0 } = decodeJwt(access_token)
        expect(expires_in).toBe(600)
        expect(exp - iat).toBe(600)
      }
    }
  })
})

describe("REFRESH_TOKEN_GRACE", () => {
  it("R42 is how long a retry gets the same successor", async () => {
    const account = await server.register()
    const r1 = having(200, await refresh(server, account.refresh_token)).json
    await update(account, "rotated_at = now() - interval '6 seconds'")
    expect(having(200, await refresh(server, account.refresh_token)).json.refresh_token).toBe(r1.refresh_token)
    await update(account, "rotated_at = now() - interval '11 seconds'")
    expectProblem(await refresh(server, account.refresh_token), 401, "refresh_token_reused")
    await expectRevoked(server, r1)
  })

  it("R42 is not prolonged by a retry", async () => {
    const account = await server.register()
    having(200, await refresh(server, account.refresh_token))
    await update(account, "rotated_at = now() - interval '5 seconds'")
    having(200, await refresh(server, account.refresh_token))
    await update(account, "rotated_at = rotated_at - interval '6 seconds'")
    expectProblem(await refresh(server, account.refresh_token), 401, "refresh_token_reused")
  })
})

describe("REFRESH_TOKEN_IDLE_TTL and REFRESH_TOKEN_ABSOLUTE_TTL", () => {
  it("R45 are the ends of a new session, and of one that was refreshed", async () => {
    const account = await server.register()
    for (const tokens of [account, await login(server, account)]) {
      const left = await hours(tokens)
      expect(left.idle).toBeCloseTo(2, 1)
      expect(left.absolute).toBeCloseTo(5, 1)
    }
    await update(account, "expires_at = now() + interval '1 minute', absolute_expires_at = now() + interval '4 hours'")
    having(200, await refresh(server, account.refresh_token))
    const left = await hours(account)
    expect(left.idle).toBeCloseTo(2, 1)
    expect(left.absolute).toBeCloseTo(4, 1)
  })

  it("R45 end a session at the absolute one, however often it was refreshed before", async () => {
    let tokens: Tokens = await server.register()
    let minutes = 0
    for (; minutes < 600; minutes += 50) {
      const answer = await refresh(server, tokens.refresh_token)
      if (answer.status !== 200) {
        expectProblem(answer, 401, "session_expired")
        expectRefused(await me(server, tokens.access_token), "session_expired")
        break
      }
      tokens = answer.json
      const { expires_in } = answer.json
      expect(expires_in).toBeLessThanOrEqual(Math.min(600, (300 - minutes) * 60))
      // as if that much time had passed
      const shifted = ["created_at", "last_used_at", "rotated_at", "expires_at", "absolute_expires_at"]
      await update(tokens, shifted.map((column) => `${column} = ${column} - interval '50 minutes'`).join(", "))
    }
    // 5 hours are 6 times 50 minutes
    expect(minutes).toBe(300)
  })

  it("R45 never let an access token or the idle end outlive the absolute one", async () => {
    const account = await server.register()
    const ends = "interval '3 minutes'"
    await update(account, `expires_at = now() + ${ends}, absolute_expires_at = now() + ${ends}`)
    const next = having(200, await refresh(server, account.refresh_token)).json
    expect(next.expires_in).toBeGreaterThan(150)
    expect(next.expires_in).toBeLessThanOrEqual(180)
    const left = await hours(account)
    expect(left.idle).toBeLessThanOrEqual(left.absolute)
    expect(left.absolute).toBeLessThanOrEqual(3 / 60)
  })
})
