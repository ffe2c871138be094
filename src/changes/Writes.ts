/** The one way to write tasks. */
import { Context, Effect, Layer } from "effect"
import { SqlClient, type SqlError, type Statement } from "effect/sql"
import type { UserId } from "../domain/User.ts"
import { WakeUps } from "./WakeUps.ts"

export class Writes extends Context.Service<Writes, {
  /**
   * Runs one statement that writes tasks of the user, after it has taken the user's next `count` versions. The statement
   * finds them in `next`: what it changes has to get the versions after `previous_version`, one each; `written_at` is
   * the time. Where `when` is false nothing is taken and nothing happens. Both may read the table expression `given`.
   * The sequence's row is what puts the user's writes in order, so versions become visible in the order of their
   * numbers; `when` is looked at before any wait for that row, so the statement has to guard itself as well. Readers of
   * the user's changes are woken once a written row is committed.
   */
  readonly write: <Row extends object>(userId: UserId, write: {
    readonly count: number
    readonly given: Statement.Fragment
    readonly when?: Statement.Fragment
    readonly statement: Statement.Fragment
  }) => Effect.Effect<ReadonlyArray<Row>, SqlError.SqlError>
}>()("tasks-api/changes/Writes") {
  static readonly layer = Layer.effect(
    Writes,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const wakeUps = yield* WakeUps
      const always = sql.literal("true")
      return Writes.of({
        write: <Row extends object>(userId: UserId, { count, given, statement, when = always }: {
          readonly count: number
          readonly given: Statement.Fragment
          readonly when?: Statement.Fragment
          readonly statement: Statement.Fragment
        }) =>
          sql<Row>`
          with given as (${given}), next as (
            update user_sequences set last_version = last_version + ${count}
            where user_id = ${userId} and ${when}
            returning last_version - ${count} as previous_version, clock_timestamp() as written_at
          )
          ${statement}`.pipe(
            Effect.tap((rows) => rows.length === 0 ? Effect.void : sql.afterCommit(wakeUps.wake(userId)))
          )
      })
    })
  )
}
