/** The feed of a user's changes: their tasks, in the order of their versions. */
import { Context, Effect, Layer } from "effect"
import { Reads } from "../database/Reads.ts"
import type { ChangedTask } from "../domain/Task.ts"
import type { UserId } from "../domain/User.ts"
import { changedColumns, type ChangedRow, toChangedTask } from "../tasks/TaskRow.ts"

/** How far a reader is: it has every change up to `version`, and never had a task that was deleted up to `floor`. */
export interface FeedPosition {
  readonly version: number
  readonly floor: number
}

/** What one look at the feed shows, all of it of the same moment. */
export interface Feed {
  /** the version of the user's last change */
  readonly lastVersion: number
  /** the newest version whose tombstone is gone */
  readonly purgedVersion: number
  readonly tasks: ReadonlyArray<ChangedTask>
}

export class ChangesRepo extends Context.Service<ChangesRepo, {
  /**
   * At most `limit` tasks that changed after a position, live or deleted; without a position the live ones from the
   * first. undefined where there is no such user any more.
   */
  readonly read: (
    userId: UserId,
    after: FeedPosition | undefined,
    limit: number
  ) => Effect.Effect<Feed | undefined>
}>()("tasks-api/changes/ChangesRepo") {
  static readonly layer = Layer.effect(
    ChangesRepo,
    Effect.gen(function* () {
      const sql = yield* Reads
      const columns = sql.literal(changedColumns)

      interface FeedRow extends ChangedRow {
        readonly last_version: number
        readonly purged_version: number
        /** null in the one row of a user without a change */
        readonly feed_version: number | null
      }

      return ChangesRepo.of({
        read: (userId, after, limit) =>
          sql<FeedRow>`
          select last_version, purged_version, changed.*
          from user_sequences left join lateral (
            select ${columns}, version as feed_version from tasks
            where tasks.user_id = ${userId} and version > ${after?.version ?? 0}
              and (deleted_at is null or version > coalesce(${after?.floor ?? null}::bigint, last_version))
            order by version limit ${limit}
          ) changed on true
          where user_sequences.user_id = ${userId}
          order by feed_version`.pipe(
            Effect.map((rows) =>
              rows[0] && {
                lastVersion: rows[0].last_version,
                purgedVersion: rows[0].purged_version,
                tasks: rows.filter(({ feed_version }) => feed_version !== null).map(toChangedTask)
              }
            ),
            Effect.orDie
          )
      })
    })
  )
}
