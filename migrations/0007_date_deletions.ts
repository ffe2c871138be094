import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** When the users of other issuers were deleted: a token from before makes none again, a later login may. */
export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`alter table revoked_tokens add column issued_until timestamptz`
})
