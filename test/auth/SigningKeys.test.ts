import { createHash, createHmac, sign as signWith } from "node:crypto"
import { setTimeout as pause } from "node:timers/promises"
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, type JWK, jwtVerify, SignJWT } from "jose"
import { beforeAll, describe, expect, it } from "vitest"
import { testDatabaseUrl } from "../operation/postgres.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, type TestServer, useServer, useServers } from "../support/TestServer.ts"
import { create, having, nextOf } from "../tasks/families.ts"
import { expectRefused, login, me, refresh, type Tokens } from "./accounts.ts"
import { type KeyPair, newKeyPair, privateKeys } from "./keys.ts"

const jwks = async (server: TestServer) => having(200, await server.request("GET", "/.well-known/jwks.json"))

const encoded = (part: unknown) => Buffer.from(JSON.stringify(part)).toString("base64url")

/** The claims of this token under another header, signed by this function. */
const resigned = (token: string, header: object, sign: (input: string) => Buffer) => {
  const input = `${encoded(header)}.${token.split(".")[1]}`
  return `${input}.${sign(input).toString("base64url")}`
}

const by = ({ alg, privateKey }: KeyPair) => (input: string) =>
  signWith(alg === "EdDSA" ? null : "sha256", Buffer.from(input), { key: privateKey, dsaEncoding: "ieee-p1363" })

const hmac = (secret: string | Buffer) => (input: string) => createHmac("sha256", secret).update(input).digest()

describe.each(["EdDSA", "ES256"] as const)("a server whose first private key is for %s", (alg) => {
  const [first, second] = [newKeyPair(alg), newKeyPair(alg === "EdDSA" ? "ES256" : "EdDSA", "the second")]
  const stranger = newKeyPair(alg, "stranger")
  const server = useServer(privateKeys(first, second))
  let user: Account
  let header: Record<string, unknown>
  beforeAll(async () => {
    user = await server.register()
    header = { ...decodeProtectedHeader(user.access_token) }
  })

  it("signs with it, and names it by its thumbprint where it has no name", async () => {
    const { x, y } = first.publicJwk
    const members = alg === "EdDSA" ? { crv: "Ed25519", kty: "OKP", x } : { crv: "P-256", kty: "EC", x, y }
    const kid = createHash("sha256").update(JSON.stringify(members)).digest("base64url")
    expect(header).toEqual({ alg, kid, typ: "at+jwt" })
    having(200, await me(server, user.access_token))
  })

  it("publishes the public part of every key, and nothing else", async () => {
    const answer = await jwks(server)
    const published = (pair: KeyPair, kid: unknown) => ({ ...pair.publicJwk, kid, alg: pair.alg, use: "sig" })
    expect(answer.json).toEqual({ keys: [published(first, header["kid"]), published(second, "the second")] })
    for (const { privateJwk } of [first, second]) expect(answer.text).not.toContain(privateJwk.d)
    expect(answer.headers.get("cache-control")).toBe("public, max-age=300")
  })

  it("is verified by whoever reads its keys", async () => {
    const keys: { readonly keys: Array<JWK> } = (await jwks(server)).json
    const { payload } = await jwtVerify(user.access_token, createLocalJWKSet(keys), {
      issuer: "tasks-api",
      audience: "tasks-api",
      typ: "at+jwt"
    })
    expect(payload.sub).toBe(user.id)
  })

  it("takes tokens of its other keys and of its secret", async () => {
    const good = [
      resigned(user.access_token, header, by(first)),
      resigned(user.access_token, { ...header, alg: second.alg, kid: "the second" }, by(second))
    ]
    for (const token of good) having(200, await me(server, token))
    await server.restart({ JWT_PRIVATE_KEYS: "" })
    const old = await login(server, user)
    expect(decodeProtectedHeader(old.access_token).alg).toBe("HS256")
    await server.restart({})
    having(200, await me(server, old.access_token))
    expect(decodeProtectedHeader(having(200, await refresh(server, old.refresh_token)).json.access_token).alg).toBe(alg)
  })

  it("R25 takes no HS256 that is keyed with a public key, in whatever form", async () => {
    const { keys } = (await jwks(server)).json
    const forms: ReadonlyArray<string | Buffer> = [first, second].flatMap(({ publicJwk, publicKey }, i) => [
      Buffer.from(publicJwk.x ?? "", "base64url"),
      publicJwk.x ?? "",
      JSON.stringify(publicJwk),
      JSON.stringify(keys[i]),
      publicKey.export({ format: "pem", type: "spki" }),
      publicKey.export({ format: "der", type: "spki" })
    ])
    for (const form of forms) {
      for (const kid of [header["kid"], "the second", undefined]) {
        const token = resigned(user.access_token, { typ: "at+jwt", alg: "HS256", kid }, hmac(form))
        expectRefused(await me(server, token), "token_invalid")
      }
    }
  })

  it("R25 takes no key for another algorithm than its own, and no signature of another's", async () => {
    const headers = [
      { ...header, alg: second.alg },
      { ...header, kid: "the second" },
      { ...header, alg: "ES384" },
      { ...header, alg: "RS256" },
      { ...header, alg: "none" },
      { ...header, alg: "HS256" }
    ]
    for (const header of headers) {
      for (const sign of [by(first), by(second), hmac(server.secret), () => Buffer.alloc(0)]) {
        expectRefused(await me(server, resigned(user.access_token, header, sign)), "token_invalid")
      }
    }
    for (const kid of [header["kid"], "stranger", undefined]) {
      expectRefused(await me(server, resigned(user.access_token, { ...header, kid }, by(stranger))), "token_invalid")
    }
  })

  it("R26 takes no key that the token brings along", async () => {
    for (const kid of [header["kid"], "stranger", undefined]) {
      const token = resigned(user.access_token, { ...header, kid, jwk: stranger.publicJwk }, by(stranger))
      expectRefused(await me(server, token), "token_invalid")
    }
  })

  it("R23 takes one spelling of a signature only", async () => {
    // the last letter of 64 bytes has four bits that mean nothing
    const [last, rest] = [user.access_token.slice(-1), user.access_token.slice(0, -1)]
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    const at = alphabet.indexOf(last)
    for (let low = 1; low < 16; low++) {
      const token = rest + alphabet[at ^ low]
      expect(Buffer.from(token.split(".")[2] ?? "", "base64url"))
        .toEqual(Buffer.from(user.access_token.split(".")[2] ?? "", "base64url"))
      expectRefused(await me(server, token), "token_invalid")
    }
  })
})

describe("a key", () => {
  const [old, next] = [newKeyPair("EdDSA"), newKeyPair("ES256")]
  const server = useServer()

  it("R36 verifies while it is in the settings, whether it signs or not, and not after", async () => {
    await server.restart(privateKeys(old))
    const user = await server.register()
    await server.restart(privateKeys(next, old))
    having(200, await me(server, user.access_token))
    const later = await login(server, user)
    await server.restart(privateKeys(next))
    expectRefused(await me(server, user.access_token), "token_invalid")
    having(200, await me(server, later.access_token))
    having(200, await refresh(server, user.refresh_token))
  })

  it("R36 that is a secret does so as JWT_SECRET_PREVIOUS, for refresh tokens and cursors as for access tokens", async () => {
    const secret = "a later secret with more than 32 bytes in it"
    await server.restart({})
    const [user, other] = [await server.register(), await server.register()]
    for (const title of ["one", "two"]) await create(server, user, { title })
    const ask = (path: string, { access_token: token }: Tokens) => server.request("GET", path, { token })
    const changes = "/api/v1/changes"
    const nextPage = nextOf(server, having(200, await ask("/api/v1/tasks?limit=1", user)))!
    const cursor = having(200, await ask(changes, user)).json.cursor
    await server.restart({ JWT_SECRET: secret, JWT_SECRET_PREVIOUS: server.secret })
    having(200, await me(server, user.access_token))
    const later: Tokens = having(200, await refresh(server, user.refresh_token)).json
    expect(decodeProtectedHeader(later.access_token)).not.toEqual(decodeProtectedHeader(user.access_token))
    having(200, await ask(nextPage, user))
    const laterCursor = having(200, await ask(`${changes}?since=${cursor}`, user)).json.cursor
    await server.restart({ JWT_SECRET: secret })
    expectRefused(await me(server, user.access_token), "token_invalid")
    having(200, await me(server, later.access_token))
    having(200, await refresh(server, later.refresh_token))
    expect((await refresh(server, other.refresh_token)).json.code).toBe("invalid_refresh_token")
    for (const path of [nextPage, `${changes}?since=${cursor}`]) {
      expectProblem(await ask(path, later), 400, "invalid_cursor")
    }
    having(200, await ask(`${changes}?since=${laterCursor}`, later))
  })

  it("R36 of another server is refused under a name of its own, and under that of ours", async () => {
    await server.restart(privateKeys(old))
    const user = await server.register()
    const { kid } = decodeProtectedHeader(user.access_token)
    for (const name of [kid, "unknown"]) {
      const token = await new SignJWT(decodeJwt(user.access_token))
        .setProtectedHeader({ alg: "EdDSA", typ: "at+jwt", kid: name! })
        .sign(newKeyPair("EdDSA").privateKey)
      expectRefused(await me(server, token), "token_invalid")
    }
  })
})

describe.skipIf(testDatabaseUrl === undefined)("two instances of which one is always there", () => {
  const servers = useServers(2)
  const [one] = servers

  /** Statuses of requests that were answered; an instance that restarts answers none. */
  const load = (accounts: ReadonlyArray<Account>) => {
    const statuses = new Map<number, number>()
    let isOver = false
    let turns = 0
    const any = () => servers[Math.floor(Math.random() * servers.length)]!
    const count = (status: number) => void statuses.set(status, (statuses.get(status) ?? 0) + 1)
    const client = async (account: Tokens) => {
      let tokens = account
      while (!isOver) {
        try {
          turns++
          if (turns % 5 === 0) {
            const answer = await refresh(any(), tokens.refresh_token)
            count(answer.status)
            if (answer.status === 200) tokens = answer.json
          } else count((await me(any(), tokens.access_token)).status)
        } catch {
          await pause(20)
        }
      }
      return tokens
    }
    const clients = accounts.map(client)
    return {
      answers: () => [...statuses.values()].reduce((sum, count) => sum + count, 0),
      end: async () => {
        isOver = true
        return { tokens: await Promise.all(clients), statuses: [...statuses.keys()] }
      }
    }
  }

  const [first, second] = [newKeyPair("EdDSA"), newKeyPair("ES256")]
  const secret = "a later secret with more than 32 bytes in it"

  const rotations = {
    "private keys": [privateKeys(first), privateKeys(first, second), privateKeys(second, first), privateKeys(second)],
    secrets: [
      { JWT_SECRET: one.secret },
      { JWT_SECRET: one.secret, JWT_SECRET_PREVIOUS: secret },
      { JWT_SECRET: secret, JWT_SECRET_PREVIOUS: one.secret },
      { JWT_SECRET: secret }
    ]
  }

  it.each(Object.entries(rotations))(
    "R36 %s are added, switched and removed under load without one 401",
    async (_, [begin, ...steps]) => {
      for (const server of servers) await server.restart(begin!)
      const accounts = await Promise.all(Array.from({ length: 8 }, () => one.register()))
      const clients = load(accounts)
      for (const step of steps) {
        for (const server of servers) {
          const before = clients.answers()
          await server.restart(step)
          // each client has asked with each of its tokens, and has new ones
          while (clients.answers() < before + 400) await pause(20)
        }
      }
      const { statuses, tokens } = await clients.end()
      expect(statuses).toEqual([200])
      for (const server of servers) {
        for (const { access_token } of tokens) having(200, await me(server, access_token))
        for (const { access_token } of accounts) expectRefused(await me(server, access_token), "token_invalid")
      }
    },
    120_000
  )
})
