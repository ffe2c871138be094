import { decodeJwt } from "jose"
import { beforeAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, type Answer, useServers } from "../support/TestServer.ts"
import { expired, having, pointersOf } from "../tasks/families.ts"
import {
  bases,
  expectAlive,
  expectNoticed,
  expectRefused,
  expectRevoked,
  hashes,
  login,
  me,
  refresh,
  respelled,
  sessionOf,
  type Tokens
} from "./accounts.ts"

const [server, other] = useServers(2)
let user: Account
beforeAll(async () => {
  user = await server.register()
})

const successor = async (token: string): Promise<Tokens> => having(200, await refresh(server, token)).json

interface SessionRow {
  readonly generation: number
  readonly revoked_at: Date | string | null
  readonly revoked_reason: string | null
}
/** As others see it: on another connection than the requests' own, where there are several. */
const row = async (tokens: Tokens): Promise<SessionRow> => {
  const { sid, sub } = decodeJwt(tokens.access_token)
  const [found] = await other.sql<SessionRow>(
    "select generation, revoked_at, revoked_reason from sessions where user_id = $1 and id = $2",
    [sub, sid]
  )
  if (found === undefined) throw new Error("no such session")
  return found
}
/** Moves the last rotation out of the grace of 30 s. */
const passGrace = async (tokens: Tokens) => {
  const { sid, sub } = decodeJwt(tokens.access_token)
  await server.sql(
    "update sessions set rotated_at = now() - interval '31 seconds' where user_id = $1 and id = $2",
    [sub, sid]
  )
}
const expectInvalid = (answer: Answer) => expectProblem(answer, 401, "invalid_refresh_token")

describe.each(bases)("POST %s/refresh", (base) => {
  const ask = (body: unknown) => server.request("POST", `${base}/refresh`, { body })

  it("answers exactly the documented members: new tokens of the same session", async () => {
    const first = await server.register()
    const answer = having(200, await ask({ refresh_token: first.refresh_token }))
    const next = answer.json
    expect(Object.keys(next).sort()).toEqual(["access_token", "expires_in", "refresh_token", "token_type"])
    expect(next).toMatchObject({ token_type: "bearer", expires_in: 86_400 })
    expect(answer.headers.get("cache-control")).toContain("no-store")
    expect(next.refresh_token).not.toBe(first.refresh_token)
    expect(sessionOf(next)).toBe(sessionOf(first))
    expect(decodeJwt(next.access_token).jti).not.toBe(decodeJwt(first.access_token).jti)
    for (const { access_token } of [first, next]) {
      expect(having(200, await me(server, access_token)).json.id).toBe(first.id)
    }
    having(200, await ask({ refresh_token: next.refresh_token }))
  })

  it("refuses a body that is not exactly one refresh token", async () => {
    const tokens = await server.register()
    for (const wrong of [undefined, null, 1, [tokens.refresh_token]]) {
      const answer = await ask({ refresh_token: wrong })
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer)).toEqual(["/refresh_token"])
    }
    for (const member of ["grant_type", "access_token", "scope", "user_id"]) {
      const answer = await ask({ refresh_token: tokens.refresh_token, [member]: "x" })
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer)).toEqual([`/${member}`])
    }
    for (const body of [[], [tokens.refresh_token], tokens.refresh_token]) {
      expectProblem(await ask(body), 422, "validation_failed")
    }
    for (
      const [raw, type, status, code] of [
        ["", "application/json", 400, "malformed_body"],
        ["{", "application/json", 400, "malformed_body"],
        [`refresh_token=${tokens.refresh_token}`, "application/x-www-form-urlencoded", 415, "unsupported_media_type"]
      ] as const
    ) {
      const answer = await server.request("POST", `${base}/refresh`, { raw, headers: { "content-type": type } })
      expectProblem(answer, status, code)
    }
    const { generation } = await row(tokens)
    having(200, await ask({ refresh_token: tokens.refresh_token }))
    expect((await row(tokens)).generation).toBe(generation + 1)
  })

  it("ignores a bearer, dead, malformed or another user's", async () => {
    let tokens: Tokens = await server.register()
    const dead = await server.register()
    having(204, await server.request("POST", `${base}/logout`, { token: dead.access_token }))
    const bearers = [dead.access_token, expired(server, tokens.access_token), "rubbish", user.access_token]
    for (const token of bearers) {
      const body = { refresh_token: tokens.refresh_token }
      tokens = having(200, await server.request("POST", `${base}/refresh`, { token, body })).json
    }
    having(200, await me(server, tokens.access_token))
  })

  it("runs no hash of a password", async () => {
    const tokens = await login(server, user)
    const before = await hashes(server)
    having(200, await ask({ refresh_token: tokens.refresh_token }))
    expectInvalid(await ask({ refresh_token: "x" }))
    expect(await hashes(server)).toBe(before)
  })
})

describe("a refresh token that was spent", () => {
  it("R39 and comes back after the grace ends the session", async () => {
    const r0 = await login(server, user)
    const r1 = await successor(r0.refresh_token)
    await passGrace(r0)
    expectProblem(await refresh(server, r0.refresh_token), 401, "refresh_token_reused")
    await expectRevoked(server, r1)
    await expectRevoked(server, r0)
    having(200, await me(server, user.access_token))
  })

  it("R39 is answered with a challenge that names no token", async () => {
    const r0 = await login(server, user)
    await successor(r0.refresh_token)
    await passGrace(r0)
    const answer = await refresh(server, r0.refresh_token)
    expectProblem(answer, 401, "refresh_token_reused")
    expect(answer.headers.get("www-authenticate")).toMatch(/^Bearer\b/)
    for (const secret of [r0.refresh_token, r0.access_token]) expect(answer.text).not.toContain(secret)
  })

  it("R40 leaves its end in the database", async () => {
    const r0 = await login(server, user)
    await successor(r0.refresh_token)
    expect(await row(r0)).toMatchObject({ revoked_at: null, revoked_reason: null })
    await passGrace(r0)
    expectProblem(await refresh(server, r0.refresh_token), 401, "refresh_token_reused")
    const ended = await row(r0)
    expect(ended.revoked_at).not.toBeNull()
    expect(ended.revoked_reason).toBe("refresh_reuse")
    await refresh(server, r0.refresh_token)
    expect(await row(r0)).toEqual(ended)
  })

  it("R41 fifty times at once, on two instances, has one successor, and nobody is logged out", async () => {
    for (let round = 0, r0 = await login(server, user); round < 4; round++) {
      const { generation } = await row(r0)
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, index) => refresh(index % 2 === 0 ? server : other, r0.refresh_token))
      )
      for (const answer of answers) having(200, answer)
      const successors = new Set<string>(answers.map((answer) => answer.json.refresh_token))
      expect(successors.size).toBe(1)
      expect(await row(r0)).toEqual({ generation: generation + 1, revoked_at: null, revoked_reason: null })
      for (const answer of answers.slice(0, 6)) {
        for (const instance of [server, other]) having(200, await me(instance, answer.json.access_token))
      }
      // the next fifty race with the one token that lives
      r0 = answers[0]!.json
    }
  })

  it("R42 and comes back within the grace, because the answer was lost, gets the same successor", async () => {
    const r0 = await login(server, user)
    const { generation } = await row(r0)
    const r1 = await successor(r0.refresh_token)
    for (let retry = 0; retry < 3; retry++) {
      const again = await successor(r0.refresh_token)
      expect(again.refresh_token).toBe(r1.refresh_token)
      having(200, await me(server, again.access_token))
    }
    expect((await row(r0)).generation).toBe(generation + 1)
    await expectAlive(server, r1)
  })

  it("R42 has its grace again after each rotation", async () => {
    const r0 = await login(server, user)
    const r1 = await successor(r0.refresh_token)
    await passGrace(r0)
    const r2 = await successor(r1.refresh_token)
    expect((await successor(r1.refresh_token)).refresh_token).toBe(r2.refresh_token)
    await expectAlive(server, r2)
  })

  it("R43 twice over ends the session even within the grace", async () => {
    const r0 = await login(server, user)
    const r1 = await successor(r0.refresh_token)
    const r2 = await successor(r1.refresh_token)
    expectProblem(await refresh(server, r0.refresh_token), 401, "refresh_token_reused")
    for (const tokens of [r2, r1, r0]) await expectRevoked(server, tokens)
    expect((await row(r0)).revoked_reason).toBe("refresh_reuse")
  })

  it("R43 ends its own session only", async () => {
    const [a, b] = [await login(server, user), await login(server, user)]
    await successor((await successor(a.refresh_token)).refresh_token)
    expectProblem(await refresh(server, a.refresh_token), 401, "refresh_token_reused")
    await expectAlive(server, b)
  })
})

describe("the end of a session", () => {
  const move = (tokens: Tokens, idle: string, absolute: string) => {
    const { sid, sub } = decodeJwt(tokens.access_token)
    return server.sql(
      `update sessions set created_at = now() - interval '50 days', last_used_at = now() - interval '40 days',
        expires_at = now() + interval '${idle}', absolute_expires_at = now() + interval '${absolute}'
        where user_id = $1 and id = $2`,
      [sub, sid]
    )
  }
  const left = async (tokens: Tokens) => {
    const { sid, sub } = decodeJwt(tokens.access_token)
    const [found] = await server.sql<{ idle: number; absolute: number }>(
      `select extract(epoch from expires_at - now())::float8 as idle,
        extract(epoch from absolute_expires_at - now())::float8 as absolute
        from sessions where user_id = $1 and id = $2`,
      [sub, sid]
    )
    if (found === undefined) throw new Error("no such session")
    return found
  }
  const days = 86_400

  it("R45 is 30 days after its last refresh and 90 days after its login", async () => {
    const tokens = await login(server, user)
    const first = await left(tokens)
    expect(Math.abs(first.idle - 30 * days)).toBeLessThan(60)
    expect(Math.abs(first.absolute - 90 * days)).toBeLessThan(60)
    await move(tokens, "1 minute", "80 days")
    await successor(tokens.refresh_token)
    const second = await left(tokens)
    expect(Math.abs(second.idle - 30 * days)).toBeLessThan(60)
    expect(Math.abs(second.absolute - 80 * days)).toBeLessThan(60)
  })

  it("R45 comes when it was idle, for both tokens", async () => {
    const tokens = await login(server, user)
    await move(tokens, "-1 second", "50 days")
    expectProblem(await refresh(server, tokens.refresh_token), 401, "session_expired")
    expectRefused(await me(server, tokens.access_token), "session_expired")
    expectProblem(await refresh(server, tokens.refresh_token), 401, "session_expired")
  })

  it("R45 comes at the absolute end, for both tokens", async () => {
    const tokens = await successor((await login(server, user)).refresh_token)
    await move(tokens, "-1 second", "-1 second")
    expectProblem(await refresh(server, tokens.refresh_token), 401, "session_expired")
    expectRefused(await me(server, tokens.access_token), "session_expired")
  })

  it("R45 is passed by neither the next access token nor the next idle end", async () => {
    let tokens = await login(server, user)
    await move(tokens, "5 minutes", "10 minutes")
    for (let slide = 0; slide < 3; slide++) {
      const next = having(200, await refresh(server, tokens.refresh_token)).json
      const { iat = 0, exp = 0 } = decodeJwt(next.access_token)
      expect(next.expires_in).toBeGreaterThan(570)
      expect(next.expires_in).toBeLessThanOrEqual(600)
      expect(exp - iat).toBe(next.expires_in)
      const { idle, absolute } = await left(tokens)
      expect(absolute).toBeLessThanOrEqual(600)
      expect(idle).toBe(absolute)
      expect(exp).toBeLessThanOrEqual(Math.ceil(Date.now() / 1000 + absolute))
      tokens = next
    }
    having(200, await me(server, tokens.access_token))
  })

  it("R45 is not put off by retries within the grace", async () => {
    const r0 = await login(server, user)
    const r1 = await successor(r0.refresh_token)
    await move(r0, "-1 second", "50 days")
    for (const { refresh_token } of [r0, r1]) {
      expectProblem(await refresh(server, refresh_token), 401, "session_expired")
    }
    expect((await left(r0)).idle).toBeLessThan(0)
  })
})

// format(1) ‖ key id(1) ‖ user id(16) ‖ session id(16) ‖ generation(4) ‖ MAC(32)
const bytesOf = (token: string) => Buffer.from(token, "base64url")
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url")
const mixed = (from: Buffer, other: Buffer, start: number, end: number) =>
  Buffer.concat([from.subarray(0, start), other.subarray(start, end), from.subarray(end)])

describe("a refresh token that was not issued", () => {
  const wellFormed = () => user.refresh_token
  const malformed: ReadonlyArray<readonly [string, () => string]> = [
    ["one letter", () => "x"],
    ["no base64url", () => "%".repeat(wellFormed().length)],
    ["another alphabet", () => "日本".repeat(47)],
    ["cut", () => wellFormed().slice(0, -1)],
    ["cut in half", () => wellFormed().slice(0, 47)],
    ["one letter longer", () => `${wellFormed()}A`],
    ["twice", () => wellFormed() + wellFormed()],
    ["spelled in another way", () => respelled(wellFormed())],
    ["all zero", () => "A".repeat(wellFormed().length)],
    ["of another format", () => text(mixed(bytesOf(wellFormed()), Buffer.from([0xff]), 0, 1))],
    ["an access token", () => user.access_token],
    ["a UUID", () => "01890000-0000-7000-8000-000000000000"],
    ["10 KB", () => "A".repeat(10_000)]
  ]

  it.each(malformed)("R46 is refused: %s", async (_, token) => {
    expectInvalid(await refresh(server, token()))
  })

  it("R46 is refused or invalid with letters that no token has", async () => {
    for (const letter of ["\u0000", "\ud800", "\n", " "]) {
      for (const token of [`${wellFormed()}${letter}`, `${letter}${wellFormed()}`]) {
        const answer = await refresh(server, token)
        if (answer.status === 422) expectProblem(answer, 422, "validation_failed")
        else expectInvalid(answer)
      }
    }
  })

  it("R46 costs no query while it is malformed", async () => {
    const tokens = await login(server, user)
    await server.sql("alter table sessions rename to sessions_away")
    try {
      for (const [, token] of malformed) expectInvalid(await refresh(server, token()))
      expect((await refresh(server, tokens.refresh_token)).status).toBeGreaterThanOrEqual(500)
    } finally {
      await server.sql("alter table sessions_away rename to sessions")
    }
    await expectAlive(server, tokens)
  })

  it("R46 is refused with any single bit turned, and does no harm to the session", async () => {
    const tokens = await login(server, user)
    const before = await row(tokens)
    const bytes = bytesOf(tokens.refresh_token)
    expect(bytes).toHaveLength(70)
    expect(text(bytes)).toBe(tokens.refresh_token)
    for (let at = 0; at < bytes.length; at++) {
      const turned = Buffer.from(bytes)
      turned[at] = (turned[at] ?? 0) ^ (1 << at % 8)
      expectInvalid(await refresh(server, text(turned)))
    }
    expect(await row(tokens)).toEqual(before)
    await expectAlive(server, tokens)
  })

  it("R46 is refused when parts of two good ones are joined", async () => {
    const stranger = await server.register()
    const [first, second] = [await login(server, user), await login(server, user)]
    const next = await successor(first.refresh_token)
    const [mine, mySecond, later, theirs] = [first, second, next, stranger].map((one) => bytesOf(one.refresh_token))
    const joined = [
      mixed(mine!, theirs!, 2, 18),
      mixed(mine!, theirs!, 18, 34),
      mixed(mine!, theirs!, 2, 34),
      mixed(mine!, theirs!, 38, 70),
      mixed(mine!, mySecond!, 18, 34),
      mixed(mine!, mySecond!, 38, 70),
      mixed(mine!, later!, 34, 38),
      mixed(later!, mine!, 34, 38),
      mixed(later!, mine!, 38, 70)
    ]
    for (const bytes of joined) expectInvalid(await refresh(server, text(bytes)))
    for (const tokens of [next, second, stranger]) await expectAlive(server, tokens)
  })

  it("R46 of 1 MB is not read", async () => {
    expectProblem(await refresh(server, "A".repeat(1024 * 1024)), 413, "too_large")
    expectProblem(await refresh(server, wellFormed().repeat(12_000)), 413, "too_large")
  })
})

describe("a refresh and a logout at the same time", () => {
  it("R48 leave nothing that works", async () => {
    for (let round = 0; round < 5; round++) {
      const tokens = await login(server, user)
      const refreshes = Array.from(
        { length: 8 },
        (_, index) => refresh(index % 2 ? server : other, tokens.refresh_token)
      )
      const logout = await server.request("POST", "/api/v1/auth/logout", { token: tokens.access_token })
      having(204, logout)
      const answers = await Promise.all(refreshes)
      for (const instance of [server, other]) {
        for (const { json, status, text } of [...answers, { json: tokens, status: 200, text: "" }]) {
          expect([200, 401], text).toContain(status)
          if (status !== 200) continue
          await expectNoticed(instance, json.access_token, "session_revoked")
          expectProblem(await refresh(instance, json.refresh_token), 401, "session_revoked")
        }
      }
    }
  })
})
