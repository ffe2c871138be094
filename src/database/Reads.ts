import { Context } from "effect"
import type { SqlClient } from "effect/sql"

/**
 * The client for reads that are short and wait for no lock: on a PostgreSQL server they share connections, several
 * statements on the way at once. What may take long, or belongs to a transaction, goes to the SqlClient, where nobody
 * waits behind it.
 */
export class Reads extends Context.Service<Reads, SqlClient.SqlClient>()("tasks-api/database/Reads") {}
