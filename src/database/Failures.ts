/** What a failed statement means to who asked for it. */
import { Effect, Predicate } from "effect"
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
