import { createHash, createHmac, generateKeyPairSync, randomBytes, randomUUID, sign as signWith } from "node:crypto"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import {
  decodeJwt,
  decodeProtectedHeader,
  EncryptJWT,
  type JWTHeaderParameters,
  type JWTPayload,
  jwtVerify,
  SignJWT
} from "jose"
import { beforeAll, describe, expect, it } from "vitest"
import { head, headerIn, sendBytes } from "../http/exchange.ts"
import { testDatabaseUrl } from "../operation/postgres.ts"
import { connectionsOf } from "../support/connections.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, type Answer, useServer } from "../support/TestServer.ts"
import { having, visible } from "../tasks/families.ts"
import { bases, expectRefused, login, me, refresh, sessionOf, uuid7 } from "./accounts.ts"

const hostOf = (url: string) => `${new URL(url).hostname}:${new URL(url).port || 5432}`

const server = useServer()
let user: Account
let other: Account
beforeAll(async () => {
  user = await server.register()
  other = await server.register()
})

const key = () => new TextEncoder().encode(server.secret)
const seconds = () => Math.floor(Date.now() / 1000)

/** The user's own token with other claims and header members (undefined removes one), signed with this key. */
const made = (claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}, secret = key()) =>
  new SignJWT({ ...decodeJwt(user.access_token), ...claims } as JWTPayload)
    .setProtectedHeader({ ...decodeProtectedHeader(user.access_token), ...header } as JWTHeaderParameters)
    .sign(secret)

const encoded = (part: unknown) =>
  Buffer.from(typeof part === "string" ? part : JSON.stringify(part)).toString("base64url")
const hmac = (input: string, digest = "sha256", secret: string | Uint8Array = server.secret) =>
  createHmac(digest, secret).update(input).digest("base64url")

/** The same for what jose refuses to make: a part that is a string is taken as it is. */
const assembled = (
  header: Record<string, unknown> | string,
  claims: Record<string, unknown> | string = {},
  signature: (input: string) => string = hmac
) => {
  const whole = (part: Record<string, unknown> | string, own: object) =>
    typeof part === "string" ? part : { ...own, ...part }
  const input = [
    encoded(whole(header, decodeProtectedHeader(user.access_token))),
    encoded(whole(claims, decodeJwt(user.access_token)))
  ].join(".")
  return `${input}.${signature(input)}`
}

/** Refused as any other invalid token. */
const expectInvalid = async (token: string) => {
  const answer = await me(server, token)
  expectRefused(answer, "token_invalid")
  return answer
}

describe("an access token", () => {
  it("is a JWT with exactly the documented header and claims, and nothing personal", async () => {
    const account = await server.register({ name: "Ada Lovelace", username: "ada.lovelace" })
    const before = seconds()
    const answer = await server.request("POST", "/api/v1/auth/login", {
      body: { email: account.email, password: account.password }
    })
    const { access_token, expires_in } = having(200, answer).json
    const { payload, protectedHeader } = await jwtVerify(access_token, key(), { algorithms: ["HS256"] })
    expect(Object.keys(protectedHeader).sort()).toEqual(["alg", "kid", "typ"])
    expect(protectedHeader).toMatchObject({ alg: "HS256", typ: "at+jwt" })
    expect(protectedHeader.kid).toMatch(/^\S+$/)
    expect(server.secret).not.toContain(protectedHeader.kid)
    expect(Object.keys(payload).sort()).toEqual(["aud", "exp", "iat", "iss", "jti", "sid", "sub"])
    expect(payload).toMatchObject({ iss: "tasks-api", aud: "tasks-api", sub: account.id })
    expect(payload["sid"]).toMatch(uuid7)
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(expires_in)
    expect(expires_in).toBe(86_400)
    expect(payload.iat).toBeGreaterThanOrEqual(before - 1)
    expect(payload.iat).toBeLessThanOrEqual(seconds() + 1)
  })

  it("has a jti of its own each time", async () => {
    const tokens = [user, await login(server, user), await login(server, user)]
    expect(new Set(tokens.map(({ access_token }) => decodeJwt(access_token).jti)).size).toBe(3)
  })

  it("is accepted when made anew with the same claims and key, which the tests below rely on", async () => {
    expect(having(200, await me(server, await made())).json.id).toBe(user.id)
    expect(having(200, await me(server, assembled({}))).json.id).toBe(user.id)
    expect(having(200, await me(server, await made({ jti: randomUUID() }))).json.id).toBe(user.id)
  })
})

const guarded = [
  ["GET", "/me", undefined],
  ["PATCH", "/me", { bogus: 1 }],
  ["DELETE", "/me", { bogus: 1 }],
  ["POST", "/password", { bogus: 1 }],
  ["GET", "/sessions", undefined],
  ["DELETE", "/sessions/not-a-uuid", undefined]
] as const

describe.each(bases.flatMap((base) => guarded.map(([method, path, body]) => ({ method, path: base + path, body }))))(
  "$method $path",
  ({ method, path, body }) => {
    const ask = (headers: Record<string, string>) =>
      server.request(method, `${path}?bogus=1`, { ...(body === undefined ? {} : { body }), headers })

    it("R22 asks for a token before it looks at the request", async () => {
      const none = [undefined, "Basic YTpi", "Bearer", "Bearer ", "Negotiate YTpi"]
      for (const authorization of none) {
        const answer = await ask(authorization === undefined ? {} : { authorization })
        expectProblem(answer, 401, "token_missing")
        expect(answer.headers.get("www-authenticate")).toMatch(/^Bearer realm="[^"]+"$/)
      }
    })

    it("R23 refuses a bad one before it looks at the request", async () => {
      const cut = user.access_token.slice(0, -1)
      expectRefused(await ask({ authorization: `Bearer ${cut}` }), "token_invalid")
    })
  }
)

describe("the Authorization header", () => {
  const ask = (authorization: string) => server.request("GET", "/api/v1/auth/me", { headers: { authorization } })
  const basic = Buffer.from("a:b").toString("base64")

  it.each([`Basic ${basic}`, "Bearer", "Bearer ", 'Digest username="a"', "Token x"])(
    "R22 %j is no token at all",
    async (authorization) => {
      const answer = await ask(authorization)
      expectProblem(answer, 401, "token_missing")
      expect(answer.headers.get("www-authenticate")).toMatch(/^Bearer realm="[^"]+"$/)
    }
  )

  it("R22 twice is refused, even with the same good token", async () => {
    const line = `Authorization: Bearer ${user.access_token}`
    const once = await sendBytes(server, head("GET /api/v1/auth/me", "Host: localhost", line, "Connection: close"))
    expect(once.statuses).toEqual([200])
    const twice = [[line, line], [line, "Authorization: Basic YTpi"], ["Authorization: Bearer x", line]].flatMap(
      (lines) => ["GET /api/v1/auth/me", "POST /api/v1/auth/logout"].map((target) => [target, ...lines] as const)
    )
    for (const [target, ...lines] of twice) {
      const request = head(target, "Host: localhost", ...lines, "Connection: close")
      const answer = await sendBytes(server, request)
      expect(answer.statuses).toEqual([401])
      expect(headerIn(answer.text, "www-authenticate")).toMatch(/^Bearer realm="[^"]+"$/)
      expect(headerIn(answer.text, "content-type")).toMatch(/^application\/problem\+json/)
    }
  })

  it("names its scheme in any case", async () => {
    for (const scheme of ["bearer", "BEARER", "bEaReR"]) having(200, await ask(`${scheme} ${user.access_token}`))
  })

  it("holds the token as it is, and nothing else", async () => {
    const token = user.access_token
    for (const value of [`${token},${token}`, `"${token}"`, `${token} x`, `${token}.`]) {
      expectRefused(await ask(`Bearer ${value}`), "token_invalid")
    }
  })
})

describe("a bad token", () => {
  const letters = (token: string, at: number) =>
    `${token.slice(0, at)}${token[at] === "A" ? "B" : "A"}${token.slice(at + 1)}`

  it("R23 gets one and the same answer, whatever is wrong with it", async () => {
    const token = user.access_token
    const [header = "", claims = "", signature = ""] = token.split(".")
    const expiredUnsigned = assembled({}, { iat: seconds() - 7200, exp: seconds() - 3600 }, () => signature)
    const first = visible(await expectInvalid("rubbish"))
    const bad = [
      "a.b.c",
      "..",
      `${header}.${claims}`,
      `${header}.${claims}.`,
      `.${claims}.${signature}`,
      `${token}.${signature}`,
      letters(token, 3),
      letters(token, header.length + 9),
      letters(token, token.length - 20),
      letters(token, token.length - 43),
      `${header}.${claims}.${signature.slice(0, 20)}`,
      `${header}.${claims}.${signature}AAAA`,
      `${header}.${claims}.${hmac(`${header}.${claims}`, "sha256", "another secret of the right length, 32")}`,
      expiredUnsigned,
      await made({ iss: "someone-else" }),
      await made({ aud: "someone-else" }),
      await made({ sid: undefined })
    ]
    for (const token of bad) expect(visible(await expectInvalid(token))).toEqual(first)
  })

  it("R23 is told apart only if it has expired", async () => {
    expectRefused(await me(server, await made({ iat: seconds() - 7200, exp: seconds() - 3600 })), "token_expired")
  })

  it("R23 does not live on in another user's name", async () => {
    await expectInvalid(assembled({}, { sub: other.id }, () => user.access_token.split(".")[2] ?? ""))
  })
})

describe("the algorithm", () => {
  const algorithms = ["none", "None", "NONE", "nOnE", "", "hs256", ["HS256"], ["none"], null, undefined, 0, {}]

  it.each(algorithms.map((alg) => ({ alg })))("R24 alg $alg is refused, signed or not", async ({ alg }) => {
    for (const signature of [() => "", hmac]) await expectInvalid(assembled({ alg }, {}, signature))
    await expectInvalid(assembled({ alg }).split(".").slice(0, 2).join("."))
  })

  const longer = [["HS384", "sha384"], ["HS512", "sha512"]] as const

  it.each(longer)("R25 %s is refused with the right secret", async (alg, digest) => {
    await expectInvalid(assembled({ alg }, {}, (input) => hmac(input, digest)))
    await expectInvalid(assembled({}, {}, (input) => hmac(input, digest)))
    await expectInvalid(assembled({ alg }))
  })

  it("R25 is refused when it is asymmetric and the server has no such keys", async () => {
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey
    const curve = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey
    const edwards = generateKeyPairSync("ed25519").privateKey
    const signer = (digest: string | null, privateKey: typeof rsa) => (input: string) =>
      signWith(digest, Buffer.from(input), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")
    await expectInvalid(assembled({ alg: "RS256" }, {}, signer("sha256", rsa)))
    await expectInvalid(assembled({ alg: "ES256" }, {}, signer("sha256", curve)))
    await expectInvalid(assembled({ alg: "EdDSA" }, {}, signer(null, edwards)))
    for (const alg of ["RS256", "ES256", "EdDSA", "PS256"]) await expectInvalid(assembled({ alg }))
  })
})

describe("a key that the token brings along", () => {
  const attacker = randomBytes(32)
  const pair = generateKeyPairSync("ed25519")
  const jwk = { kty: "oct", k: attacker.toString("base64url"), alg: "HS256", kid: "attacker" }
  const publicJwk = { ...pair.publicKey.export({ format: "jwk" }), kid: "attacker", alg: "EdDSA", use: "sig" }
  const byAttacker = (input: string) => hmac(input, "sha256", attacker)
  const byPair = (input: string) => signWith(null, Buffer.from(input), pair.privateKey).toString("base64url")

  it("R26 is neither used nor fetched", async () => {
    let connections = 0
    const listener = createServer((_, response) => {
      response.setHeader("content-type", "application/json").end(JSON.stringify({ keys: [jwk, publicJwk] }))
    }).on("connection", () => connections++)
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve))
    const { port } = listener.address() as AddressInfo
    const url = `http://127.0.0.1:${port}/jwks.json`
    try {
      const extras = [{ jku: url }, { x5u: url }, { jku: url, x5u: url }, { jwk }, { jwk: publicJwk }, { kid: url }]
      for (const extra of extras) {
        for (const kid of [{}, { kid: "attacker" }]) {
          await expectInvalid(assembled({ ...kid, ...extra }, {}, byAttacker))
          await expectInvalid(assembled({ ...kid, ...extra, alg: "EdDSA" }, {}, byPair))
          await expectInvalid(assembled({ ...kid, ...extra }))
        }
      }
      await expectInvalid(assembled({}, { iss: url }))
      expect(connections).toBe(0)
      await fetch(url)
      expect(connections).toBe(1)
    } finally {
      listener.closeAllConnections()
      listener.close()
    }
  })

  it("R26 makes the server connect to nobody at all", async () => {
    const elsewhere = "https://attacker.example.com/jwks.json"
    const expected = new Set([
      new URL(server.url).host,
      ...testDatabaseUrl === undefined ? [] : [hostOf(testDatabaseUrl)]
    ])
    const targets = await connectionsOf(async () => {
      for (const extra of [{ jku: elsewhere }, { x5u: elsewhere }, { jwk: publicJwk }, { kid: elsewhere }]) {
        for (const claims of [{}, { iss: elsewhere }, { iss: "https://attacker.example.com" }]) {
          await expectInvalid(assembled(extra, claims))
          await expectInvalid(assembled({ ...extra, alg: "EdDSA" }, claims, byPair))
        }
      }
    })
    expect([...targets].filter((target) => !expected.has(target))).toEqual([])
    // what is looked at here is seen at all
    expect(targets).toContain(new URL(server.url).host)
  })

  const files = ["../../dev/null", "/dev/null", "' or 1=1", "' or '1'='1"]
  const kids = [...files, "unknown", "", "0", "__proto__", "constructor", "toString"]

  it.each(kids)("R26 is not found under kid %j", async (kid) => {
    await expectInvalid(assembled({ kid }))
    await expectInvalid(assembled({ kid }, {}, (input) => hmac(input, "sha256", "")))
    await expectInvalid(assembled({ kid }, {}, (input) => hmac(input, "sha256", new Uint8Array(32))))
  })

  it("R26 is not found under a kid that is no short text", async () => {
    for (const kid of ["k".repeat(10_000), 1, ["a"], {}, null, "a\u0000b", "\ud800"]) {
      await expectInvalid(assembled({ kid }))
    }
  })
})

describe("what the token's header demands", () => {
  it.each([
    { crit: ["x"], x: true },
    { crit: ["exp"] },
    { crit: [] },
    { crit: ["b64"], b64: false },
    { crit: ["b64"], b64: true },
    { b64: false },
    { zip: "DEF" },
    { crit: "x", x: 1 },
    { cty: "JWT", crit: ["cty"] }
  ])("R27 %j is refused", async (header) => {
    await expectInvalid(assembled(header))
  })

  it("R27 a payload that was not encoded is refused", async () => {
    const header = encoded({ ...decodeProtectedHeader(user.access_token), b64: false, crit: ["b64"] })
    const claims = JSON.stringify(decodeJwt(user.access_token))
    expectRefused(await me(server, `${header}.${claims}.${hmac(`${header}.${claims}`)}`), "token_invalid")
  })

  it("R27 an encrypted token is refused", async () => {
    const secret = createHash("sha256").update(server.secret).digest()
    for (const encryptionKey of [secret, key().slice(0, 32)]) {
      const token = await new EncryptJWT(decodeJwt(user.access_token))
        .setProtectedHeader({ alg: "dir", enc: "A256GCM", typ: "at+jwt" })
        .encrypt(encryptionKey)
      expect(token.split(".")).toHaveLength(5)
      await expectInvalid(token)
    }
  })

  const types = ["JWT", "jwt", "", "rt+jwt", "at+jwt ", ["at+jwt"], null, undefined, 1]

  it.each(types.map((typ) => ({ typ })))("R30 typ $typ is refused", async ({ typ }) => {
    await expectInvalid(assembled({ typ }))
  })
})

describe("the claims", () => {
  it.each(["exp", "iat", "sub", "jti", "sid", "iss", "aud"])("R28 must have %s", async (claim) => {
    await expectInvalid(await made({ [claim]: undefined }))
    await expectInvalid(await made({ [claim]: null }))
    await expectInvalid(await made({ [claim]: {} }))
    if (claim !== "jti") await expectInvalid(await made({ [claim]: "" }))
  })

  it("R28 must have times that are numbers", async () => {
    const later = seconds() + 3600
    const claims = decodeJwt(user.access_token)
    for (const exp of [String(later), new Date(later * 1000).toISOString(), [later], true]) {
      await expectInvalid(assembled({}, { exp }))
    }
    for (const iat of [String(seconds()), [seconds()], true]) await expectInvalid(assembled({}, { iat }))
    await expectInvalid(assembled({}, { nbf: String(seconds() - 60) }))
    for (const number of ["1e400", "-1e400"]) {
      const text = JSON.stringify({ ...claims, exp: 0 }).replace('"exp":0', `"exp":${number}`)
      expect(text).toContain(number)
      expectRefused(await me(server, assembled({}, text)))
    }
    const issued = JSON.stringify({ ...claims, iat: 0 }).replace('"iat":0', '"iat":1e400')
    expect(issued).toContain("1e400")
    expectRefused(await me(server, assembled({}, issued)))
    expectRefused(await me(server, assembled({}, { exp: -1 })))
    expectRefused(await me(server, assembled({}, { exp: 0 })))
  })

  it("R28 must name a user and a session that belong together", async () => {
    const strangers: ReadonlyArray<Record<string, unknown>> = [
      { sub: other.id },
      { sid: sessionOf(other) },
      { sub: randomUUID() },
      { sid: randomUUID() },
      { sub: sessionOf(user), sid: user.id },
      { sub: "1" },
      { sid: "1" },
      { sub: 1 },
      { sid: 1 },
      { sub: [user.id] },
      { sid: [sessionOf(user)] },
      { sub: "\u0000" },
      { sid: "\ud800" },
      { sub: `${user.id}'--` },
      { sid: "x".repeat(2000) }
    ]
    for (const claims of strangers) expectRefused(await me(server, assembled({}, claims)))
    having(200, await me(server, await made({ sub: other.id, sid: sessionOf(other) })))
  })

  it("R28 must be one JSON object", async () => {
    const claims = JSON.stringify(decodeJwt(user.access_token))
    for (const text of [`[${claims}]`, "null", "1", '"a"', "", "{", `${claims}x`, `${claims.slice(0, -1)},}`]) {
      await expectInvalid(assembled({}, text))
    }
    const header = JSON.stringify(decodeProtectedHeader(user.access_token))
    for (const text of [`[${header}]`, "null", "", "{", `${header}x`]) await expectInvalid(assembled(text))
  })

  /** Asks within one second of the clock, so that a limit of whole seconds is met exactly. */
  const within = async (ask: (now: number) => Promise<Answer>): Promise<Answer> => {
    for (;;) {
      const now = seconds()
      const answer = await ask(now)
      if (seconds() === now) return answer
    }
  }

  it("R29 may be off by the leeway of 5 s and not by 6 s", async () => {
    const early = (now: number) => ({ iat: now - 600 })
    having(200, await within(async (now) => me(server, await made({ ...early(now), exp: now - 4 }))))
    expectRefused(await within(async (now) => me(server, await made({ ...early(now), exp: now - 6 }))), "token_expired")
    having(200, await within(async (now) => me(server, await made({ nbf: now + 4 }))))
    expectRefused(await within(async (now) => me(server, await made({ nbf: now + 6 }))), "token_invalid")
    having(200, await within(async (now) => me(server, await made({ iat: now + 4 }))))
    expectRefused(await within(async (now) => me(server, await made({ iat: now + 6 }))), "token_invalid")
  })

  const names = ["tasks-ap", "tasks-api2", "xtasks-api", "Tasks-Api", "tasks-api ", "https://tasks-api"]
  const issuers = [...names, "better-auth", ["tasks-api"]].map((iss) => ({ iss }))

  it.each(issuers)("R30 iss $iss is refused", async ({ iss }) => {
    await expectInvalid(await made({ iss }))
  })

  const audiences = [...names, "*", ["other"], [], ["other", "tasks"], ["tasks-api,other"], [["tasks-api"]]]

  it.each(audiences.map((aud) => ({ aud })))("R30 aud $aud is refused", async ({ aud }) => {
    await expectInvalid(await made({ aud }))
  })
})

describe("tokens in each other's place", () => {
  it("R31 a refresh token is no bearer", async () => {
    await expectInvalid(user.refresh_token)
  })

  it("R31 an access token refreshes nothing", async () => {
    const account = await server.register()
    expectProblem(await refresh(server, account.access_token), 401, "invalid_refresh_token")
    having(200, await refresh(server, account.refresh_token))
  })
})

describe("a token in the address", () => {
  it("R32 is not looked at, and not in the log", async () => {
    const account = await server.register()
    const seen = await server.request("GET", `/api/v1/auth/me?access_token=${account.access_token}`)
    for (const base of bases) {
      for (const name of ["access_token", "token", "authorization", "bearer"]) {
        const path = `${base}/me?${name}=${account.access_token}`
        expectProblem(await server.request("GET", path), 401, "token_missing")
        expectProblem(await server.request("GET", path, { token: account.access_token }), 422, "validation_failed")
      }
    }
    const body = { refresh_token: account.refresh_token }
    const path = `/api/v1/auth/refresh?access_token=${account.access_token}`
    expectProblem(await server.request("POST", path, { body }), 422, "validation_failed")
    const logs = server.logs()
    expect(logs).toContain(seen.headers.get("x-request-id"))
    expect(logs.includes(account.access_token)).toBe(false)
    expect(logs.includes(account.access_token.split(".")[2] ?? "")).toBe(false)
  })

  it("R32 is not taken from a form, a cookie or another header either", async () => {
    const { access_token } = user
    for (
      const headers of [
        { cookie: `access_token=${access_token}; token=${access_token}` },
        { "x-access-token": access_token },
        { "x-authorization": `Bearer ${access_token}` },
        { "proxy-authorization": `Bearer ${access_token}` }
      ]
    ) {
      expectProblem(await server.request("GET", "/api/v1/auth/me", { headers }), 401, "token_missing")
    }
  })
})

describe("a large token", () => {
  it("R33 is refused though it is signed well", async () => {
    const padded = await made({ pad: "a".repeat(6700) })
    expect(padded.length).toBeGreaterThan(9000)
    await expectInvalid(padded)
    having(200, await me(server, await made({ pad: "a".repeat(1000) })))
  })

  it("R33 is refused when it is made of dots", async () => {
    await expectInvalid(".".repeat(10_000))
    await expectInvalid("a.".repeat(5000))
    await expectInvalid(`${user.access_token}${".".repeat(9000)}`)
  })

  it("R33 of more than a header may have is not read", async () => {
    const ask = (size: number) =>
      sendBytes(server, head("GET /api/v1/auth/me", "Host: localhost", `Authorization: Bearer ${"a".repeat(size)}`))
    expect((await ask(20_480)).statuses).toEqual([431])
    for (let count = 0; count < 3; count++) {
      const answer = await ask(1024 * 1024)
      expect(answer.closed).toBe(true)
      // a connection that is cut while the client still writes may lose the answer
      expect([[431], []]).toContainEqual(answer.statuses)
    }
    having(200, await me(server, user.access_token))
  })
})
