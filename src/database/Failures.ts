/** What a failed statement means to who asked for it. */
import { Effect } from "effect"
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

// 3D000: there is no database of this name; 25006: it takes no writes, as a replica
const unavailableStates = /^(?:08|53|57P0|25006$|3D000$)/
const busyStates = /^(?:55P03|57014|40001|40P01)$/

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
  for (let cause: unknown = error.reason; typeof cause === "object" && cause !== null;) {
    const { cause: next, code } = cause as { readonly cause?: unknown; readonly code?: unknown }
    if (typeof code === "string") {
      if (unavailableStates.test(code)) return "unavailable"
      if (busyStates.test(code)) return "busy"
    }
    cause = next
  }
  return undefined
}
