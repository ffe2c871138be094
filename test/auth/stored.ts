/** What the database has of a user, in whichever table. */
import type { Account, TestServer } from "../support/TestServer.ts"
import { create, having } from "../tasks/families.ts"
import { goodPassword, login, newUsername } from "./accounts.ts"

/** The tables that have something of users, found by themselves, so that a new one is noticed. */
export const tablesOfUsers = async (server: TestServer): Promise<ReadonlyArray<string>> => {
  const rows = await server.sql<{ readonly table_name: string }>(`
    select distinct table_name from information_schema.columns join information_schema.tables using (table_schema, table_name)
    where table_schema = 'public' and table_type = 'BASE TABLE' and (column_name = 'user_id' or table_name = 'users')
    order by table_name`)
  return rows.map(({ table_name }) => table_name)
}

/** Number of this user's rows in each of these tables. */
export const rowsOf = async (server: TestServer, { id }: Pick<Account, "id">): Promise<Record<string, number>> => {
  const found: Record<string, number> = {}
  for (const table of await tablesOfUsers(server)) {
    const [row] = await server.sql<{ readonly count: number }>(
      `select count(*)::int as count from ${table} where ${table === "users" ? "id" : "user_id"} = $1`,
      [id]
    )
    found[table] = row?.count ?? -1
  }
  return found
}

/** An account with something in every table. */
export const filled = async (server: TestServer): Promise<Account> => {
  const account = await server.register({ password: goodPassword, name: "Ada", username: newUsername() })
  const token = account.access_token
  const { id: kept } = await create(server, account, { title: "kept", tags: ["a"], description: "long" })
  const { id: gone } = await create(server, account, { title: "deleted" })
  having(200, await server.request("DELETE", `/api/v1/tasks/${gone}`, { token }))
  const body = { id: "0198f5a0-1c2d-7e3f-8a4b-5c6d7e8f9a0b", title: "with a key" }
  having(201, await server.request("POST", "/api/v1/tasks", { token, headers: { "idempotency-key": "one" }, body }))
  const ended = await login(server, account)
  having(204, await server.request("POST", "/api/v1/auth/logout", { token: ended.access_token, body: {} }))
  // as if they came from an external issuer and had recurring tasks
  const { id } = account
  await server.sql("insert into identities (issuer, subject, user_id) values ('https://issuer.example', $1, $2)", [
    id,
    id
  ])
  await server.sql(
    `insert into task_occurrences (user_id, task_id, version, occurrence, due_at, completed_at, series_start, series_number)
     values ($1, $2, 1, '2026-11-20', now(), now(), '2026-11-20', 1)`,
    [id, kept]
  )
  await server.sql(
    "insert into revoked_tokens (user_id, token_hash, expires_at) values ($1, '\\x00', now() + interval '1 hour')",
    [id]
  )
  return account
}
