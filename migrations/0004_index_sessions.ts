import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** What logins and workers look for among sessions, and workers among tokens that are refused. */
export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // a user's live sessions, the newest first when read backwards: ended ones, of which there may be many, are not in it
  yield* sql`create index sessions_live on sessions (user_id, created_at, id) where revoked_at is null`
  // the end of a session: the revocation, if there was one, or the expiry
  yield* sql`create index sessions_end on sessions (least(revoked_at, expires_at), user_id)`
  yield* sql`create index revoked_tokens_expires_at on revoked_tokens (expires_at, user_id)`
})
