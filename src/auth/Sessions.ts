/** Logins: made, refreshed, checked and ended. */
import { randomBytes } from "node:crypto"
import { Context, Effect, Layer } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import type { CurrentUser } from "../api/Authorization.ts"
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
import type { LimitReached } from "../api/RateLimits.ts"
import { type Session, SessionId } from "../domain/Session.ts"
import { toTheEnd } from "../database/ToTheEnd.ts"
import type { UserId } from "../domain/User.ts"
import { RequestInfo } from "../http/RequestInfo.ts"
import { Limits } from "../limits/Limits.ts"
import { securityEvent } from "../telemetry/SecurityEvents.ts"
import { AccessTokens } from "./AccessTokens.ts"
import { ExternalSessions } from "./ExternalSessions.ts"
import { LiveSessions } from "./LiveSessions.ts"
import { type ParsedRefreshToken, RefreshTokens } from "./RefreshTokens.ts"
import { SessionsRepo } from "./SessionsRepo.ts"

const logoutEvents = { local: "logged_out", others: "logged_out_others", global: "logged_out_everywhere" } as const

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
  ) => Effect.Effect<Tokens, InvalidRefreshToken | RefreshTokenReused | SessionRevoked | SessionExpired | LimitReached>
  /** The login that a genuine refresh token belongs to, of whatever generation and state. */
  readonly ofRefreshToken: (
    refreshToken: string
  ) => Effect.Effect<CurrentUser["Service"], InvalidRefreshToken>
  /** The login that an access token belongs to, also once that has ended. */
  readonly ofAccessToken: (
    accessToken: string
  ) => Effect.Effect<CurrentUser["Service"], TokenInvalid | TokenExpired>
  /** Milliseconds until the session ends by itself; 0 once it has ended. */
  readonly remaining: (user: CurrentUser["Service"]) => Effect.Effect<number>
  /** The live sessions. Of those at another issuer only the one is known that this request belongs to. */
  readonly list: (user: CurrentUser["Service"]) => Effect.Effect<ReadonlyArray<Session>>
  readonly end: (user: CurrentUser["Service"], id: SessionId) => Effect.Effect<void, NotFound>
  /**
   * Ends this session, the others, or all; does nothing once this session has ended. A token of another issuer is
   * refused from then on; other tokens of that user are for the issuer to end.
   */
  readonly logout: (user: CurrentUser["Service"], scope: "local" | "others" | "global") => Effect.Effect<void>
}>()("tasks-api/auth/Sessions") {
  static readonly layer = Layer.effect(
    Sessions,
    Effect.gen(function* () {
      const repo = yield* SessionsRepo
      const external = yield* ExternalSessions
      const live = yield* LiveSessions
      const accessTokens = yield* AccessTokens
      const refreshTokens = yield* RefreshTokens
      const limits = yield* Limits

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

      const localUser = (userId: UserId, sessionId: SessionId): CurrentUser["Service"] => ({
        id: userId,
        subject: userId,
        sessionId,
        external: undefined
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
          const token = yield* accessTokens.verify(accessToken)
          if ("issuer" in token) return yield* external.authenticate(token)
          const { sessionId, userId } = token
          const user = localUser(userId, sessionId)
          if (live.userOf(sessionId) === userId) return user
          const remember = live.remember(sessionId)
          const session = yield* repo.look(userId, sessionId)
          switch (session?.state) {
            case "live":
              remember(userId, session.remaining)
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
          // only by a genuine token: nobody else can use up a session's limit
          yield* limits.charge("refresh", { session: sessionId, user: userId })
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
          Effect.map(genuine(refreshToken), ({ sessionId, userId }) => localUser(userId, sessionId)),
        ofAccessToken: (accessToken) =>
          Effect.flatMap(
            accessTokens.verify(accessToken),
            (token) =>
              "issuer" in token ? external.userOf(token) : Effect.succeed(localUser(token.userId, token.sessionId))
          ),
        remaining: (user) =>
          user.external !== undefined ? external.remaining(user.id, user.external) : Effect.map(
            repo.look(user.id, user.sessionId),
            (session) => session?.state === "live" ? session.remaining : 0
          ),
        list: (user) => user.external === undefined ? repo.list(user.id, user.sessionId) : external.list(user.external),
        end: Effect.fn("Sessions.end")(function* (user, id) {
          const isEnded = user.external === undefined
            ? yield* repo.revoke(user.id, id, "revoked_by_user")
            : id === user.sessionId && (yield* external.end(user.id, user.external))
          if (!isEnded) return yield* new NotFound()
          yield* securityEvent("session_ended", user.id, id)
        }),
        logout: Effect.fn("Sessions.logout")(function* (user, scope) {
          const { id: userId, sessionId: id } = user
          if (user.external !== undefined) {
            if (scope === "others" || !(yield* external.end(userId, user.external))) return
            return yield* securityEvent("logged_out", userId, id)
          }
          // a session that has ended, perhaps because its tokens were stolen, ends no other one
          if ((yield* repo.look(userId, id))?.state !== "live") return
          if (scope === "others") yield* repo.revokeAll(userId, "logout", { except: id })
          if (scope === "global") yield* repo.revokeAll(userId, "logout")
          if (scope === "local") yield* repo.revoke(userId, id, "logout")
          yield* securityEvent(logoutEvents[scope], userId, id)
        })
      })
    })
  )
}
