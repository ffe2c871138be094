import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** What workers look for: whose tombstones and idempotency keys have had their time. */
export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`create index tasks_deleted_at on tasks (deleted_at, user_id) where deleted_at is not null`
  yield* sql`create index idempotency_keys_created_at on idempotency_keys (created_at, user_id)`
})
