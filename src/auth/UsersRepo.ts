/** The rows of accounts. */
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { EmailTaken, UsernameTaken } from "../api/Problems.ts"
import { lockWrites } from "../changes/WriteLock.ts"
import { WakeUps } from "../changes/WakeUps.ts"
import { orConflict } from "../database/Failures.ts"
import { transaction } from "../database/Transaction.ts"
import type { ExternalToken } from "../domain/Identity.ts"
import { type User, UserId, type UserPatch } from "../domain/User.ts"
import { hashUuid, identityHash } from "./IdentityHashes.ts"
import type { PasswordHash } from "./Passwords.ts"

interface UserRow {
  readonly id: string
  readonly email: string | null
  readonly username: string | null
  readonly name: string | null
  readonly time_zone: string
  readonly created_at: Date
  readonly updated_at: Date
}

const toUser = (row: UserRow): User => ({
  id: UserId.make(row.id, { disableChecks: true }),
  email: row.email,
  username: row.username,
  name: row.name,
  time_zone: row.time_zone,
  created_at: row.created_at.toISOString(),
  updated_at: row.updated_at.toISOString()
})

/**
 * The form in which e-mail addresses and usernames must be unique. By way of upper case, since letters that differ in
 * lower case may have one upper case (σ and ς); which lower case that gets depends on its place in the word.
 */
const key = (text: string | null | undefined): string | null =>
  text?.normalize("NFKC").toLowerCase().toUpperCase().toLowerCase().normalize("NFKC") ?? null

/** What a user types to log in: an address, or a username. */
export type LoginName = { readonly email: string } | { readonly username: string }

/** One text for all spellings of a login name that mean the same account. */
export const loginNameKey = (name: LoginName): string =>
  "email" in name ? `email ${key(name.email)}` : `username ${key(name.username)}`

export interface NewUser {
  readonly id: UserId
  readonly email: string
  readonly username?: string | undefined
  readonly name?: string | undefined
  readonly time_zone?: string | undefined
  readonly passwordHash: PasswordHash
}

/** How long a token of another issuer may be good that was issued before its user was deleted, and was never seen here. */
const longestToken = "30 days"

/** Tasks that one statement deletes, in about 0.1 s: those of an account may be more than one has time for. */
const tasksAtOnce = 10_000

export class UsersRepo extends Context.Service<UsersRepo, {
  readonly insert: (user: NewUser) => Effect.Effect<User, EmailTaken | UsernameTaken>
  readonly get: (id: UserId) => Effect.Effect<User | undefined>
  /** The account that a login name means: an address where it has an `@`, a username otherwise. */
  readonly findByLoginName: (
    name: LoginName
  ) => Effect.Effect<{ readonly user: User; readonly passwordHash: PasswordHash | undefined } | undefined>
  readonly passwordHash: (id: UserId) => Effect.Effect<PasswordHash | undefined>
  /** Replaces a hash; false where it is no longer the one that was read. */
  readonly replacePasswordHash: (id: UserId, from: PasswordHash, to: PasswordHash) => Effect.Effect<boolean>
  readonly update: (id: UserId, patch: UserPatch) => Effect.Effect<User | undefined, UsernameTaken>
  /**
   * Deletes the account with everything that belongs to it. Of a user of another issuer, the hash of who it was stays
   * for as long as tokens from before may be good, so that none of them makes the account again; one that was issued
   * later does. False, and nothing is done, where the password's hash is no longer the one that was read.
   */
  readonly remove: (
    id: UserId,
    from: PasswordHash | undefined,
    token: ExternalToken | undefined
  ) => Effect.Effect<boolean>
}>()("tasks-api/auth/UsersRepo") {
  static readonly layer = Layer.effect(
    UsersRepo,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const wakeUps = yield* WakeUps
      const columns = sql.literal("id, email, username, name, time_zone, created_at, updated_at")
      const conflicts = orConflict<EmailTaken | UsernameTaken>({
        users_email_key: () => new EmailTaken(),
        users_username_key: () => new UsernameTaken()
      })

      return UsersRepo.of({
        insert: (user) =>
          sql<UserRow>`
          with new_user as (
            insert into users (id, email, email_key, username, username_key, name, password_hash, time_zone)
            values (${user.id}, ${user.email}, ${key(user.email)}, ${user.username ?? null}, ${key(user.username)},
              ${user.name ?? null}, ${user.passwordHash}, ${user.time_zone ?? "UTC"})
            returning ${columns}
          ), new_sequence as (
            insert into user_sequences (user_id) select id from new_user
          )
          select ${columns} from new_user`.pipe(Effect.map((rows) => toUser(rows[0]!)), conflicts),
        get: (id) =>
          sql<UserRow>`select ${columns} from users where id = ${id}`.pipe(
            Effect.map(([row]) => row && toUser(row)),
            Effect.orDie
          ),
        findByLoginName: (name) =>
          Effect.map(
            Effect.orDie(
              "email" in name
                ? sql<UserRow & { readonly password_hash: string | null }>`
                select ${columns}, password_hash from users where email_key = ${key(name.email)}`
                : sql<UserRow & { readonly password_hash: string | null }>`
                select ${columns}, password_hash from users where username_key = ${key(name.username)}`
            ),
            ([row]) => row && { user: toUser(row), passwordHash: row.password_hash ?? undefined }
          ),
        passwordHash: (id) =>
          sql<{ readonly password_hash: string | null }>`select password_hash from users where id = ${id}`.pipe(
            Effect.map(([row]) => row?.password_hash ?? undefined),
            Effect.orDie
          ),
        replacePasswordHash: (id, from, to) =>
          sql`
          update users set password_hash = ${to}, updated_at = now()
          where id = ${id} and password_hash = ${from}
          returning id`.pipe(Effect.map((rows) => rows.length > 0), Effect.orDie),
        update: (id, patch) =>
          sql<UserRow>`
          update users set
            name = case when ${"name" in patch} then ${patch.name ?? null} else name end,
            username = case when ${"username" in patch} then ${patch.username ?? null} else username end,
            username_key = case when ${"username" in patch} then ${key(patch.username)} else username_key end,
            time_zone = coalesce(${patch.time_zone ?? null}, time_zone),
            updated_at = now()
          where id = ${id}
          returning ${columns}`.pipe(
            Effect.map(([row]) => row && toUser(row)),
            orConflict({ users_username_key: () => new UsernameTaken() })
          ),
        remove: (id, from, token) =>
          transaction(sql)(Effect.gen(function* () {
            yield* lockWrites(sql, id)
            const found = yield* sql`
            select 1 from users
            where id = ${id} and (${from ?? null}::text is null or password_hash = ${from ?? null}) for update`
            // somebody else has deleted it, or changed its password
            if (found.length === 0) return from === undefined
            if (token !== undefined) {
              const hash = identityHash(token)
              yield* sql`
              insert into revoked_tokens (user_id, token_hash, expires_at, issued_until)
              values (${hashUuid(hash)}, ${hash}, greatest(to_timestamp(${token.expiresAt}::float8),
                clock_timestamp() + ${longestToken}::interval), clock_timestamp())
              on conflict (user_id, token_hash) do update
              set expires_at = greatest(revoked_tokens.expires_at, excluded.expires_at),
                issued_until = excluded.issued_until`
            }
            yield* sql`delete from revoked_tokens where user_id = ${id}`
            let deleted: number
            do {
              const tasks = yield* sql`
              delete from tasks where user_id = ${id} and id in (
                select id from tasks where user_id = ${id} limit ${tasksAtOnce})
              returning 1`
              deleted = tasks.length
            } while (deleted === tasksAtOnce)
            yield* sql`delete from users where id = ${id}`
            return true
          })).pipe(Effect.tap((isRemoved) => isRemoved ? wakeUps.endSession(id) : Effect.void))
      })
    })
  )
}
