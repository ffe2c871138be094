/** The logins of users of other issuers: a token stands for one, and nothing is stored of it until it is ended. */
import { Clock, Context, Effect, Layer } from "effect"
import type { CurrentUser } from "../api/Authorization.ts"
import { SessionRevoked, TokenInvalid } from "../api/Problems.ts"
import type { ExternalToken } from "../domain/Identity.ts"
import type { Session } from "../domain/Session.ts"
import type { UserId } from "../domain/User.ts"
import { RequestInfo } from "../http/RequestInfo.ts"
import { securityEvent } from "../telemetry/SecurityEvents.ts"
import { IdentitiesRepo } from "./IdentitiesRepo.ts"
import { LiveSessions } from "./LiveSessions.ts"

const instant = (milliseconds: number) => new Date(milliseconds).toISOString()

const toUser = (id: UserId, external: ExternalToken): CurrentUser["Service"] => ({
  id,
  subject: external.subject,
  sessionId: external.sessionId,
  external
})

export class ExternalSessions extends Context.Service<ExternalSessions, {
  /** The user of a verified token that was not ended. The first token of somebody makes the user. */
  readonly authenticate: (
    token: ExternalToken
  ) => Effect.Effect<CurrentUser["Service"], TokenInvalid | SessionRevoked>
  /** The user of a verified token, whether it was ended or not. */
  readonly userOf: (token: ExternalToken) => Effect.Effect<CurrentUser["Service"], TokenInvalid>
  /** Milliseconds until the token ends by itself; 0 once it was ended. */
  readonly remaining: (userId: UserId, token: ExternalToken) => Effect.Effect<number>
  /** The one login that is known here: the token that this request came with. */
  readonly list: (token: ExternalToken) => Effect.Effect<ReadonlyArray<Session>>
  /** Refuses the token from now on; false where it was ended before. */
  readonly end: (userId: UserId, token: ExternalToken) => Effect.Effect<boolean>
}>()("tasks-api/auth/ExternalSessions") {
  static readonly layer = Layer.effect(
    ExternalSessions,
    Effect.gen(function* () {
      const identities = yield* IdentitiesRepo
      const live = yield* LiveSessions

      const userOf = Effect.fnUntraced(function* (token: ExternalToken) {
        const found = yield* identities.findOrMake(token)
        if (found === undefined) return yield* new TokenInvalid()
        if (found.isNew) yield* securityEvent("registered", found.userId, token.sessionId)
        return toUser(found.userId, token)
      })

      return ExternalSessions.of({
        authenticate: Effect.fnUntraced(function* (token) {
          const now = yield* Clock.currentTimeMillis
          const userId = live.userOf(token.sessionId)
          if (userId !== undefined) return toUser(userId, token)
          const remember = live.remember(token.sessionId)
          const found = yield* identities.look(token)
          if (found === undefined) return yield* userOf(token)
          if (found.isRevoked) return yield* new SessionRevoked()
          remember(found.userId, token.expiresAt * 1_000 - now)
          return toUser(found.userId, token)
        }),
        userOf,
        remaining: Effect.fnUntraced(function* (userId, token) {
          const found = yield* identities.look(token)
          if (found?.userId !== userId || found.isRevoked) return 0
          return Math.max(0, token.expiresAt * 1_000 - (yield* Clock.currentTimeMillis))
        }),
        list: Effect.fnUntraced(function* (token) {
          const { address, userAgent } = yield* RequestInfo
          const now = yield* Clock.currentTimeMillis
          return [{
            id: token.sessionId,
            current: true,
            created_at: instant(token.issuedAt === undefined ? now : token.issuedAt * 1_000),
            last_used_at: instant(now),
            expires_at: instant(token.expiresAt * 1_000),
            user_agent: userAgent ?? null,
            ip: address ?? null
          }]
        }),
        end: identities.revoke
      })
    })
  )
}
