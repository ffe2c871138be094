/** Every environment variable, read once and checked before anything starts. */
import { Context, Data, Duration, Effect, Layer, Option, Redacted, Result, Schema } from "effect"
import * as IpNetwork from "effect/net/IpNetwork"
import { randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import process from "node:process"
import { readSigningKeys, type SigningJwk } from "./auth/SigningKeys.ts"
import { generatedSecret, weakness } from "./auth/Secrets.ts"
import { readIssuers, type TrustedIssuer } from "./auth/TrustedIssuers.ts"

/** What the process needs to know from outside. Durations are Effect's, secrets are redacted. */
export class Settings extends Context.Service<Settings, {
  readonly production: boolean
  readonly port: number
  readonly host: string
  /** undefined: the embedded database in `dataDir` */
  readonly databaseUrl: Redacted.Redacted | undefined
  /** the session connection for migrations; equal to `databaseUrl` without a pooler */
  readonly databaseDirectUrl: Redacted.Redacted | undefined
  readonly databaseCa: string | undefined
  readonly databasePrepare: boolean
  readonly databasePoolSize: number
  readonly dataDir: string
  readonly jwtSecret: Redacted.Redacted
  readonly jwtSecretPrevious: Redacted.Redacted | undefined
  /** the first signs access tokens, all verify; none: the secret does */
  readonly jwtPrivateKeys: ReadonlyArray<Redacted.Redacted<SigningJwk>>
  /** whose tokens are good besides our own */
  readonly trustedIssuers: ReadonlyArray<TrustedIssuer>
  /** verifies tokens without an issuer; undefined: there are none */
  readonly betterAuthSecret: Redacted.Redacted | undefined
  /** whether users may have accounts of this server */
  readonly localAccounts: boolean
  readonly jwtIssuer: string
  readonly jwtAudience: string
  readonly accessTokenTtl: Duration.Duration
  readonly refreshTokenIdleTtl: Duration.Duration
  readonly refreshTokenAbsoluteTtl: Duration.Duration
  readonly refreshTokenGrace: Duration.Duration
  readonly passwordMinLength: number
  /** libuv's threads, which hash passwords and check signatures */
  readonly threadPoolSize: number
  readonly corsOrigins: ReadonlyArray<string>
  readonly trustedProxies: ReadonlyArray<IpNetwork.IpNetwork>
  readonly requireHttps: boolean
  readonly rateLimits: boolean
  /** where all instances count; undefined: each process for itself */
  readonly redisUrl: Redacted.Redacted | undefined
  /** processes that share the port */
  readonly workers: number
  readonly requireIfMatch: boolean
  readonly logFormat: "pretty" | "json"
  readonly logLevel: "Trace" | "Debug" | "Info" | "Warn" | "Error"
  readonly metricsToken: Redacted.Redacted | undefined
  /** where traces, metrics and logs are sent, without the paths of each; undefined: nowhere */
  readonly otlpEndpoint: Redacted.Redacted | undefined
}>()("tasks-api/Settings") {
  /** Reads the variables of this process. */
  static readonly layer = Layer.effect(Settings, Effect.suspend(() => read(process.env)))
  /** Those of a command that works on the database alone. It signs nothing, so that nobody has to give it a secret. */
  static readonly ofDatabase = Layer.effect(Settings, Effect.suspend(() => read(databaseAlone(process.env))))
}

/** One line for each variable that is missing or wrong; never a variable's value. */
export class InvalidSettings extends Data.TaggedError("InvalidSettings")<{ readonly faults: ReadonlyArray<string> }> {
  override get message() {
    return this.faults.join("\n")
  }
}

type Environment = Readonly<Record<string, string | undefined>>

/** With a secret that ends with the process. */
const databaseAlone = (environment: Environment): Environment => ({
  ...Object.fromEntries(
    Object.entries(environment).filter(([name]) => /^(DATABASE|LOG|OTEL)_|^DATA_DIR$/.test(name))
  ),
  JWT_SECRET: randomBytes(32).toString("hex")
})

const integer = (minimum: number, maximum: number) =>
  Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum, maximum }))
const flag = Schema.Literals(["true", "false"])
const duration = Schema.DurationFromString

const seconds = Schema.decodeSync(duration)

/** An address alone is a network of one. */
const network = (text: string) =>
  IpNetwork.fromString(text.includes("/") ? text : `${text}/${text.includes(":") ? 128 : 32}`)

const isOrigin = (text: string): boolean => URL.parse(text)?.origin === text && text.startsWith("http")

const readable = (file: string): string | undefined => {
  try {
    return readFileSync(file, "utf8")
  } catch {
    return undefined
  }
}

/** libpq's; what needs a certificate verifies it. */
const tlsModes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

/** Settings from an environment; fails with every fault at once. */
export const read = Effect.fnUntraced(function* (environment: Environment) {
  const faults: Array<string> = []
  /** an empty variable counts as unset */
  const text = (name: string): string | undefined => environment[name]?.trim() || undefined
  const get = <A>(name: string, schema: Schema.Codec<A, string>, expected: string, otherwise: A): A => {
    const value = text(name)
    if (value === undefined) return otherwise
    const decoded = Schema.decodeUnknownOption(schema)(value)
    if (Option.isSome(decoded)) return decoded.value
    faults.push(`${name}: must be ${expected}`)
    return otherwise
  }
  const list = (name: string, isItem: (item: string) => boolean, expected: string): ReadonlyArray<string> => {
    const items = (text(name) ?? "").split(",").map((item) => item.trim()).filter((item) => item !== "")
    if (!items.every(isItem)) faults.push(`${name}: must be a comma list of ${expected}`)
    return items.filter(isItem)
  }
  const bool = (name: string, otherwise: boolean) =>
    get(name, flag, "true or false", otherwise ? "true" : "false") === "true"
  const span = (name: string, otherwise: string) =>
    get(name, duration, `a duration such as \`${otherwise}\``, seconds(otherwise))
  const url = (name: string, one: string, other: string): string | undefined => {
    const value = text(name)
    if (value === undefined || [one, other].includes(URL.parse(value)?.protocol ?? "")) return value
    faults.push(`${name}: must be a ${one}// or ${other}// URL`)
    return undefined
  }
  const postgresUrl = (name: string) => {
    const value = url(name, "postgres:", "postgresql:")
    const mode = URL.parse(value ?? "")?.searchParams.get("sslmode") ?? "disable"
    if (!tlsModes.includes(mode)) faults.push(`${name}: sslmode must be one of ${tlsModes.join(", ")}`)
    return value
  }

  const production =
    get("APP_ENV", Schema.Literals(["development", "production"]), "development or production", "development") ===
      "production"
  const dataDir = text("DATA_DIR") ?? "./data"
  const databaseUrl = postgresUrl("DATABASE_URL")
  const databasePrepare = bool("DATABASE_PREPARE", true)
  const directUrl = postgresUrl("DATABASE_DIRECT_URL")
  if (!databasePrepare && directUrl === undefined) {
    faults.push("DATABASE_DIRECT_URL: is required where DATABASE_PREPARE is false, for migrations and LISTEN")
  }
  const caFile = text("DATABASE_CA")
  const databaseCa = caFile === undefined ? undefined : readable(caFile)
  if (caFile !== undefined && databaseCa === undefined) faults.push("DATABASE_CA: must be a PEM file that can be read")

  const secretName = text("JWT_SECRET") === undefined && text("BETTER_AUTH_SECRET") !== undefined
    ? "BETTER_AUTH_SECRET"
    : "JWT_SECRET"
  const secret = text(secretName)
  const weak = secret === undefined ? undefined : weakness(secret)
  if (weak !== undefined) faults.push(`${secretName}: ${weak}`)
  if (secret === undefined && (production || databaseUrl !== undefined)) {
    faults.push(
      `JWT_SECRET: is required ${
        production ? "in production" : "with DATABASE_URL"
      }; \`openssl rand -hex 32\` makes one`
    )
  }
  const previous = text("JWT_SECRET_PREVIOUS")
  const weakPrevious = previous === undefined ? undefined : weakness(previous)
  if (weakPrevious !== undefined) faults.push(`JWT_SECRET_PREVIOUS: ${weakPrevious}`)

  const privateKeys = text("JWT_PRIVATE_KEYS")
  const signing = privateKeys === undefined
    ? { keys: [], faults: [] }
    : yield* Effect.promise(() => readSigningKeys(privateKeys))
  faults.push(...signing.faults.map((fault) => `JWT_PRIVATE_KEYS: ${fault}`))

  const jwtIssuer = text("JWT_ISSUER") ?? "tasks-api"
  const betterAuthHs256 = bool("BETTER_AUTH_HS256", false)
  const betterAuthSecret = betterAuthHs256 ? text("BETTER_AUTH_SECRET") : undefined
  if (betterAuthHs256 && betterAuthSecret === undefined) {
    faults.push("BETTER_AUTH_SECRET: is required where BETTER_AUTH_HS256 is true")
  }
  const weakBetterAuth = betterAuthSecret === undefined || secretName === "BETTER_AUTH_SECRET"
    ? undefined
    : weakness(betterAuthSecret)
  if (weakBetterAuth !== undefined) faults.push(`BETTER_AUTH_SECRET: ${weakBetterAuth}`)
  const issuers = readIssuers(text("TRUSTED_ISSUERS") ?? "[]", {
    production,
    // the name that BETTER_AUTH_HS256 gives may be wanted later
    taken: [jwtIssuer, "better-auth"]
  })
  faults.push(...issuers.faults.map((fault) => `TRUSTED_ISSUERS: ${fault}`))
  const localAccounts = bool("LOCAL_ACCOUNTS", true)
  if (!localAccounts && !betterAuthHs256 && issuers.issuers.length === 0 && issuers.faults.length === 0) {
    faults.push("LOCAL_ACCOUNTS: false needs TRUSTED_ISSUERS or BETTER_AUTH_HS256, or nobody could log in")
  }

  const idle = span("REFRESH_TOKEN_IDLE_TTL", "30 days")
  const absolute = span("REFRESH_TOKEN_ABSOLUTE_TTL", "90 days")
  const grace = span("REFRESH_TOKEN_GRACE", "30 seconds")
  const access = span("ACCESS_TOKEN_TTL", "24 hours")
  for (
    const [name, value] of Object.entries({
      ACCESS_TOKEN_TTL: access,
      REFRESH_TOKEN_IDLE_TTL: idle,
      REFRESH_TOKEN_ABSOLUTE_TTL: absolute
    })
  ) {
    if (Duration.toMillis(value) < 1_000 || Duration.toMillis(value) > 3.2e11) {
      faults.push(`${name}: must be between 1 second and 10 years`)
    }
  }
  if (Duration.toMillis(grace) < 0 || Duration.toMillis(grace) > 60_000) {
    faults.push("REFRESH_TOKEN_GRACE: must be between 0 and 60 seconds")
  }

  const workers = get("WORKERS", integer(1, 64), "an integer from 1 to 64", 1)
  if (workers > 1 && databaseUrl === undefined) {
    faults.push("WORKERS: more than 1 needs DATABASE_URL; the embedded database is for one process")
  }
  const redisUrl = url("REDIS_URL", "redis:", "rediss:")
  if (workers > 1 && production && text("REDIS_URL") === undefined) {
    faults.push("WORKERS: more than 1 needs REDIS_URL in production, for limits that all of them share")
  }
  const rateLimits = get("RATE_LIMITS", Schema.Literals(["on", "off"]), "on or off", "on") === "on"
  if (!rateLimits && production) faults.push("RATE_LIMITS: must be on in production")

  const otlpEndpoint = url("OTEL_EXPORTER_OTLP_ENDPOINT", "http:", "https:")

  const settings = {
    production,
    workers,
    rateLimits,
    redisUrl: redisUrl === undefined ? undefined : Redacted.make(redisUrl),
    port: get("PORT", integer(0, 65_535), "an integer from 0 to 65535", 3000),
    host: text("HOST") ?? "127.0.0.1",
    databaseUrl: databaseUrl === undefined ? undefined : Redacted.make(databaseUrl),
    databaseDirectUrl: Option.getOrUndefined(
      Option.map(Option.fromNullishOr(directUrl ?? databaseUrl), (value) => Redacted.make(value))
    ),
    databaseCa,
    databasePrepare,
    databasePoolSize: get("DATABASE_POOL_SIZE", integer(1, 20), "an integer from 1 to 20", 10),
    dataDir,
    jwtSecretPrevious: previous === undefined ? undefined : Redacted.make(previous),
    jwtPrivateKeys: signing.keys.map((key) => Redacted.make(key)),
    trustedIssuers: issuers.issuers,
    betterAuthSecret: betterAuthSecret === undefined ? undefined : Redacted.make(betterAuthSecret),
    localAccounts,
    jwtIssuer,
    jwtAudience: text("JWT_AUDIENCE") ?? "tasks-api",
    accessTokenTtl: access,
    refreshTokenIdleTtl: idle,
    refreshTokenAbsoluteTtl: absolute,
    refreshTokenGrace: grace,
    // never below what ASVS 6.2.1 asks for
    passwordMinLength: get("PASSWORD_MIN_LENGTH", integer(8, 64), "an integer from 8 to 64", 8),
    // libuv reads it before this program runs; it can only be learned here
    threadPoolSize: get("UV_THREADPOOL_SIZE", integer(1, 1_024), "an integer from 1 to 1024", 4),
    corsOrigins: list("CORS_ORIGINS", isOrigin, "origins such as https://app.example.com"),
    trustedProxies: list(
      "TRUSTED_PROXIES",
      (item) => Result.isSuccess(network(item)),
      "addresses or networks such as 10.0.0.0/8"
    )
      .map((item) => Result.getOrThrow(network(item))),
    requireHttps: bool("REQUIRE_HTTPS", production),
    requireIfMatch: bool("REQUIRE_IF_MATCH", false),
    logFormat: get(
      "LOG_FORMAT",
      Schema.Literals(["pretty", "json"]),
      "pretty or json",
      process.stdout.isTTY ? "pretty" : "json"
    ),
    logLevel: logLevels[
      get(
        "LOG_LEVEL",
        Schema.Literals(["trace", "debug", "info", "warn", "error"]),
        "trace, debug, info, warn or error",
        "info"
      )
    ],
    metricsToken: text("METRICS_TOKEN") === undefined ? undefined : Redacted.make(text("METRICS_TOKEN")!),
    // it may have a key in it
    otlpEndpoint: otlpEndpoint === undefined ? undefined : Redacted.make(otlpEndpoint.replace(/\/+$/, ""))
  }
  if (faults.length > 0) return yield* new InvalidSettings({ faults })
  const jwtSecret = secret ??
    (yield* Effect.mapError(
      generatedSecret(dataDir),
      (fault) => new InvalidSettings({ faults: [`DATA_DIR: ${fault}`] })
    ))
  return Settings.of({ ...settings, jwtSecret: Redacted.make(jwtSecret) })
})

const logLevels = { trace: "Trace", debug: "Debug", info: "Info", warn: "Warn", error: "Error" } as const
