/** Who the users of other issuers are here, and which of their tokens were ended. */
import { Context, Data, Effect, Layer } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { SqlClient } from "effect/sql"
import { WakeUps } from "../changes/WakeUps.ts"
import { Reads } from "../database/Reads.ts"
import { transaction } from "../database/Transaction.ts"
import type { ExternalToken } from "../domain/Identity.ts"
import { UserId } from "../domain/User.ts"
import { hashUuid, identityHash } from "./IdentityHashes.ts"
import { leeway } from "./Issuers.ts"

/** The user was deleted, and tokens from before that are still good elsewhere. */
class Forgotten extends Data.TaggedError("Forgotten") {}

export class IdentitiesRepo extends Context.Service<IdentitiesRepo, {
  /** The user whom a token means, and whether the token was ended; undefined where the user was never seen. */
  readonly look: (
    token: ExternalToken
  ) => Effect.Effect<{ readonly userId: UserId; readonly isRevoked: boolean } | undefined>
  /**
   * The user whom a token means, made now unless there is one: however many requests are the first, there is one user.
   * Undefined where that user was deleted, and this token may be from before.
   */
  readonly findOrMake: (
    token: ExternalToken
  ) => Effect.Effect<{ readonly userId: UserId; readonly isNew: boolean } | undefined>
  /** Ends a token for the time that is left of it; false where it had ended. */
  readonly revoke: (userId: UserId, token: ExternalToken) => Effect.Effect<boolean>
}>()("tasks-api/auth/IdentitiesRepo") {
  static readonly layer = Layer.effect(
    IdentitiesRepo,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const reads = yield* Reads
      const wakeUps = yield* WakeUps

      /** The rows that say that the user of the token was deleted, after the token was issued or at the same time. */
      const deletions = (token: ExternalToken) => {
        const hash = identityHash(token)
        return sql`
        select 1 from revoked_tokens
        where user_id = ${hashUuid(hash)} and token_hash = ${hash} and expires_at > now()
          and (issued_until is null or to_timestamp(${token.issuedAt ?? null}::float8)
            <= issued_until + ${`${leeway} seconds`}::interval) is not false`
      }

      const toUserId = (id: string) => UserId.make(id, { disableChecks: true })

      return IdentitiesRepo.of({
        look: (token) =>
          reads<{ readonly user_id: string; readonly is_revoked: boolean }>`
          select user_id, exists (
            select 1 from revoked_tokens r where r.user_id = i.user_id and r.token_hash = ${token.hash}
            union all ${deletions(token)}) as is_revoked
          from identities i where issuer = ${token.issuer} and subject = ${token.subject}`.pipe(
            Effect.map(([row]) => row && { userId: toUserId(row.user_id), isRevoked: row.is_revoked }),
            Effect.orDie
          ),
        findOrMake: (token) =>
          transaction(sql)(Effect.gen(function* () {
            const { issuer, subject } = token
            const made = yield* sql<{ readonly user_id: string }>`
            with new_identity as (
              insert into identities (issuer, subject, user_id)
              values (${issuer}, ${subject}, ${SecureRandom.uuidV7Unsafe()})
              on conflict do nothing returning user_id
            ), new_user as (
              insert into users (id) select user_id from new_identity returning id
            ), new_sequence as (
              insert into user_sequences (user_id) select id from new_user
            )
            select user_id from new_identity`
            const [found] = made.length > 0 ? made : yield* sql<{ readonly user_id: string }>`
            select user_id from identities where issuer = ${issuer} and subject = ${subject}`
            // a statement of its own: the insert may have waited for a deletion, which it could not see
            const forgotten = yield* deletions(token)
            if (found === undefined || forgotten.length > 0) return yield* new Forgotten()
            return { userId: toUserId(found.user_id), isNew: made.length > 0 }
          })).pipe(Effect.catch(() => Effect.undefined)),
        revoke: (userId, { expiresAt, hash }) =>
          sql`
          insert into revoked_tokens (user_id, token_hash, expires_at)
          values (${userId}, ${hash}, to_timestamp(${expiresAt}::float8))
          on conflict do nothing returning 1`.pipe(
            Effect.map((rows) => rows.length > 0),
            Effect.tap((ended) => ended ? sql.afterCommit(wakeUps.endSession(userId)) : Effect.void),
            Effect.orDie
          )
      })
    })
  )
}
