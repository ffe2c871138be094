import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import process from "node:process"
import { Duration, Effect, Redacted } from "effect"
import * as IpNetwork from "effect/net/IpNetwork"
import { describe, expect, it } from "vitest"
import { read, type Settings } from "../../src/Settings.ts"
import { newKeyPair } from "../auth/keys.ts"
import { emptyDirectory, emptyPlace, patience, run, useFinished } from "./program.ts"

const atTheEnd = useFinished()
const directory = () => emptyDirectory(atTheEnd)

const secret = "Zk3vQ9pLw7Rt2XyB5nMc8HdJf4Gs6UaE"
const databaseUrl = "postgres://app:hunter2@db.example.com/tasks"

const settingsOf = (env: Record<string, string>): Promise<Settings["Service"]> =>
  Effect.runPromise(read({ JWT_SECRET: secret, ...env }))

const faultsOf = async (env: Record<string, string>): Promise<ReadonlyArray<string>> => {
  const error = await Effect.runPromise(Effect.flip(read({ JWT_SECRET: secret, ...env })))
  expect(error.message).toBe(error.faults.join("\n"))
  for (const fault of error.faults) expect(fault).toMatch(/^[A-Z0-9_]+: [^\n]+$/)
  return error.faults
}

/** Settings as plain values: durations in milliseconds, networks and secrets as text. */
const plain = (settings: Settings["Service"]): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(settings).map(([name, value]) => [
      name,
      Redacted.isRedacted(value) ? Redacted.value(value) : Duration.isDuration(value) ? Duration.toMillis(value) : value
    ])
  )

const hour = 3_600_000
const day = 24 * hour

const defaults = {
  production: false,
  port: 3000,
  host: "127.0.0.1",
  databaseUrl: undefined,
  databaseDirectUrl: undefined,
  databaseCa: undefined,
  databasePrepare: true,
  databasePoolSize: 10,
  dataDir: "./data",
  jwtSecret: secret,
  jwtSecretPrevious: undefined,
  jwtPrivateKeys: [],
  trustedIssuers: [],
  betterAuthSecret: undefined,
  localAccounts: true,
  jwtIssuer: "tasks-api",
  jwtAudience: "tasks-api",
  accessTokenTtl: day,
  refreshTokenIdleTtl: 30 * day,
  refreshTokenAbsoluteTtl: 90 * day,
  refreshTokenGrace: 30_000,
  passwordMinLength: 8,
  threadPoolSize: 4,
  corsOrigins: [],
  trustedProxies: [],
  requireHttps: false,
  rateLimits: true,
  redisUrl: undefined,
  workers: 1,
  requireIfMatch: false,
  logFormat: process.stdout.isTTY ? "pretty" : "json",
  logLevel: "Info",
  metricsToken: undefined,
  otlpEndpoint: undefined
}

const accepted: ReadonlyArray<readonly [name: string, value: string, changed: Partial<typeof defaults> | object]> = [
  ["APP_ENV", "development", {}],
  ["APP_ENV", "production", { production: true, requireHttps: true }],
  ["PORT", "0", { port: 0 }],
  ["PORT", "65535", { port: 65_535 }],
  ["HOST", "0.0.0.0", { host: "0.0.0.0" }],
  ["DATABASE_URL", databaseUrl, { databaseUrl, databaseDirectUrl: databaseUrl }],
  ["DATABASE_URL", "postgresql://db/tasks", {
    databaseUrl: "postgresql://db/tasks",
    databaseDirectUrl: "postgresql://db/tasks"
  }],
  ["DATABASE_PREPARE", "true", {}],
  ["DATABASE_POOL_SIZE", "1", { databasePoolSize: 1 }],
  ["DATABASE_POOL_SIZE", "20", { databasePoolSize: 20 }],
  ["DATA_DIR", "/var/lib/tasks", { dataDir: "/var/lib/tasks" }],
  ["JWT_SECRET_PREVIOUS", `${secret}-old`, { jwtSecretPrevious: `${secret}-old` }],
  ["JWT_ISSUER", "https://tasks.example.com", { jwtIssuer: "https://tasks.example.com" }],
  ["JWT_AUDIENCE", "https://api.example.com", { jwtAudience: "https://api.example.com" }],
  ["ACCESS_TOKEN_TTL", "15 minutes", { accessTokenTtl: 15 * 60_000 }],
  ["REFRESH_TOKEN_IDLE_TTL", "7 days", { refreshTokenIdleTtl: 7 * day }],
  ["REFRESH_TOKEN_ABSOLUTE_TTL", "1 second", { refreshTokenAbsoluteTtl: 1_000 }],
  ["REFRESH_TOKEN_GRACE", "0 seconds", { refreshTokenGrace: 0 }],
  ["REFRESH_TOKEN_GRACE", "60 seconds", { refreshTokenGrace: 60_000 }],
  ["PASSWORD_MIN_LENGTH", "15", { passwordMinLength: 15 }],
  ["UV_THREADPOOL_SIZE", "8", { threadPoolSize: 8 }],
  ["CORS_ORIGINS", "https://a.example, http://localhost:5173,", {
    corsOrigins: ["https://a.example", "http://localhost:5173"]
  }],
  ["REQUIRE_HTTPS", "true", { requireHttps: true }],
  ["REQUIRE_IF_MATCH", "true", { requireIfMatch: true }],
  ["RATE_LIMITS", "on", {}],
  ["RATE_LIMITS", "off", { rateLimits: false }],
  ["REDIS_URL", "redis://:hunter2@localhost:6380/1", { redisUrl: "redis://:hunter2@localhost:6380/1" }],
  ["REDIS_URL", "rediss://redis.example.com", { redisUrl: "rediss://redis.example.com" }],
  ["LOG_FORMAT", "pretty", { logFormat: "pretty" }],
  ["LOG_FORMAT", "json", { logFormat: "json" }],
  ["LOG_LEVEL", "trace", { logLevel: "Trace" }],
  ["LOG_LEVEL", "error", { logLevel: "Error" }],
  ["METRICS_TOKEN", "a token of the scraper", { metricsToken: "a token of the scraper" }]
]

const refused: ReadonlyArray<readonly [name: string, ...values: ReadonlyArray<string>]> = [
  ["APP_ENV", "prod", "Production", "test"],
  ["PORT", "-1", "65536", "30.5", "3000a", "NaN", "Infinity", "http"],
  [
    "DATABASE_URL",
    "postgres://app:hunter2@db/tasks?sslmode=on",
    "mysql://app:hunter2@db/tasks",
    "db.example.com",
    "app:hunter2@db/tasks"
  ],
  ["DATABASE_DIRECT_URL", "http://app:hunter2@db/tasks", "hunter2"],
  ["DATABASE_CA", "/nowhere/ca-hunter2.pem"],
  ["DATABASE_PREPARE", "yes", "1", "False"],
  ["DATABASE_POOL_SIZE", "0", "21", "1.5", "many"],
  ["JWT_SECRET_PREVIOUS", "hunter2", secret.slice(1), "changethis".repeat(4)],
  ["ACCESS_TOKEN_TTL", "tomorrow", "24", "-1 hours", "0 seconds", "999 millis", "11000 days", "Infinity"],
  ["REFRESH_TOKEN_IDLE_TTL", "forever", "0 days", "-30 days"],
  ["REFRESH_TOKEN_ABSOLUTE_TTL", "forever", "0 days", "-90 days"],
  ["REFRESH_TOKEN_GRACE", "soon", "61 seconds", "-1 seconds"],
  ["PASSWORD_MIN_LENGTH", "7", "0", "-8", "65", "8.5", "long"],
  ["UV_THREADPOOL_SIZE", "0", "1025", "2.5", "all"],
  ["CORS_ORIGINS", "*", "null", "https://a.example/", "a.example", "https://a.example,*", "ftp://a.example"],
  ["TRUSTED_PROXIES", "proxy.example.com", "10.0.0.0/33", "192.168.7", "10.0.0.1,loadbalancer", "*"],
  ["REQUIRE_HTTPS", "yes", "on", "TRUE"],
  ["REQUIRE_IF_MATCH", "maybe"],
  ["BETTER_AUTH_HS256", "yes", "1"],
  ["LOCAL_ACCOUNTS", "no", "0"],
  ["RATE_LIMITS", "false", "0", "OFF"],
  ["REDIS_URL", "localhost:6379", "http://:hunter2@redis.example.com", "redis.example.com"],
  ["LOG_FORMAT", "xml"],
  ["LOG_LEVEL", "verbose", "Info", "none"]
]

describe("a setting", () => {
  it("has the documented default", async () => {
    expect(plain(await settingsOf({}))).toEqual(defaults)
  })

  it.each(accepted)("%s may be %s", async (name, value, changed) => {
    expect(plain(await settingsOf({ [name]: value }))).toEqual({ ...defaults, ...changed })
  })

  it("counts as unset when it is empty or blank", async () => {
    const names = [...accepted, ...refused].map(([name]) => name)
    expect(plain(await settingsOf(Object.fromEntries(names.map((name) => [name, ""]))))).toEqual(defaults)
    expect(plain(await settingsOf(Object.fromEntries(names.map((name) => [name, " \t"]))))).toEqual(defaults)
  })

  it.each(refused)("%s is refused in one line that names it and keeps its value", async (name, ...values) => {
    for (const value of values) {
      const faults = await faultsOf({ [name]: value })
      expect(faults.map((fault) => fault.split(":")[0]), value).toEqual([name])
      if (value.length > 4) expect(faults.join("\n")).not.toContain(value)
      expect(faults.join("\n")).not.toContain("hunter2")
    }
  })

  it("DATABASE_CA is read from its file", async () => {
    const file = join(directory(), "ca.pem")
    writeFileSync(file, "-----BEGIN CERTIFICATE-----\n")
    expect((await settingsOf({ DATABASE_CA: file })).databaseCa).toBe("-----BEGIN CERTIFICATE-----\n")
  })

  it("DATABASE_CA that is no file is refused in one line", async () => {
    const faults = await faultsOf({ DATABASE_CA: directory() })
    expect(faults).toEqual([expect.stringMatching(/^DATABASE_CA: /)])
  })

  it("DATABASE_DIRECT_URL is the connection for migrations, and required where statements are not prepared", async () => {
    const direct = "postgres://owner@db.example.com/tasks"
    const both = { DATABASE_URL: databaseUrl, DATABASE_PREPARE: "false" }
    expect(plain(await settingsOf({ ...both, DATABASE_DIRECT_URL: direct }))).toEqual({
      ...defaults,
      databaseUrl,
      databaseDirectUrl: direct,
      databasePrepare: false
    })
    expect(await faultsOf(both)).toEqual([expect.stringMatching(/^DATABASE_DIRECT_URL: /)])
  })

  it("TRUSTED_PROXIES are addresses and networks of both families", async () => {
    const { trustedProxies } = await settingsOf({ TRUSTED_PROXIES: "127.0.0.1, 10.0.0.0/8,::1,2001:db8::/32" })
    expect(trustedProxies.map(IpNetwork.format)).toEqual(["127.0.0.1/32", "10.0.0.0/8", "::1/128", "2001:db8::/32"])
  })

  it("OTEL_EXPORTER_OTLP_ENDPOINT is the URL that the paths of OTLP are added to", async () => {
    const endpointOf = async (OTEL_EXPORTER_OTLP_ENDPOINT: string) =>
      plain(await settingsOf({ OTEL_EXPORTER_OTLP_ENDPOINT }))["otlpEndpoint"]
    expect(await endpointOf("https://otel.example.com/")).toBe("https://otel.example.com")
    expect(await endpointOf("http://127.0.0.1:4318/tasks")).toBe("http://127.0.0.1:4318/tasks")
    expect(await faultsOf({ OTEL_EXPORTER_OTLP_ENDPOINT: "otel.example.com:4318" })).toEqual([
      expect.stringMatching(/^OTEL_EXPORTER_OTLP_ENDPOINT: .*http/)
    ])
  })

  it("RATE_LIMITS can't be off in production", async () => {
    expect(await faultsOf({ APP_ENV: "production", RATE_LIMITS: "off" })).toEqual([
      expect.stringMatching(/^RATE_LIMITS: .*production/)
    ])
  })

  it("WORKERS need limits that they share in production, and a database that they share anywhere", async () => {
    const several = { DATABASE_URL: databaseUrl, WORKERS: "2" }
    const production = { ...several, APP_ENV: "production" }
    expect(await faultsOf(production)).toEqual([expect.stringMatching(/^WORKERS: .*REDIS_URL/)])
    expect(await settingsOf({ ...production, REDIS_URL: "redis://localhost" })).toMatchObject({ workers: 2 })
    expect(await settingsOf(several)).toMatchObject({ workers: 2 })
    expect(await faultsOf({ WORKERS: "2", REDIS_URL: "redis://localhost" })).toEqual([
      expect.stringMatching(/^WORKERS: .*DATABASE_URL/)
    ])
  })

  it("does not hide the faults of another one", async () => {
    const faults = await faultsOf({
      APP_ENV: "production",
      JWT_SECRET: "hunter2",
      PORT: "http",
      DATABASE_URL: "mysql://app:hunter2@db/tasks",
      JWT_SECRET_PREVIOUS: "hunter2",
      ACCESS_TOKEN_TTL: "tomorrow",
      TRUSTED_PROXIES: "loadbalancer"
    })
    expect(faults.map((fault) => fault.split(":")[0]).sort()).toEqual([
      "ACCESS_TOKEN_TTL",
      "DATABASE_URL",
      "JWT_SECRET",
      "JWT_SECRET_PREVIOUS",
      "PORT",
      "TRUSTED_PROXIES"
    ])
    expect(faults.join("\n")).not.toContain("hunter2")
  })

  describe("JWT_PRIVATE_KEYS", () => {
    const [edwards, curve] = [newKeyPair("EdDSA").privateJwk, newKeyPair("ES256").privateJwk]
    const keysOf = async (...keys: ReadonlyArray<unknown>) =>
      (await settingsOf({ JWT_PRIVATE_KEYS: JSON.stringify({ keys }) })).jwtPrivateKeys.map(Redacted.value)

    it("is a JWK set of Ed25519 and P-256 keys, with or without names", async () => {
      const named = { ...curve, kid: "2026-11", alg: "ES256", use: "sig", key_ops: ["sign"], ext: true }
      const keys = await keysOf({ ...edwards, alg: "Ed25519" }, named)
      expect(keys.map(({ alg, kid }) => [alg, kid])).toEqual([
        ["EdDSA", expect.stringMatching(/^[\w-]{43}$/)],
        ["ES256", "2026-11"]
      ])
    })

    const wrong: ReadonlyArray<readonly [what: string, key: unknown, faults: ReadonlyArray<string>]> = [
      ["no object", "key", ["must be an object"]],
      ["RSA", { kty: "RSA", n: "AQAB", e: "AQAB", d: "AQAB" }, ["kty and crv "]],
      ["a secret", { kty: "oct", k: secret }, ["kty and crv "]],
      ["X25519", { ...edwards, crv: "X25519" }, ["kty and crv "]],
      ["P-384", { ...curve, crv: "P-384" }, ["kty and crv "]],
      ["for another algorithm", { ...curve, alg: "EdDSA" }, ["alg must be ES256"]],
      ["public", { ...edwards, d: undefined }, ["its private part, d, is missing"]],
      ["for encryption", { ...edwards, use: "enc" }, ["use must be sig"]],
      ["for verification", { ...edwards, key_ops: ["verify"] }, ["key_ops must allow sign"]],
      ["without a good name", { ...edwards, kid: "" }, ["kid must be "]],
      ["of two halves", { ...edwards, x: newKeyPair("EdDSA").privateJwk.x }, ["its numbers "]],
      ["of two halves", { ...curve, x: newKeyPair("ES256").privateJwk.x }, ["its numbers "]],
      ["cut", { ...edwards, d: edwards.d?.slice(2) }, ["its numbers "]],
      ["wrong in every way", { ...curve, d: undefined, alg: "RS256", use: "enc", kid: 1 }, ["alg", "its", "use", "kid"]]
    ]

    it.each(wrong)("refuses a key that is %s, a line for each fault", async (_, key, faults) => {
      const found = await faultsOf({ JWT_PRIVATE_KEYS: JSON.stringify({ keys: [edwards, key] }) })
      expect(found).toEqual(
        faults.map((fault) => expect.stringMatching(new RegExp(`^JWT_PRIVATE_KEYS: keys\\[1\\]: ${fault}`)))
      )
      for (const { d } of [edwards, curve]) expect(found.join("\n")).not.toContain(d)
    })

    it("refuses two keys of one name, given or derived", async () => {
      for (const keys of [[edwards, edwards], [{ ...edwards, kid: "a" }, { ...curve, kid: "a" }]]) {
        expect(await faultsOf({ JWT_PRIVATE_KEYS: JSON.stringify({ keys }) })).toEqual([
          expect.stringMatching(/^JWT_PRIVATE_KEYS: keys\[1\]: kid is that of an earlier key/)
        ])
      }
    })

    it.each(["hunter2", "[]", "{}", '{"keys":[]}', '{"keys":{}}', "null"])("refuses %s", async (value) => {
      expect(await faultsOf({ JWT_PRIVATE_KEYS: value })).toEqual([
        expect.stringMatching(/^JWT_PRIVATE_KEYS: must be a JWK set/)
      ])
      const many = JSON.stringify({ keys: Array.from({ length: 21 }, () => newKeyPair("EdDSA").privateJwk) })
      expect(await faultsOf({ JWT_PRIVATE_KEYS: many })).toHaveLength(1)
    })

    it("leaves the secret required, from which other keys are derived", async () => {
      const JWT_PRIVATE_KEYS = JSON.stringify({ keys: [edwards] })
      expect(await faultsOf({ APP_ENV: "production", JWT_SECRET: "", JWT_PRIVATE_KEYS })).toEqual([
        expect.stringMatching(/^JWT_SECRET: is required/)
      ])
    })

    it("is not shown when settings are printed", async () => {
      const settings = await settingsOf({ JWT_PRIVATE_KEYS: JSON.stringify({ keys: [edwards] }) })
      expect(JSON.stringify(settings)).not.toContain(edwards.d)
    })
  })

  describe("TRUSTED_ISSUERS", () => {
    const issuer = {
      issuer: "https://app.example.com",
      jwks_uri: "https://app.example.com/api/auth/jwks",
      audience: "https://tasks.example.com",
      algorithms: ["EdDSA", "RS256"]
    }
    const of = (...issuers: ReadonlyArray<unknown>) => ({ TRUSTED_ISSUERS: JSON.stringify(issuers) })
    const local = (host: string) => ({ ...issuer, jwks_uri: `http://${host}/jwks` })

    it("are others, each with its keys, its audience and its algorithms", async () => {
      const { jwks_uri, ...same } = issuer
      expect((await settingsOf(of(issuer))).trustedIssuers).toEqual([{ ...same, jwksUri: jwks_uri }])
      expect((await settingsOf({ TRUSTED_ISSUERS: "[]" })).trustedIssuers).toEqual([])
    })

    it("may have their keys on this machine, but not in production", async () => {
      for (const host of ["localhost:3001", "127.0.0.1", "127.1.2.3:80", "[::1]:3001"]) {
        expect((await settingsOf(of(local(host)))).trustedIssuers).toHaveLength(1)
        expect(await faultsOf({ ...of(local(host)), APP_ENV: "production" })).toEqual([
          expect.stringMatching(/^TRUSTED_ISSUERS: \[0\]: jwks_uri must be https$/)
        ])
      }
    })

    it.each([
      ["jwks_uri", { jwks_uri: "http://app.example.com/jwks" }],
      ["jwks_uri", { jwks_uri: "http://localhost.example.com/jwks" }],
      ["jwks_uri", { jwks_uri: "http://127.0.0.1.example.com/jwks" }],
      ["jwks_uri", { jwks_uri: "https://user:hunter2@app.example.com/jwks" }],
      ["jwks_uri", { jwks_uri: "file:///etc/passwd" }],
      ["jwks_uri", { jwks_uri: 1 }],
      ["issuer", { issuer: "" }],
      ["issuer", { issuer: ["https://app.example.com"] }],
      ["issuer", { issuer: "tasks-api" }],
      ["issuer", { issuer: "better-auth" }],
      ["audience", { audience: "" }],
      ["audience", { audience: undefined }],
      ["algorithms", { algorithms: [] }],
      ["algorithms", { algorithms: "EdDSA" }],
      ["algorithms", { algorithms: ["EdDSA", "HS256"] }],
      ["algorithms", { algorithms: ["none"] }],
      ["knows only", { jwks_url: "https://app.example.com" }]
    ])("are refused with a wrong %s: %j", async (member, change) => {
      const faults = await faultsOf(of({ ...issuer, issuer: "https://other.example.com" }, { ...issuer, ...change }))
      expect(faults).toEqual([expect.stringMatching(new RegExp(`^TRUSTED_ISSUERS: \\[1\\]: ${member} `))])
      expect(faults.join("")).not.toContain("hunter2")
    })

    it.each(["hunter2", "{}", "null", "[1]", "[[]]", JSON.stringify(Array.from({ length: 21 }, () => issuer))])(
      "are refused where they are no list: %s",
      async (TRUSTED_ISSUERS) => {
        expect(await faultsOf({ TRUSTED_ISSUERS })).toEqual([expect.stringMatching(/^TRUSTED_ISSUERS: must be /)])
      }
    )

    it("are refused where two have one name", async () => {
      expect(await faultsOf(of(issuer, { ...issuer, audience: "another" }))).toEqual([
        expect.stringMatching(/^TRUSTED_ISSUERS: \[1\]: issuer /)
      ])
      expect(await faultsOf({ ...of(issuer), JWT_ISSUER: issuer.issuer })).toHaveLength(1)
    })
  })

  it("BETTER_AUTH_HS256 needs a good BETTER_AUTH_SECRET, which then does not replace JWT_SECRET", async () => {
    const better = `${secret}-better`
    const both = await settingsOf({ BETTER_AUTH_HS256: "true", BETTER_AUTH_SECRET: better })
    expect([Redacted.value(both.jwtSecret), both.betterAuthSecret && Redacted.value(both.betterAuthSecret)])
      .toEqual([secret, better])
    expect((await settingsOf({ BETTER_AUTH_SECRET: better })).betterAuthSecret).toBeUndefined()
    for (const value of ["", "hunter2"]) {
      for (const JWT_SECRET of ["", secret]) {
        const faults = await faultsOf({ BETTER_AUTH_HS256: "true", BETTER_AUTH_SECRET: value, JWT_SECRET })
        expect(faults).toEqual([expect.stringMatching(/^BETTER_AUTH_SECRET: /)])
      }
    }
  })

  it("LOCAL_ACCOUNTS is not false where nobody else's users could come", async () => {
    const TRUSTED_ISSUERS = JSON.stringify([{
      issuer: "https://app.example.com",
      jwks_uri: "https://app.example.com/api/auth/jwks",
      audience: "https://tasks.example.com",
      algorithms: ["EdDSA"]
    }])
    expect((await settingsOf({ LOCAL_ACCOUNTS: "false", TRUSTED_ISSUERS })).localAccounts).toBe(false)
    for (const none of [{}, { TRUSTED_ISSUERS: "[]" }]) {
      expect(await faultsOf({ LOCAL_ACCOUNTS: "false", ...none })).toEqual([expect.stringMatching(/^LOCAL_ACCOUNTS: /)])
    }
  })

  it("that is secret is not shown when settings are printed", async () => {
    const settings = await settingsOf({
      DATABASE_URL: databaseUrl,
      JWT_SECRET_PREVIOUS: `${secret}-old`,
      METRICS_TOKEN: "hunter2",
      REDIS_URL: "redis://:hunter2@localhost"
    })
    for (const text of [JSON.stringify(settings), String(Object.values(settings))]) {
      expect(text).not.toContain("hunter2")
      expect(text).not.toContain(secret)
    }
  })
})

/** Secrets that somebody else knows or can guess. */
const weak: ReadonlyArray<readonly [what: string, value: string]> = [
  ["of 31 bytes", secret.slice(1)],
  ["of 31 bytes and blanks", ` ${secret.slice(1)} `],
  ["`changethis` repeated", "changethis".repeat(4)],
  ["`changethis` in capitals and with separators", "ChangeThis-ChangeThis-ChangeThis-ChangeThis"],
  ["`secret` repeated", "secret".repeat(6)],
  ["`secret` with a number", "secret-secret-secret-secret-secret-2026"],
  ["`password` repeated", "password".repeat(4)],
  ["an example of a manual", "a-string-secret-at-least-256-bits-long"],
  ["the default of another product", "your-super-secret-jwt-token-with-at-least-32-characters-long"],
  ["what is typed in a row", "0123456789abcdef0123456789abcdefXYZ"],
  ["one repeated character", "x".repeat(64)],
  ["two characters in turn", "ab".repeat(32)],
  ["one character of several bytes, repeated", "\u00e9".repeat(32)]
]

describe("R35 JWT_SECRET", () => {
  it.each(weak)("is refused when it is %s", async (_, value) => {
    for (const env of [{}, { APP_ENV: "production" }, { DATABASE_URL: databaseUrl }]) {
      const faults = await faultsOf({ ...env, JWT_SECRET: value })
      expect(faults).toEqual([expect.stringMatching(/^JWT_SECRET: .*openssl rand -hex 32/)])
      expect(faults[0]).not.toContain(value.trim())
    }
  })

  it("has 32 bytes of UTF-8 or more, in fewer characters where they are longer", async () => {
    const letters = "\u00e0\u00e1\u00e2\u00e3\u00e4\u00e5\u00e6\u00e7\u00e8\u00e9\u00ea\u00eb\u00ec\u00ed\u00ee\u00ef"
    expect(Redacted.value((await settingsOf({ JWT_SECRET: letters })).jwtSecret)).toBe(letters)
    expect(await faultsOf({ JWT_SECRET: letters.slice(1) })).toHaveLength(1)
  })

  it("is required in production and with DATABASE_URL", async () => {
    for (const env of [{ APP_ENV: "production" }, { DATABASE_URL: databaseUrl }]) {
      for (const unset of ["", "  "]) {
        expect(await faultsOf({ ...env, JWT_SECRET: unset })).toEqual([
          expect.stringMatching(/^JWT_SECRET: is required /)
        ])
      }
    }
  })

  it("is BETTER_AUTH_SECRET when it is not set, under the same rules", async () => {
    const better = `${secret}-better`
    const both = await settingsOf({ BETTER_AUTH_SECRET: better })
    expect(Redacted.value(both.jwtSecret)).toBe(secret)
    const one = await settingsOf({ JWT_SECRET: "", BETTER_AUTH_SECRET: better, APP_ENV: "production" })
    expect(Redacted.value(one.jwtSecret)).toBe(better)
    for (const [, value] of weak) {
      const faults = await faultsOf({ JWT_SECRET: "", BETTER_AUTH_SECRET: value })
      expect(faults).toEqual([expect.stringMatching(/^BETTER_AUTH_SECRET: /)])
    }
    expect(await faultsOf({ JWT_SECRET: "hunter2", BETTER_AUTH_SECRET: better })).toEqual([
      expect.stringMatching(/^JWT_SECRET: /)
    ])
  })

  const generated = async (dataDir: string) =>
    Redacted.value((await settingsOf({ JWT_SECRET: "", DATA_DIR: dataDir })).jwtSecret)

  it("is generated once for an embedded database in development, for its owner's eyes only", async () => {
    const [first, second] = [join(directory(), "data"), join(directory(), "data")]
    const made = await generated(first)
    expect(made).toMatch(/^[0-9a-f]{64}$/)
    expect(await generated(first)).toBe(made)
    expect(await generated(second)).not.toBe(made)
    expect(statSync(first).mode & 0o777).toBe(0o700)
    expect(statSync(join(first, "jwt-secret")).mode & 0o777).toBe(0o600)
    expect(readFileSync(join(first, "jwt-secret"), "utf8")).toBe(made)
  })

  it("is not generated where it is given, or where another setting is wrong", async () => {
    const dataDir = directory()
    await settingsOf({ DATA_DIR: dataDir })
    await faultsOf({ JWT_SECRET: "", DATA_DIR: dataDir, PORT: "http" })
    expect(existsSync(join(dataDir, "jwt-secret"))).toBe(false)
  })

  it.each(["", "0123", "changethis".repeat(4)])(
    "is not taken from a file that was damaged to `%s`",
    async (content) => {
      const dataDir = directory()
      writeFileSync(join(dataDir, "jwt-secret"), content)
      const faults = await faultsOf({ JWT_SECRET: "", DATA_DIR: dataDir })
      expect(faults).toEqual([expect.stringMatching(/^DATA_DIR: .*jwt-secret/)])
    }
  )
})

describe("DATA_DIR", () => {
  it("whose secret can't be read is refused in one line", async () => {
    const dataDir = directory()
    mkdirSync(join(dataDir, "jwt-secret"))
    expect(await faultsOf({ JWT_SECRET: "", DATA_DIR: dataDir })).toEqual([
      expect.stringMatching(/^DATA_DIR: .*jwt-secret/)
    ])
  })

  it("that can't be made is refused in one line", async () => {
    const file = join(directory(), "file")
    writeFileSync(file, "")
    for (const dataDir of [file, join(file, "data")]) {
      expect(await faultsOf({ JWT_SECRET: "", DATA_DIR: dataDir })).toEqual([expect.stringMatching(/^DATA_DIR: /)])
    }
  })
})

describe.concurrent("a process with a wrong setting", () => {
  it("R35 ends with 1 and one line for each fault on standard error, before it listens", async ({ onTestFinished }) => {
    const ending = await run("src/main.ts", {
      APP_ENV: "production",
      PORT: "http",
      LOG_LEVEL: "verbose",
      DATA_DIR: emptyDirectory(onTestFinished)
    }, onTestFinished)
    expect(ending).toMatchObject({ code: 1, stdout: "" })
    const lines = ending.stderr.trimEnd().split("\n").sort()
    expect(lines).toEqual([
      expect.stringMatching(/^JWT_SECRET: is required in production/),
      expect.stringMatching(/^LOG_LEVEL: must be /),
      expect.stringMatching(/^PORT: must be /)
    ])
  }, patience)

  it("R35 does not listen with a secret that everybody knows", async ({ onTestFinished }) => {
    const value = "changethis".repeat(4)
    const ending = await run("src/main.ts", {
      JWT_SECRET: value,
      PORT: "0",
      DATA_DIR: emptyDirectory(onTestFinished)
    }, onTestFinished)
    expect(ending).toMatchObject({ code: 1, stdout: "" })
    expect(ending.stderr).toMatch(/^JWT_SECRET: [^\n]+\n$/)
    expect(ending.stderr).not.toContain("changethis")
  }, patience)

  it("refuses a DATA_DIR that is a file in one line", async ({ onTestFinished }) => {
    const file = join(emptyDirectory(onTestFinished), "file")
    writeFileSync(file, "")
    const ending = await run("src/migrate.ts", { JWT_SECRET: secret, DATA_DIR: file }, onTestFinished)
    expect(ending).toMatchObject({ code: 1, stdout: "" })
    expect(ending.stderr).toMatch(/^DATA_DIR: [^\n]+\n$/)
  }, patience)

  it("says that its port is taken", async ({ onTestFinished }) => {
    const other = createServer().listen(0, "127.0.0.1")
    await new Promise((resolve) => other.once("listening", resolve))
    onTestFinished(() => void other.close())
    const address = other.address()
    const port = typeof address === "object" ? String(address?.port) : ""
    const env = { ...await emptyPlace(onTestFinished), PORT: port }
    const ending = await run("src/main.ts", env, onTestFinished)
    expect(ending.code).toBe(1)
    expect(ending.stdout).not.toContain("listening")
    expect(ending.stderr).toMatch(/^HOST, PORT: [^\n]+\n$/)
  }, patience)
})
