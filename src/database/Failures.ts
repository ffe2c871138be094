/** What a failed statement means to who asked for it. */
import { Cause, Data, Effect, Predicate } from "effect"
import { SqlError } from "effect/sql"

/** The unique constraint that refused a statement, or undefined for every other failure. */
const violated = (error: SqlError.SqlError): string | undefined =>
  error.reason._tag === "UniqueViolation" ? error.reason.constraint : undefined

/**
 * Turns violations of the named unique constraints into typed failures. Everything else that a statement can fail with
 * is no fault of the request: it dies here, and the edge tells a database that is away from a defect.
 */
export const orConflict =
  <Conflict>(conflicts: Readonly<Record<string, () => Conflict>>) =>
  <A, R>(effect: Effect.Effect<A, SqlError.SqlError, R>): Effect.Effect<A, Conflict, R> =>
    Effect.catch(effect, (error): Effect.Effect<never, Conflict> => {
      const conflict = conflicts[violated(error) ?? ""]
      return conflict === undefined ? Effect.die(error) : Effect.fail(conflict())
    })

/** The codes of a failure and of its causes, outermost first: SQLSTATE, or what the network or TLS calls it. */
export const codesOf = (error: unknown): ReadonlyArray<string> => {
  const own = Predicate.hasProperty(error, "code") && typeof error.code === "string" ? [error.code] : []
  const inner = Predicate.hasProperty(error, "reason") ? error.reason : undefined
  const cause = inner ?? (Predicate.hasProperty(error, "cause") ? error.cause : undefined)
  return cause === undefined ? own : [...own, ...codesOf(cause)]
}

// 3D000: there is no database of this name; 25006: it takes no writes, as a replica
const unavailableStates = /^(?:08|53|57P0|25006$|3D000$)/
// 25P03, 25P04: a transaction was left idle, or took, longer than the database allows
const busyStates = /^(?:55P03|57014|40001|40P01|25P0[34])$/

/** `unavailable`: the database is away or takes no work; `busy`: a wait had its limit; undefined: neither. */
export const classify = (error: unknown): "unavailable" | "busy" | undefined => {
  if (!SqlError.isSqlError(error)) return undefined
  switch (error.reason._tag) {
    case "ConnectionError":
    case "AuthenticationError":
      return "unavailable"
    case "LockTimeoutError":
    case "StatementTimeoutError":
    case "DeadlockError":
    case "SerializationError":
      return "busy"
  }
  const codes = codesOf(error)
  if (codes.some((code) => unavailableStates.test(code))) return "unavailable"
  return codes.some((code) => busyStates.test(code)) ? "busy" : undefined
}

/** A database can't be used: which setting names it, and why. */
export class DatabaseRefused extends Data.TaggedError("DatabaseRefused")<{
  readonly variable: string
  readonly why: string
}> {
  override get message() {
    return `${this.variable}: ${this.why}`
  }
}

/** Why, by SQLSTATE or by what TLS calls it, with what to do about it. */
const refusals: ReadonlyArray<readonly [RegExp, string]> = [
  [/^42501$/, "this user may not create tables"],
  [/^42P01$/, "the database has no tables of this server; a backup is restored first"],
  [/^28P01$/, "the database refuses this user or this password"],
  [/^28000$/, "the database refuses this user, this address, or a connection without TLS (sslmode)"],
  [/^3D000$/, "the server has no database of this name"],
  [/^08P01$/, "the server refuses how the connection is started; a pooler needs DATABASE_PREPARE=false"],
  [/CERT|SIGNATURE|INVALID_CA/, "the server's certificate is not accepted; DATABASE_CA names the file of a private CA"],
  [/^ERR_SSL_/, "TLS with the server fails"]
]

const withoutTls = "the server has no TLS; sslmode=disable connects without"

const messageOf = (error: unknown): string =>
  Predicate.hasProperty(error, "cause") && error.cause !== undefined ? messageOf(error.cause) : String(error)

/** What keeps this process from using the database, in words for whoever starts it; undefined: something else. */
const refusal = (error: unknown): string | undefined => {
  const code = codesOf(error).at(-1)
  if (code !== "42501" && code !== "42P01" && classify(error) === undefined) return undefined
  if (messageOf(error).includes("does not support TLS")) return withoutTls
  const [, why = "the database does not answer, or refuses this user or this address"] =
    refusals.find(([codes]) => codes.test(code ?? "")) ?? []
  return code === undefined ? why : `${why} (${code})`
}

/** Says which setting names the database that can't be used. */
export const ofVariable = (variable: string) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.catchCause(effect, (cause): Effect.Effect<never, E | DatabaseRefused> => {
    const why = refusal(Cause.squash(cause))
    return why === undefined ? Effect.failCause(cause) : Effect.fail(new DatabaseRefused({ variable, why }))
  })
