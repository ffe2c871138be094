/** Sessions that were alive a moment ago, so that not every request has to ask the database. */
import { Clock, Context, Effect, Layer } from "effect"
import { WakeUps } from "../changes/WakeUps.ts"
import type { SessionId } from "../domain/Session.ts"
import type { UserId } from "../domain/User.ts"

/** Milliseconds that a session counts as alive without asking: the longest that an end elsewhere can go unnoticed. */
const trust = 1_000

/** With more sessions than this, all are asked for anew. */
const capacity = 10_000

export class LiveSessions extends Context.Service<LiveSessions, {
  /** Whose session this is, if it was alive a moment ago. */
  readonly userOf: (id: SessionId) => UserId | undefined
  /** What is to be remembered of a session that is about to be asked for, unless any session ends meanwhile. */
  readonly remember: (id: SessionId) => (userId: UserId, remaining: number) => void
}>()("tasks-api/auth/LiveSessions") {
  static readonly layer = Layer.effect(
    LiveSessions,
    Effect.gen(function* () {
      const wakeUps = yield* WakeUps
      const clock = yield* Clock.Clock
      // milliseconds of a clock that is never set back: with one that is, a session could be trusted for hours
      const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
      const until = new Map<SessionId, { readonly userId: UserId; readonly until: number }>()
      let ends = 0
      wakeUps.onSessionEnd((userId) => {
        ends++
        for (const [id, session] of until) if (userId === undefined || session.userId === userId) until.delete(id)
      })
      return LiveSessions.of({
        userOf: (id) => {
          const session = until.get(id)
          return session !== undefined && now() < session.until ? session.userId : undefined
        },
        remember: (id) => {
          const before = ends
          const asked = now()
          return (userId, remaining) => {
            if (ends !== before) return
            if (until.size >= capacity) until.clear()
            until.set(id, { userId, until: asked + Math.min(trust, remaining) })
          }
        }
      })
    })
  )
}
