/** Takes away what has had its time. Any number of instances may do so at once. */
import { Context, Effect, Layer } from "effect"
import { SqlClient, type Statement } from "effect/sql"
import { lockWrites } from "../changes/WriteLock.ts"
import { transaction } from "../database/Transaction.ts"
import type { UserId } from "../domain/User.ts"
import { keyLifetime } from "../http/IdempotencyLayer.ts"

/** How long a sync client may be away and still learn of a deletion: longer than a deleted task can be restored. */
const tombstoneLifetime = "45 days"

/**
 * How long an ended session can be told from one that never was. Until then a refresh token of it, used again, is
 * answered with what ended it; after that, with `invalid_refresh_token`. Neither it nor an access token ever works.
 */
const endedSessionLifetime = "30 days"

/** Users whose turn it is in one run, and rows that one statement takes: a long transaction would make writers wait. */
const usersAtOnce = 1_000
const rowsAtOnce = 1_000

/** Rows that went. */
export interface Purged {
  readonly tombstones: number
  readonly idempotencyKeys: number
  readonly sessions: number
  readonly revokedTokens: number
}

export class Purge extends Context.Service<Purge, {
  /** One run; answers with the rows that went. Users who are writing at the moment have their turn in the next. */
  readonly run: Effect.Effect<Purged>
}>()("tasks-api/workers/Purge") {
  static readonly layer = Layer.effect(
    Purge,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient

      /** Repeats a step that takes `rowsAtOnce` rows until it finds fewer. */
      const exhaust = (step: Effect.Effect<number>) =>
        Effect.gen(function* () {
          let sum = 0
          while (true) {
            const rows = yield* step
            sum += rows
            if (rows < rowsAtOnce) return sum
          }
        })

      /** Runs a step for each of these users and sums up. */
      const forUsers = (
        users: Effect.Effect<ReadonlyArray<{ readonly user_id: UserId }>>,
        step: (userId: UserId) => Effect.Effect<number>
      ) =>
        Effect.flatMap(users, (rows) =>
          Effect.map(
            Effect.forEach(rows, ({ user_id }) => exhaust(step(user_id))),
            (counts) => counts.reduce((sum, count) => sum + count, 0)
          ))

      const tombstones = forUsers(
        Effect.orDie(sql<{ readonly user_id: UserId }>`
          select distinct user_id from tasks
          where deleted_at < now() - ${tombstoneLifetime}::interval limit ${usersAtOnce}`),
        (userId) =>
          transaction(sql)(Effect.gen(function* () {
            if (!(yield* lockWrites(sql, userId, "skip"))) return 0
            const gone = yield* sql<{ readonly version: number }>`
              delete from tasks where user_id = ${userId} and id in (
                select id from tasks where user_id = ${userId}
                  and deleted_at < now() - ${tombstoneLifetime}::interval
                limit ${rowsAtOnce})
              returning version`
            const purged = gone.reduce((highest, { version }) => Math.max(highest, version), 0)
            yield* sql`
              update user_sequences set purged_version = greatest(purged_version, ${purged})
              where user_id = ${userId}`
            return gone.length
          }))
      )

      /** Rows that nothing is ordered by: a writer that has one at the moment keeps it until the next run. */
      const rowsOf = (table: string, key: string, isOver: Statement.Fragment) => {
        const [rows, id] = [sql.literal(table), sql.literal(key)]
        return forUsers(
          Effect.orDie(sql<{ readonly user_id: UserId }>`
            select distinct user_id from ${rows} where ${isOver} limit ${usersAtOnce}`),
          (userId) =>
            sql`
            delete from ${rows} where user_id = ${userId} and ${id} in (
              select ${id} from ${rows} where user_id = ${userId} and ${isOver}
              limit ${rowsAtOnce} for update skip locked)
            returning 1`.pipe(Effect.map((gone) => gone.length), Effect.orDie)
        )
      }

      const idempotencyKeys = rowsOf("idempotency_keys", "key", sql`created_at < now() - ${keyLifetime}::interval`)
      const sessions = rowsOf(
        "sessions",
        "id",
        sql`least(revoked_at, expires_at) < now() - ${endedSessionLifetime}::interval`
      )
      // these outlive their users: no other row of theirs can be relied on
      const revokedTokens = rowsOf("revoked_tokens", "token_hash", sql`expires_at < now()`)

      return Purge.of({
        run: Effect.all({ tombstones, idempotencyKeys, sessions, revokedTokens }).pipe(
          Effect.tap((gone) =>
            Object.values(gone).every((rows) => rows === 0)
              ? Effect.void
              : Effect.logInfo("purged").pipe(Effect.annotateLogs({ event: "purged", ...gone }))
          )
        )
      })
    })
  )
}
