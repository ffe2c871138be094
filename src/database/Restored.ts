/** What has to be done to a database that was restored from a backup, before a server starts on it. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { directly } from "./Database.ts"

/** More writes than a user can have made between a backup and its return. */
const writesSince = 1_000_000_000

/**
 * Clients have cursors and entity tags of versions that the database knows nothing of, and that it would give out again
 * for other changes: it goes on beyond all of them, and as if every tombstone up to there were gone, so that whoever
 * keeps a copy is told to begin again. Sessions that were ended since the backup would live again, and a refresh token
 * that was spent since would be good once more: all sessions end.
 *
 * One statement, so that it happens wholly or not at all; a second time does no harm.
 */
export const restored = directly(Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [counts] = yield* sql<{ readonly users: number; readonly sessions: number }>`
    with advanced as (
      update user_sequences
      set last_version = last_version + ${writesSince}::bigint, purged_version = last_version + ${writesSince}::bigint
      returning 1
    ), ended as (
      update sessions set revoked_at = now(), revoked_reason = 'restore' where revoked_at is null
      returning 1
    )
    select (select count(*) from advanced) as users, (select count(*) from ended) as sessions`
  return counts!
}))
