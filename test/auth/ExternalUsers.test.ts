/** Users of other issuers, on two instances: who they are, what their tokens may do, and how those end. */
import { createHmac, createSign, generateKeyPairSync, randomUUID } from "node:crypto"
import { setTimeout as pause } from "node:timers/promises"
import { SignJWT } from "jose"
import { afterAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { followChanges } from "../support/EventStream.ts"
import { type Account, type TestServer, useServers } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import { bases, expectRefused, me, sessionMembers, userMembers, uuid7 } from "./accounts.ts"
import { audience, startIssuer, trusting } from "./issuer.ts"
import { newKeyPair } from "./keys.ts"

const ends: Array<() => unknown> = []
const finished = (end: () => unknown) => void ends.push(end)
afterAll(async () => {
  for (const end of ends.reverse()) await end()
})

const [issuer, second] = [await startIssuer(finished), await startIssuer(finished)]
const sharedSecret = "the secret of a Better Auth server, 32 bytes or more"
const [one, other] = useServers(2, {
  TRUSTED_ISSUERS: JSON.stringify([trusting(issuer), trusting(second)]),
  BETTER_AUTH_HS256: "true",
  BETTER_AUTH_SECRET: sharedSecret
})

const seconds = () => Math.floor(Date.now() / 1000)
const invalid = async (token: string, server = one) => expectRefused(await me(server, token), "token_invalid")
const idOf = async (token: string, server = one): Promise<string> => having(200, await me(server, token)).json.id
const count = async (subject: string) => {
  const rows = await one.sql<{ users: number }>(
    `select count(*)::int as users from identities i join users u on u.id = i.user_id
      join user_sequences s on s.user_id = u.id where subject = $1`,
    [subject]
  )
  return rows[0]?.users
}

const create = (token: string, path: string, server: TestServer = one) =>
  server.request("POST", path, { token, body: { title: "Water the plants" } })

describe("R73 a token of a trusted issuer", () => {
  it("makes its user at first sight, with an id of ours and nothing personal", async () => {
    const sub = randomUUID()
    const token = await issuer.token({ sub, email: "eve@example.com", name: "Eve" })
    const { json } = having(200, await me(one, token))
    expect(Object.keys(json).sort()).toEqual(userMembers)
    expect(json).toMatchObject({ email: null, username: null, name: null, time_zone: "UTC" })
    expect(json.id).toMatch(uuid7)
    expect(json.id).not.toBe(sub)
    expect(await idOf(await issuer.token({ sub, iat: seconds() - 1 }), other)).toBe(json.id)
  })

  it("makes one user, however many requests are the first", async () => {
    for (let round = 0; round < 3; round++) {
      const sub = `racing ${randomUUID()}`
      const tokens = await Promise.all(Array.from({ length: 50 }, (_, i) => issuer.token({ sub, jti: String(i) })))
      const answers = await Promise.all(tokens.map((token, i) => me(i % 2 === 0 ? one : other, token)))
      expect(new Set(answers.map((answer) => having(200, answer).json.id)).size).toBe(1)
      expect(await count(sub)).toBe(1)
    }
    const { rows } = (await one.sql<{ rows: number }>(
      "select count(*)::int as rows from users u where not exists (select 1 from identities where user_id = u.id) and email is null"
    ))[0]!
    expect(rows).toBe(0)
  })

  it("means another user than the same sub of another issuer, or of Better Auth's secret", async () => {
    const sub = randomUUID()
    const bare = await new SignJWT({ sub }).setProtectedHeader({ alg: "HS256" }).setExpirationTime("5 minutes")
      .sign(new TextEncoder().encode(sharedSecret))
    const ids = [await idOf(await issuer.token({ sub })), await idOf(await second.token({ sub })), await idOf(bare)]
    expect(new Set(ids).size).toBe(3)
  })

  it("is never linked to an account here, by e-mail or by id", async () => {
    const account = await one.register()
    const claims = { email: account.email, email_verified: true }
    expect(await idOf(await issuer.token({ ...claims, sub: account.email }))).not.toBe(account.id)
    const token = await issuer.token({ ...claims, sub: account.id })
    const id = await idOf(token)
    expect(id).not.toBe(account.id)
    having(201, await create(account.access_token, "/api/v1/tasks"))
    // the path names the caller by the sub, whose tasks are the caller's own
    expect(having(200, await one.request("GET", `/api/${account.id}/tasks`, { token })).json).toEqual([])
  })

  it.each([
    ["another issuer", { iss: "https://unknown.example.com" }],
    ["a part of the issuer's name", { iss: "http://127.0.0.1" }],
    ["the issuer's name and more", { iss: `${issuer.origin}/` }],
    ["the issuer in an array", { iss: [issuer.origin] }],
    ["this server as issuer", { iss: "tasks-api" }],
    ["Better Auth's name", { iss: "better-auth" }],
    ["no issuer", { iss: undefined }],
    ["another trusted issuer", { iss: second.origin }],
    ["another audience", { aud: "https://other.example.com" }],
    ["the audience of our own tokens", { aud: "tasks-api" }],
    ["other audiences", { aud: ["https://other.example.com"] }],
    ["no audience", { aud: undefined }],
    ["no subject", { sub: undefined }],
    ["an empty subject", { sub: "" }],
    ["a number as subject", { sub: 7 }],
    ["a subject of 256 characters", { sub: "x".repeat(256) }],
    ["NUL in its subject", { sub: "a\u0000b" }],
    ["a lone surrogate in its subject", { sub: "a\ud800" }],
    ["no expiry", { exp: undefined }],
    ["a text as expiry", { exp: "2099-01-01" }],
    ["a start in the future", { nbf: seconds() + 3_600 }],
    ["an issue in the future", { iat: seconds() + 3_600 }]
  ])("is refused with %s", async (_, claims) => {
    await invalid(await issuer.token(claims))
  })

  it("may have several audiences, and be off by 30 seconds", async () => {
    await idOf(await issuer.token({ aud: ["https://other.example.com", audience] }))
    await idOf(await issuer.token({ exp: seconds() - 25, iat: seconds() - 600 }))
    await idOf(await issuer.token({ iat: seconds() + 25, nbf: seconds() + 25 }))
    expectRefused(await me(one, await issuer.token({ exp: seconds() - 31 })), "token_expired")
  })

  it.each([
    ["another type", { typ: "logout+jwt" }],
    ["an address of keys", { jku: `${second.origin}/jwks` }],
    ["a certificate's address", { x5u: `${second.origin}/jwks` }],
    ["another key's name", { kid: "unknown" }],
    ["an extension", { crit: ["exp"] }]
  ])("is refused with %s in its header, and nobody is asked for its sake", async (_, header) => {
    const before = second.asked()
    if ("crit" in header) {
      const [, claims, signature] = (await issuer.token()).split(".")
      const text = JSON.stringify({ alg: "EdDSA", kid: "first", ...header })
      await invalid(`${Buffer.from(text).toString("base64url")}.${claims}.${signature}`)
    } else await invalid(await issuer.token({}, { header }))
    expect(second.asked()).toBe(before)
  })

  it("may have the type of a JWT", async () => {
    for (const typ of ["JWT", "at+jwt", "application/at+jwt"]) await idOf(await issuer.token({}, { header: { typ } }))
  })

  it("is refused with the key of another issuer, and with algorithms that are not listed", async () => {
    await invalid(await issuer.token({}, { key: second.key }))
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 })
    issuer.publish(issuer.key, { ...rsa.publicKey.export({ format: "jwk" }), kid: "rsa" })
    const [, claims] = (await issuer.token()).split(".")
    for (const alg of ["RS256", "HS256", "none"]) {
      const input = `${Buffer.from(JSON.stringify({ alg, kid: "rsa" })).toString("base64url")}.${claims}`
      const signature = alg === "RS256"
        ? createSign("sha256").update(input).sign(rsa.privateKey)
        : createHmac("sha256", rsa.publicKey.export({ format: "pem", type: "spki" })).update(input).digest()
      await invalid(`${input}.${alg === "none" ? "" : signature.toString("base64url")}`)
    }
    issuer.publish(issuer.key)
  })

  it("of a key that was taken out of the set is refused, although it was verified before", async () => {
    const [own, next] = [newKeyPair("EdDSA", "own"), newKeyPair("ES256", "next")]
    const rotating = await startIssuer(finished)
    rotating.publish(own)
    const trusted = JSON.stringify([trusting(issuer), trusting(second), trusting(rotating)])
    for (const server of new Set([one, other])) await server.restart({ TRUSTED_ISSUERS: trusted })
    const [old, later] = [await rotating.token({}, { key: own }), await rotating.token({}, { key: next })]
    await idOf(old)
    rotating.publish(next)
    // an unknown name makes this server ask
    await idOf(later)
    await invalid(old)
  })
})

describe("R73 an issuer that can't be reached", () => {
  it("leaves its users' tokens and local logins as they are", async () => {
    const token = await second.token()
    await idOf(token)
    second.answer(({ socket }) => void socket.destroy())
    await idOf(await second.token())
    await invalid(await second.token({}, { key: newKeyPair("EdDSA", "unknown") }))
    await idOf(token)
    await one.register()
    second.publish(second.key)
  })

  it("is asked once for a flood of unknown keys", async () => {
    const before = issuer.asked()
    const stranger = newKeyPair("EdDSA", "stranger")
    const tokens = await Promise.all(
      Array.from({ length: 60 }, (_, i) => issuer.token({}, { key: stranger, header: { kid: `unknown ${i}` } }))
    )
    for (const token of tokens) await invalid(token)
    expect(issuer.asked()).toBeLessThanOrEqual(before + 1)
  })
})

describe("R73 the user of a token", () => {
  it.each([randomUUID(), "auth0|5f7c8ec7c33c6c004bbafe82", "a/b?c#d%2F", "Ünïcode 名前", "..", "a%20b"])(
    "is named in paths by %s",
    async (name) => {
      const sub = `${name} ${randomUUID()}`
      const token = await issuer.token({ sub })
      const path = `/api/${encodeURIComponent(sub)}/tasks`
      const task = having(201, await create(token, path)).json
      expect(task.user_id).toBe(await idOf(token))
      expect(having(200, await one.request("GET", path, { token })).json).toEqual([task])
      expect(having(200, await one.request("GET", `/api/${task.user_id}/tasks`, { token })).json).toEqual([task])
      for (const wrong of [sub.toUpperCase(), `${sub} `, encodeURIComponent(sub)]) {
        if (wrong === sub) continue
        expectProblem(
          await one.request("GET", `/api/${encodeURIComponent(wrong)}/tasks`, { token }),
          403,
          "forbidden"
        )
      }
    }
  )

  it("shares nothing with users of the same name", async () => {
    const sub = randomUUID()
    const [mine, theirs] = [await issuer.token({ sub }), await second.token({ sub })]
    having(201, await create(mine, `/api/${sub}/tasks`))
    expect(having(200, await one.request("GET", `/api/${sub}/tasks`, { token: theirs })).json).toEqual([])
  })

  it("can change what is shown of it, and has no password", async () => {
    const token = await issuer.token()
    const body = { name: "Ada", time_zone: "Asia/Tokyo" }
    expect(having(200, await one.request("PATCH", "/api/v1/auth/me", { token, body })).json).toMatchObject(body)
    for (const base of bases) {
      const passwords = { current_password: "lantern orbit 47 velvet", new_password: "lantern orbit 48 velvet" }
      const answer = await one.request("POST", `${base}/password`, { token, body: passwords })
      expectProblem(answer, 409, "external_account")
    }
  })
})

const logout = (token: string, server = one, query = "") =>
  server.request("POST", `/api/v1/auth/logout${query}`, { token })

const refusedWithin = async (token: string, server: TestServer) => {
  const begin = performance.now()
  for (;;) {
    const asked = performance.now() - begin
    const answer = await me(server, token)
    if (answer.status === 401) return answer
    // who asks later is refused, however long the answer takes
    expect(asked).toBeLessThan(1_000)
    await pause(10)
  }
}

describe("R73 the logout of a token", () => {
  it("refuses it with the next request, on other instances within a second, and no other token", async () => {
    const sub = randomUUID()
    const [token, another] = [await issuer.token({ sub }), await issuer.token({ sub, jti: "another" })]
    for (const server of [one, other, one, other]) for (const each of [token, another]) await idOf(each, server)
    having(204, await logout(token))
    expectRefused(await me(one, token), "session_revoked")
    expectRefused(await refusedWithin(token, other), "session_revoked")
    having(204, await logout(token))
    having(204, await logout(token, other))
    await idOf(another)
    await idOf(another, other)
  })

  it("refuses its other spellings, too", async () => {
    const key = newKeyPair("ES256", "curve")
    issuer.publish(issuer.key, key)
    await one.restart({})
    const token = await issuer.token({}, { key })
    await idOf(token)
    having(204, await logout(token))
    // (r, s) and (r, n - s) are signatures of one text
    const [header, claims, signature] = token.split(".")
    const bytes = Buffer.from(signature ?? "", "base64url")
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
    const s = order - BigInt(`0x${bytes.subarray(32).toString("hex")}`)
    Buffer.from(s.toString(16).padStart(64, "0"), "hex").copy(bytes, 32)
    const twin = `${header}.${claims}.${bytes.toString("base64url")}`
    expect(twin).not.toBe(token)
    expectRefused(await me(one, twin), "session_revoked")
    issuer.publish(issuer.key)
  })

  it("ends what its scope says, as far as this server can", async () => {
    const [local, others, everywhere] = [await issuer.token(), await issuer.token(), await issuer.token()]
    having(204, await logout(local, one, "?scope=local"))
    having(204, await logout(others, one, "?scope=others"))
    having(204, await logout(everywhere, one, "?scope=global"))
    expectRefused(await me(one, local), "session_revoked")
    await idOf(others)
    expectRefused(await me(one, everywhere), "session_revoked")
  })

  it("ends its streams within a second", async ({ onTestFinished }) => {
    const token = await issuer.token()
    const stream = await followChanges(other, { access_token: token }, onTestFinished)
    let hasEnded = false
    void stream.ended.then(() => hasEnded = true)
    await pause(300)
    expect(hasEnded).toBe(false)
    having(204, await logout(token))
    const begin = performance.now()
    await stream.ended
    expect(performance.now() - begin).toBeLessThan(1_000)
  })

  it("is kept for as long as the token could be used, and no longer", async () => {
    const token = await issuer.token({ exp: seconds() + 100 })
    const id = await idOf(token)
    having(204, await logout(token))
    const left = async () =>
      await one.sql<{ seconds: number }>(
        "select extract(epoch from expires_at - now())::float8 as seconds from revoked_tokens where user_id = $1",
        [id]
      )
    const [row] = await left()
    expect(row?.seconds).toBeGreaterThan(120)
    expect(row?.seconds).toBeLessThan(131)
    await one.purge()
    expect(await left()).toHaveLength(1)
    await one.sql("update revoked_tokens set expires_at = now() - interval '1 second' where user_id = $1", [id])
    expect((await one.purge()).revokedTokens).toBe(1)
    expect(await left()).toEqual([])
  })

  it("is possible before anything else was done with it", async () => {
    const token = await issuer.token()
    having(204, await logout(token))
    expectRefused(await me(one, token), "session_revoked")
  })
})

describe("R73 the sessions of a token's user", () => {
  it("are the one that is known here, which can be ended", async () => {
    const sub = randomUUID()
    const [token, another] = [await issuer.token({ sub }), await issuer.token({ sub, jti: "another" })]
    await idOf(another)
    const { json } = having(200, await one.request("GET", "/api/v1/auth/sessions", { token }))
    expect(json).toHaveLength(1)
    expect(Object.keys(json[0]).sort()).toEqual(sessionMembers)
    expect(json[0]).toMatchObject({ current: true, ip: "127.0.0.1" })
    const end = (id: string) => one.request("DELETE", `/api/v1/auth/sessions/${id}`, { token })
    expectProblem(await end(randomUUID()), 404, "not_found")
    having(204, await end(json[0].id))
    expectRefused(await me(one, token), "session_revoked")
    await idOf(another)
  })
})

describe.each(bases)("R73 DELETE %s/me of a token's user", (base) => {
  const erase = (token: string, body?: unknown) =>
    one.request("DELETE", `${base}/me`, { token, ...(body !== undefined && { body }) })

  const rows = async (id: string) =>
    (await one.sql<{ rows: number }>(
      `select (select count(*) from users where id = $1)::int + (select count(*) from tasks where user_id = $1)::int
        + (select count(*) from identities where user_id = $1)::int
        + (select count(*) from user_sequences where user_id = $1)::int
        + (select count(*) from revoked_tokens where user_id = $1)::int as rows`,
      [id]
    ))[0]?.rows

  it("removes everything, and no token from before makes the account again", async () => {
    const sub = randomUUID()
    const [token, before, ended] = [
      await issuer.token({ sub }),
      // longer than that by which the account is deleted
      await issuer.token({ sub, iat: seconds() - 1_000, exp: seconds() + 86_400 }),
      await issuer.token({ sub, jti: "ended" })
    ]
    const id = await idOf(token)
    for (const server of [one, other]) await idOf(before, server)
    having(204, await logout(ended))
    having(201, await create(token, "/api/v1/tasks"))
    expect(having(204, await erase(token)).text).toBe("")
    expect(await rows(id)).toBe(0)
    for (const each of [token, before, ended]) {
      expectRefused(await me(one, each), "token_invalid")
      expectRefused(await refusedWithin(each, other), "token_invalid")
      expectRefused(await one.request("GET", `/api/${sub}/tasks`, { token: each }), "token_invalid")
      expectRefused(await logout(each), "token_invalid")
    }
    // the token by which the account was deleted is long over: as of 29 days ago
    await one.sql(
      `update revoked_tokens set expires_at = expires_at - interval '29 days', issued_until = issued_until - interval '500 seconds'`
    )
    for (const server of [one, other]) expectRefused(await me(server, before), "token_invalid")
    expect(await count(sub)).toBe(0)
    expect(await rows(id)).toBe(0)
  })

  it("does not stop the same sub of another issuer, nor a later login of the same user", async () => {
    const sub = randomUUID()
    const token = await issuer.token({ sub, iat: seconds() - 200 })
    const timeless = await issuer.token({ sub, iat: undefined })
    const ended = await issuer.token({ sub, iat: seconds() - 300, jti: "ended" })
    const id = await idOf(token)
    having(204, await logout(ended))
    having(204, await erase(token, {}))
    await idOf(await second.token({ sub }))
    // the clocks of two servers may differ by so much
    await invalid(await issuer.token({ sub, jti: "new" }))
    await one.sql("update revoked_tokens set issued_until = issued_until - interval '40 seconds'")
    await invalid(timeless)
    expect(await idOf(await issuer.token({ sub, jti: "new" }))).not.toBe(id)
    // a token from before stays ended, whoever had it
    for (const each of [token, timeless, ended]) {
      for (const server of [one, other]) expectRefused(await me(server, each), "session_revoked")
    }
  })

  it("wants a token that was issued within 5 minutes", async () => {
    const sub = randomUUID()
    for (const iat of [seconds() - 310, undefined]) {
      const token = await issuer.token({ sub, iat })
      const id = await idOf(token)
      const answer = await erase(token)
      expectProblem(answer, 401, "token_too_old")
      expect(answer.headers.get("www-authenticate"))
        .toMatch(/^Bearer realm="[^"]+", error="insufficient_user_authentication", max_age=300$/)
      expect(await idOf(token)).toBe(id)
    }
    having(204, await erase(await issuer.token({ sub, iat: seconds() - 280 })))
  })

  it("leaves nothing behind when first requests race with it", async () => {
    for (let round = 0; round < 5; round++) {
      const sub = randomUUID()
      const token = await issuer.token({ sub })
      const tokens = await Promise.all(Array.from({ length: 20 }, (_, i) => issuer.token({ sub, jti: String(i) })))
      const racing = tokens.map((token, i) => me(i % 2 === 0 ? one : other, token))
      having(204, await erase(token))
      await Promise.all(racing)
      for (const each of [token, ...tokens]) expectRefused(await refusedWithin(each, one))
      expect(await count(sub)).toBe(0)
    }
  })

  it("still wants the password of those who have one, and a body for it", async () => {
    const account: Account = await one.register()
    const ask = (raw: string) =>
      one.request("DELETE", `${base}/me`, {
        token: account.access_token,
        raw,
        headers: { "content-type": "application/json" }
      })
    expectProblem(await ask(""), 400, "malformed_body")
    expectProblem(await ask("{}"), 422, "validation_failed")
    having(200, await me(one, account.access_token))
  })
})

describe("R73 a token of Better Auth's shared secret", () => {
  const signed = (
    claims: Record<string, unknown> = {},
    header: Record<string, unknown> = {},
    secret = sharedSecret
  ) => {
    const all = { sub: randomUUID(), iat: seconds(), exp: seconds() + 900, ...claims }
    const [first, payload] = [{ alg: "HS256", ...header }, all]
      .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    const digest = createHmac("sha256", secret).update(`${first}.${payload}`).digest("base64url")
    return `${first}.${payload}.${digest}`
  }

  it("belongs to a user of its own kind", async () => {
    const sub = `user ${randomUUID()}`
    const id = await idOf(signed({ sub }))
    expect(await idOf(signed({ sub, jti: "another" }), other)).toBe(id)
    expect(await one.sql("select issuer from identities where user_id = $1", [id])).toEqual([{ issuer: "better-auth" }])
    having(201, await create(signed({ sub }), `/api/${encodeURIComponent(sub)}/tasks`))
  })

  it.each([
    ["an issuer", { iss: "better-auth" }, {}],
    ["our issuer", { iss: "tasks-api" }, {}],
    ["a session", { sid: randomUUID() }, {}],
    ["a type", {}, { typ: "at+jwt" }],
    ["another type", {}, { typ: "JWT" }],
    ["another audience", { aud: "somebody-else" }, {}],
    ["no subject", { sub: undefined }, {}],
    ["no expiry", { exp: undefined }, {}],
    ["another algorithm", {}, { alg: "HS512" }]
  ])("has not %s", async (_, claims, header) => {
    await invalid(signed(claims, header))
  })

  it("is not signed with our own secret, nor ours with that one", async () => {
    await invalid(signed({}, {}, one.secret))
    const account = await one.register()
    const [header, claims] = account.access_token.split(".")
    const digest = createHmac("sha256", sharedSecret).update(`${header}.${claims}`).digest("base64url")
    await invalid(`${header}.${claims}.${digest}`)
  })

  it("never is a local user's, though both secrets are one", async () => {
    await one.restart({ JWT_SECRET: "", BETTER_AUTH_SECRET: sharedSecret, DATABASE_PREPARE: "true" })
    const account = await one.register()
    const id = await idOf(signed({ sub: account.id }))
    expect(id).not.toBe(account.id)
    having(200, await me(one, account.access_token))
    await one.restart({})
  })
})
