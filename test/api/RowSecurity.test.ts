/** That the oracle of test/support/RowSecurity.ts sees what it is there for: TEST_ROW_SECURITY=1 runs the suite under it. */
import { inspect } from "node:util"
import { beforeAll, describe, expect, it } from "vitest"
import { filled, tablesOfUsers } from "../auth/stored.ts"
import { violation } from "../support/RowSecurity.ts"
import { type Account, hasRowSecurity, useServer } from "../support/TestServer.ts"

describe.skipIf(!hasRowSecurity)("R57 the oracle", () => {
  const server = useServer()
  let ada: Account
  let other: Account
  beforeAll(async () => {
    ada = await filled(server)
    other = await server.register()
  })

  const send = (userId: string | undefined, text: string, ...params: ReadonlyArray<unknown>) =>
    server.sqlFor(userId, text, params).catch((error: unknown) => {
      if (!inspect(error, { depth: 9 }).includes(violation)) throw error
      return violation
    })

  const ownerColumn = (table: string) => table === "users" ? "id" : "user_id"

  it("has the server connect as a role that owns nothing and is bound by every policy", async () => {
    const [role] = await server.sqlFor(
      ada.id,
      `select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb,
         exists (select 1 from pg_class where relowner = r.oid) as owns
       from pg_roles r where rolname = current_user and not exists (select 1 from pg_auth_members where member = r.oid)`
    )
    expect(role).toEqual({
      rolsuper: false,
      rolbypassrls: false,
      rolcreaterole: false,
      rolcreatedb: false,
      owns: false
    })
  })

  it("guards every table that has rows of users", async () => {
    const tables = await tablesOfUsers(server)
    expect(tables.length).toBeGreaterThan(7)
    const guarded = await server.sql<{ readonly relname: string }>(
      `select relname from pg_class where relrowsecurity and relforcerowsecurity
       and relnamespace = 'public'::regnamespace order by 1`
    )
    expect(guarded.map(({ relname }) => relname)).toEqual(tables)
  })

  it("lets a user's statement see the user's rows, and fails it at anybody else's", async () => {
    for (const table of await tablesOfUsers(server)) {
      const own = `select 1 from ${table} where ${ownerColumn(table)} = $1`
      expect((await server.sqlFor(ada.id, own, [ada.id])).length, table).toBeGreaterThan(0)
      expect(await send(other.id, own, ada.id), table).toBe(violation)
      expect(await send(ada.id, `select 1 from ${table}`), table).toBe(violation)
    }
  })

  it("fails what finds the user's own row without naming the user", async () => {
    for (
      const [table, columns] of Object.entries({
        idempotency_keys: ["key"],
        revoked_tokens: ["token_hash"],
        sessions: ["id"],
        task_occurrences: ["task_id", "version"],
        tasks: ["id"],
        users: ["password_hash"]
      })
    ) {
      const owner = ownerColumn(table)
      const own = `select ${columns} from ${table} where ${owner} = $1 limit 1`
      const [row = {}] = await server.sqlFor(ada.id, own, [ada.id])
      const found = Object.keys(row).map((column, at) => `${column} = $${at + 1}`).join(" and ")
      for (const actor of [ada.id, undefined]) {
        for (
          const statement of [
            `select 1 from ${table} where ${found}`,
            `select exists (select 1 from ${table} where ${found})`,
            `update ${table} set ${owner} = ${owner} where ${found}`,
            `delete from ${table} where ${found}`
          ]
        ) expect(await send(actor, statement, ...Object.values(row)), statement).toBe(violation)
      }
    }
  })

  it("fails a statement that writes a row of somebody else", async () => {
    const give = "update idempotency_keys set user_id = $2 where user_id = $1"
    expect(await send(ada.id, give, ada.id, other.id)).toBe(violation)
    const insert = `insert into idempotency_keys (user_id, key, request_hash, status, headers, body)
      values ($1, 'theirs', '', 200, '{}', '')`
    expect(await send(ada.id, insert, other.id)).toBe(violation)
    await server.sqlFor(other.id, insert, [other.id])
  })

  it("keeps tasks from a request without a user, and everything from a statement that does not say for whom it is", async () => {
    expect(await send(undefined, "select 1 from tasks where user_id = $1", ada.id)).toBe(violation)
    expect(await server.sqlFor(undefined, "select 1 as one from users where id = $1", [ada.id])).toEqual([{ one: 1 }])
    for (const nobody of ["nobody", "somebody with a name that is too long to be an id"]) {
      expect(await send(nobody, "select 1 from users where id = $1", ada.id)).toBe(violation)
    }
  })
})
