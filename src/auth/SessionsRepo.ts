/** The rows of logins. Each function is one statement, so that no transaction can take a revocation back. */
import { Context, Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { WakeUps } from "../changes/WakeUps.ts"
import { Reads } from "../database/Reads.ts"
import { type Session, SessionId } from "../domain/Session.ts"
import type { UserId } from "../domain/User.ts"
import { Settings } from "../Settings.ts"

/** Why a session was ended; database/Restored.ts, which ends all of them, has a reason of its own: `restore`. */
export type RevocationReason =
  | "logout"
  | "revoked_by_user"
  | "password_change"
  | "session_limit"
  | "refresh_reuse"

export type SessionState = "live" | "revoked" | "expired"

export interface NewSession {
  readonly id: SessionId
  readonly salt: Uint8Array
  readonly userAgent: string | undefined
  readonly ip: string | undefined
}

/** How far a session is, and how long an access token of it may live. */
export interface SessionProgress {
  readonly generation: number
  readonly state: SessionState
  /** seconds: the setting, but never beyond the session's own end */
  readonly expiresIn: number
}

/** Live sessions a user may have; the oldest ones end when a login makes one more. */
const maximumSessions = 20

export class SessionsRepo extends Context.Service<SessionsRepo, {
  /** Answers with the seconds that an access token may live. */
  readonly insert: (userId: UserId, session: NewSession) => Effect.Effect<number>
  /** Ends the oldest live sessions beyond the limit. The caller holds a lock that keeps the user's logins in order. */
  readonly endOldest: (userId: UserId) => Effect.Effect<void>
  /** Waits until no other login of the user is under way; within a transaction. False where there is no such user. */
  readonly lock: (userId: UserId) => Effect.Effect<boolean>
  /**
   * How a session is, and the milliseconds until it ends by itself; undefined where there is no such session, or no such
   * user any more.
   */
  readonly look: (
    userId: UserId,
    id: SessionId
  ) => Effect.Effect<{ readonly state: SessionState; readonly remaining: number } | undefined>
  readonly salt: (userId: UserId, id: SessionId) => Effect.Effect<Uint8Array | undefined>
  /** Spends a generation: succeeds for one caller only, and for none once the session has ended. */
  readonly advance: (userId: UserId, id: SessionId, generation: number) => Effect.Effect<SessionProgress | undefined>
  /** Ends the session if this generation was spent already, and not just now by its immediate successor. */
  readonly revokeReused: (userId: UserId, id: SessionId, generation: number) => Effect.Effect<boolean>
  readonly progress: (userId: UserId, id: SessionId) => Effect.Effect<SessionProgress | undefined>
  readonly list: (userId: UserId, current: SessionId) => Effect.Effect<ReadonlyArray<Session>>
  /** Ends a live session; false where there is none. */
  readonly revoke: (userId: UserId, id: SessionId, reason: RevocationReason) => Effect.Effect<boolean>
  /** Ends every live session but one, or every one. */
  readonly revokeAll: (
    userId: UserId,
    reason: RevocationReason,
    options?: { readonly except: SessionId }
  ) => Effect.Effect<void>
}>()("tasks-api/auth/SessionsRepo") {
  static readonly layer = Layer.effect(
    SessionsRepo,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const reads = yield* Reads
      const wakeUps = yield* WakeUps
      const settings = yield* Settings
      const idle = Duration.toSeconds(settings.refreshTokenIdleTtl)
      const absolute = Duration.toSeconds(settings.refreshTokenAbsoluteTtl)
      const grace = Duration.toSeconds(settings.refreshTokenGrace)
      const access = Duration.toSeconds(settings.accessTokenTtl)

      const isLive = sql.literal("revoked_at is null and expires_at > now()")
      const state = sql.literal(
        "case when revoked_at is not null then 'revoked' when expires_at <= now() then 'expired' else 'live' end as state"
      )
      const expiresIn = sql`
      greatest(0, least(${access}::float8, floor(extract(epoch from expires_at - now()))))::int as expires_in`

      /** Streams end with their session. */
      const endStreams = (userId: UserId) => sql.afterCommit(wakeUps.endSession(userId))

      interface ProgressRow {
        readonly generation: number
        readonly state: SessionState
        readonly expires_in: number
      }
      const toProgress = ([row]: ReadonlyArray<ProgressRow>): SessionProgress | undefined =>
        row && { generation: row.generation, state: row.state, expiresIn: row.expires_in }

      return SessionsRepo.of({
        insert: (userId, session) =>
          sql<{ readonly expires_in: number }>`
          insert into sessions (user_id, id, salt, user_agent, ip, expires_at, absolute_expires_at)
          values (${userId}, ${session.id}, ${session.salt}, ${session.userAgent ?? null}, ${session.ip ?? null},
            now() + make_interval(secs => ${Math.min(idle, absolute)}), now() + make_interval(secs => ${absolute}))
          returning ${expiresIn}`.pipe(Effect.map(([row]) => row!.expires_in), Effect.orDie),
        endOldest: (userId) =>
          sql`
          update sessions set revoked_at = now(), revoked_reason = 'session_limit'
          where user_id = ${userId} and id in (
            select id from sessions where user_id = ${userId} and ${isLive}
            order by created_at desc, id desc offset ${maximumSessions})
          returning id`.pipe(
            Effect.flatMap((ended) => ended.length > 0 ? endStreams(userId) : Effect.void),
            Effect.orDie
          ),
        lock: (userId) =>
          sql`select 1 from users where id = ${userId} for no key update`.pipe(
            Effect.map((rows) => rows.length > 0),
            Effect.orDie
          ),
        look: (userId, id) =>
          reads<{ readonly state: SessionState; readonly remaining: number }>`
          select ${state}, ceil(extract(epoch from expires_at - now()) * 1000)::float8 as remaining
          from sessions where user_id = ${userId} and id = ${id}`.pipe(
            Effect.map(([row]) => row),
            Effect.orDie
          ),
        salt: (userId, id) =>
          sql<{ readonly salt: Uint8Array }>`select salt from sessions where user_id = ${userId} and id = ${id}`.pipe(
            Effect.map(([row]) => row?.salt),
            Effect.orDie
          ),
        advance: (userId, id, generation) =>
          sql<ProgressRow>`
          update sessions set generation = generation + 1, rotated_at = now(), last_used_at = now(),
            expires_at = least(now() + make_interval(secs => ${idle}), absolute_expires_at)
          where user_id = ${userId} and id = ${id} and generation = ${generation} and ${isLive}
          returning generation, ${state}, ${expiresIn}`.pipe(Effect.map(toProgress), Effect.orDie),
        revokeReused: (userId, id, generation) =>
          sql`
          update sessions set revoked_at = now(), revoked_reason = 'refresh_reuse'
          where user_id = ${userId} and id = ${id} and revoked_at is null and generation > ${generation}
            and not (generation = ${generation}::int + 1 and rotated_at > now() - make_interval(secs => ${grace}))
          returning id`.pipe(
            Effect.map((rows) => rows.length > 0),
            Effect.tap((ended) => ended ? endStreams(userId) : Effect.void),
            Effect.orDie
          ),
        progress: (userId, id) =>
          sql<ProgressRow>`
          select generation, ${state}, ${expiresIn} from sessions where user_id = ${userId} and id = ${id}`.pipe(
            Effect.map(toProgress),
            Effect.orDie
          ),
        list: (userId, current) =>
          sql<{
            readonly id: string
            readonly created_at: Date
            readonly last_used_at: Date
            readonly expires_at: Date
            readonly user_agent: string | null
            readonly ip: string | null
          }>`
          select id, created_at, last_used_at, expires_at, user_agent, ip from sessions
          where user_id = ${userId} and ${isLive}
          order by created_at desc, id desc`.pipe(
            Effect.map((rows) =>
              rows.map((row): Session => ({
                id: SessionId.make(row.id, { disableChecks: true }),
                current: row.id === current,
                created_at: row.created_at.toISOString(),
                last_used_at: row.last_used_at.toISOString(),
                expires_at: row.expires_at.toISOString(),
                user_agent: row.user_agent,
                ip: row.ip
              }))
            ),
            Effect.orDie
          ),
        revoke: (userId, id, reason) =>
          sql`
          update sessions set revoked_at = now(), revoked_reason = ${reason}
          where user_id = ${userId} and id = ${id} and ${isLive}
          returning id`.pipe(
            Effect.map((rows) => rows.length > 0),
            Effect.tap((ended) => ended ? endStreams(userId) : Effect.void),
            Effect.orDie
          ),
        revokeAll: (userId, reason, options) =>
          sql`
          update sessions set revoked_at = now(), revoked_reason = ${reason}
          where user_id = ${userId} and ${isLive} and id is distinct from ${options?.except ?? null}`.pipe(
            Effect.andThen(endStreams(userId)),
            Effect.orDie
          )
      })
    })
  )
}
