/** The lock that puts those in order who write to what belongs to one user. */
import { Effect } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import type { UserId } from "../domain/User.ts"

/**
 * Takes the lock until the transaction ends: every other one waits for it, as does every write of tasks, which takes it
 * by itself. False where the user is gone or, with "skip", somebody else has it. It comes before anything else that a
 * transaction locks, or two of them could wait for each other; and what it protects is read by a statement after it,
 * because one that waited still sees what was there before the wait.
 */
export const lockWrites = (
  sql: SqlClient.SqlClient,
  userId: UserId,
  whenTaken: "wait" | "skip" = "wait"
): Effect.Effect<boolean, SqlError.SqlError> =>
  sql`
  select 1 from user_sequences where user_id = ${userId}
  for update${sql.literal(whenTaken === "skip" ? " skip locked" : "")}`.pipe(Effect.map((rows) => rows.length > 0))
