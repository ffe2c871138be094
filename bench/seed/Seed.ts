/** Users with their tasks and tokens. Rows are made by SQL, because they are many; tokens by logins. */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { password } from "../load/Endpoints.ts"
import { BenchFailed } from "../machine/Children.ts"
import { withSql } from "../machine/Postgres.ts"
import { checkTerms, createTexts, inBulk, insertTasks, readTaskIds } from "./Tasks.ts"

export interface BenchUser {
  readonly id: string
  /** of several sessions */
  readonly tokens: ReadonlyArray<string>
  /** some tasks of the user, from all ages */
  readonly taskIds: ReadonlyArray<string>
  /** those that recur */
  readonly recurringIds: ReadonlyArray<string>
  /** of another account, for logins: they would end this user's sessions, of which there may be only so many */
  readonly loginEmail: string
  /** a cursor of the changes */
  readonly since?: string
  /** the path of a page of tasks, deep in an order */
  readonly page?: string
}

/** Users of one kind: `user-1@bench.example` … */
export interface Crowd {
  readonly prefix: string
  readonly users: number
  readonly tasks: number
  /** how many of them log in; all of them unless told */
  readonly loaded?: number
}

const sessionsPerUser = 2
const taskIdsPerUser = 100

export const emailOf = (prefix: string, index: number) => `${prefix}-${index}@bench.example`

interface Login {
  readonly access_token: string
  readonly user: { readonly id: string }
}

const post = (url: string, body: unknown) =>
  Effect.tryPromise({
    try: async (): Promise<Login> => {
      const response = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body)
      })
      if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
      return await response.json() as Login
    },
    catch: (error) => new BenchFailed({ message: `POST ${url}: ${String(error)}` })
  })

/** Registers an account, and answers with its login. */
export const register = (url: string, email: string) => post(`${url}/api/v1/auth/register`, { email, password })

/** Accounts with the one password of the benchmark, each with its sequence and as many old sessions as it logs in with. */
const insertUsers = (sql: SqlClient.SqlClient, prefix: string, users: number, passwordHash: string) =>
  Effect.andThen(
    sql`
    with new_users as (
      insert into users (id, email, email_key, password_hash)
      select (lpad(to_hex((extract(epoch from now()) * 1000)::bigint - n), 12, '0')
          || '7' || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))::uuid,
        email, email, ${passwordHash}
      from generate_series(1, ${users}::int) as n
      cross join lateral (select ${prefix}::text || '-' || n || '@bench.example' as email) as emails
      cross join lateral (select md5(email) as hash) as hashes
      returning id
    )
    insert into user_sequences (user_id) select id from new_users`,
    sql`
    insert into sessions (user_id, id, salt, expires_at, absolute_expires_at)
    select id, overlay(id::text placing to_hex(n) from 36)::uuid, decode(md5(id::text || n), 'hex'),
      now() + interval '30 days', now() + interval '90 days'
    from users cross join generate_series(1, ${sessionsPerUser}::int) as n where email like ${`${prefix}-%`}`
  )

/** Fills a migrated database with crowds through the server at `url`; answers with those who are loaded, by crowd. */
export const seed = Effect.fnUntraced(function* (url: string, databaseUrl: string, crowds: ReadonlyArray<Crowd>) {
  const hashed = yield* register(url, emailOf(`first-${crowds[0]?.prefix}`, 0))
  yield* withSql(databaseUrl, (sql) =>
    inBulk(
      sql,
      Effect.gen(function* () {
        const rows = yield* sql<{ readonly password_hash: string }>`
          select password_hash from users where id = ${hashed.user.id}`
        yield* createTexts(sql)
        for (const { loaded, prefix, tasks, users } of crowds) {
          yield* insertUsers(sql, prefix, users, rows[0]!.password_hash)
          yield* insertUsers(sql, `login-${prefix}`, loaded ?? users, rows[0]!.password_hash)
          yield* insertTasks(sql, `${prefix}-`, tasks)
        }
        yield* checkTerms(sql)
      })
    ))
  return yield* Effect.forEach(crowds, ({ loaded, prefix, users }) => logIn(url, databaseUrl, prefix, loaded ?? users))
})

const logIn = Effect.fnUntraced(function* (url: string, databaseUrl: string, prefix: string, users: number) {
  const rows = yield* withSql(databaseUrl, (sql) => readTaskIds(sql, `${prefix}-`, taskIdsPerUser))
  const indices = Array.from({ length: users }, (_, index) => index + 1)
  return yield* Effect.forEach(
    indices,
    Effect.fnUntraced(function* (index) {
      const email = emailOf(prefix, index)
      const logins = yield* Effect.replicateEffect(
        post(`${url}/api/v1/auth/login`, { email, password }),
        sessionsPerUser
      )
      return {
        ...rows.get(email)!,
        tokens: logins.map(({ access_token }) => access_token),
        loginEmail: emailOf(`login-${prefix}`, index)
      } satisfies BenchUser
    }),
    { concurrency: 2 }
  )
})
