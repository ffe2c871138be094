/** Logins: made, refreshed, checked and ended. */
import { randomBytes } from "node:crypto"
import { Clock, Context, Effect, Layer } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { CurrentUser } from "../api/Authorization.ts"
import type { Tokens } from "../api/AuthApi.ts"
import {
  InvalidRefreshToken,
  NotFound,
  RefreshTokenReused,
  SessionExpired,
  SessionRevoked,
  TokenExpired,
  TokenInvalid
} from "../api/Problems.ts"
import { type Session, SessionId } from "../domain/Session.ts"
import { toTheEnd } from "../database/ToTheEnd.ts"
import type { UserId } from "../domain/User.ts"
import { RequestInfo } from "../http/RequestInfo.ts"
import { securityEvent } from "../telemetry/SecurityEvents.ts"
import { AccessTokens } from "./AccessTokens.ts"
import { LiveSessions } from "./LiveSessions.ts"
import { type ParsedRefreshToken, RefreshTokens } from "./RefreshTokens.ts"
import { SessionsRepo } from "./SessionsRepo.ts"

export class Sessions extends Context.Service<Sessions, {
  /**
   * A new login, within the caller's transaction. Where it is the user's 21st live one, the oldest ends. Fails with
   * `not_found` when the user has just been deleted.
   */
  readonly start: (userId: UserId) => Effect.Effect<Tokens, NotFound>
  /** The user of an access token whose session is alive. */
  readonly authenticate: (
    accessToken: string
  ) => Effect.Effect<CurrentUser["Service"], TokenInvalid | TokenExpired | SessionRevoked | SessionExpired>
  /**
   * Exchanges a refresh token. However many callers race with one token, and however often an answer is lost within
   * the grace period, all get the same successor; every other second use ends the session.
   */
  readonly refresh: (
    refreshToken: string
  ) => Effect.Effect<Tokens, InvalidRefreshToken | RefreshTokenReused | SessionRevoked | SessionExpired>
  /** The login that a genuine refresh token belongs to, of whatever generation and state. */
  readonly ofRefreshToken: (
    refreshToken: string
  ) => Effect.Effect<{ readonly userId: UserId; readonly sessionId: SessionId }, InvalidRefreshToken>
  /** Milliseconds until the session ends by itself; 0 once it has ended. */
  readonly remaining: (user: CurrentUser["Service"]) => Effect.Effect<number>
  readonly list: (user: CurrentUser["Service"]) => Effect.Effect<ReadonlyArray<Session>>
  readonly end: (userId: UserId, id: SessionId) => Effect.Effect<void, NotFound>
  /** Ends this session, the others, or all; does nothing once this session has ended. */
  readonly logout: (userId: UserId, id: SessionId, scope: "local" | "others" | "global") => Effect.Effect<void>
}>()("tasks-api/auth/Sessions") {
  static readonly layer = Layer.effect(
    Sessions,
    Effect.gen(function* () {
      const repo = yield* SessionsRepo
      const live = yield* LiveSessions
      const accessTokens = yield* AccessTokens
      const refreshTokens = yield* RefreshTokens

      const issue = Effect.fnUntraced(function* (
        userId: UserId,
        sessionId: SessionId,
        progress: { readonly generation: number; readonly expiresIn: number },
        salt: Uint8Array
      ): Effect.fn.Return<Tokens> {
        return {
          access_token: yield* accessTokens.sign({ userId, sessionId }, progress.expiresIn),
          refresh_token: refreshTokens.make({ userId, sessionId, generation: progress.generation }, salt),
          token_type: "bearer",
          expires_in: progress.expiresIn
        }
      })

      /** The token and its row's salt, once both fit each other. A token of another form costs no query. */
      const genuine = Effect.fnUntraced(function* (
        refreshToken: string
      ): Effect.fn.Return<ParsedRefreshToken & { readonly salt: Uint8Array }, InvalidRefreshToken> {
        const token = refreshTokens.parse(refreshToken)
        if (token === undefined) return yield* new InvalidRefreshToken()
        const salt = yield* repo.salt(token.userId, token.sessionId)
        if (salt === undefined || !refreshTokens.isGenuine(token, salt)) return yield* new InvalidRefreshToken()
        return { ...token, salt }
      })

      return Sessions.of({
        start: Effect.fn("Sessions.start")(function* (userId) {
          const { address, userAgent } = yield* RequestInfo
          const id = SessionId.make(SecureRandom.uuidV7Unsafe(), { disableChecks: true })
          const salt = new Uint8Array(randomBytes(16))
          if (!(yield* repo.lock(userId))) return yield* new NotFound()
          const expiresIn = yield* repo.insert(userId, { id, salt, ip: address, userAgent })
          yield* repo.endOldest(userId)
          return yield* issue(userId, id, { generation: 0, expiresIn }, salt)
        }),
        authenticate: Effect.fnUntraced(function* (accessToken) {
          const { sessionId, userId } = yield* accessTokens.verify(accessToken)
          const user = { id: userId, subject: userId, sessionId }
          const now = yield* Clock.currentTimeMillis
          if (live.has(userId, sessionId, now)) return user
          const remember = live.remember(userId, sessionId, now)
          const session = yield* repo.look(userId, sessionId)
          switch (session?.state) {
            case "live":
              remember(session.remaining)
              return user
            case "revoked":
              return yield* new SessionRevoked()
            case "expired":
              return yield* new SessionExpired()
            case undefined:
              return yield* new TokenInvalid()
          }
        }),
        refresh: Effect.fn("Sessions.refresh")(function* (refreshToken) {
          const { generation, salt, sessionId, userId } = yield* genuine(refreshToken)
          // spent or revoked wholly, even when the client goes away meanwhile
          const outcome = yield* toTheEnd(Effect.gen(function* () {
            const advanced = yield* repo.advance(userId, sessionId, generation)
            if (advanced !== undefined) return advanced
            return (yield* repo.revokeReused(userId, sessionId, generation)) ? "reused" : undefined
          }))
          if (outcome === "reused") {
            yield* securityEvent("refresh_token_reused", userId, sessionId)
            return yield* new RefreshTokenReused()
          }
          // a racing or retried call: the session is where the winner left it
          const progress = outcome ?? (yield* repo.progress(userId, sessionId))
          if (progress?.state === "revoked") return yield* new SessionRevoked()
          if (progress?.state === "expired") return yield* new SessionExpired()
          if (progress === undefined || progress.generation <= generation) return yield* new InvalidRefreshToken()
          return yield* issue(userId, sessionId, { ...progress, generation: generation + 1 }, salt)
        }),
        ofRefreshToken: (refreshToken) =>
          Effect.map(genuine(refreshToken), ({ sessionId, userId }) => ({ sessionId, userId })),
        remaining: (user) =>
          Effect.map(
            repo.look(user.id, user.sessionId),
            (session) => session?.state === "live" ? session.remaining : 0
          ),
        list: (user) => repo.list(user.id, user.sessionId),
        end: Effect.fn("Sessions.end")(function* (userId, id) {
          if (!(yield* repo.revoke(userId, id, "revoked_by_user"))) return yield* new NotFound()
          yield* securityEvent("session_ended", userId, id)
        }),
        logout: Effect.fn("Sessions.logout")(function* (userId, id, scope) {
          // a session that has ended, perhaps because its tokens were stolen, ends no other one
          if ((yield* repo.look(userId, id))?.state !== "live") return
          if (scope === "others") yield* repo.revokeAll(userId, "logout", { except: id })
          if (scope === "global") yield* repo.revokeAll(userId, "logout")
          if (scope === "local") yield* repo.revoke(userId, id, "logout")
          yield* securityEvent("logged_out", userId, id)
        })
      })
    })
  )
}
