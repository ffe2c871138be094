import { PGlite } from "@electric-sql/pglite"
import { Effect, Layer } from "effect"
import { expect, it } from "vitest"
import { LiveSessions } from "../../src/auth/LiveSessions.ts"
import { WakeUps } from "../../src/changes/WakeUps.ts"
import * as Database from "../../src/database/Database.ts"
import { SessionId } from "../../src/domain/Session.ts"
import { UserId } from "../../src/domain/User.ts"
import { read, Settings } from "../../src/Settings.ts"
import { newId } from "../tasks/families.ts"

const [user, other] = [UserId.make(newId()), UserId.make(newId())]
const session = SessionId.make(newId())

const test = (program: Effect.Effect<void, never, LiveSessions | WakeUps>) =>
  Effect.runPromise(Effect.scoped(Effect.gen(function* () {
    const db = yield* Effect.acquireRelease(
      Effect.promise(() => PGlite.create()),
      (db) => Effect.promise(() => db.close())
    )
    const settings = Layer.effect(Settings, read({ JWT_SECRET: "a test secret with more than 32 bytes in it" }))
    const layer = LiveSessions.layer.pipe(
      Layer.provideMerge(WakeUps.layer),
      Layer.provide([Database.embedded(db), settings])
    )
    yield* Effect.provide(program, layer)
  })))

it("does not remember a session that was asked for before it ended and answered after it", () =>
  test(Effect.gen(function* () {
    const [live, wakeUps] = [yield* LiveSessions, yield* WakeUps]
    const remember = live.remember(session, 0)
    yield* wakeUps.endSession(user)
    remember(user, 60_000)
    expect(live.userOf(session, 1)).toBeUndefined()
  })))

it("forgets the sessions of a user one of whose sessions ends, and no others", () =>
  test(Effect.gen(function* () {
    const [live, wakeUps] = [yield* LiveSessions, yield* WakeUps]
    live.remember(session, 0)(user, 60_000)
    yield* wakeUps.wake(user)
    yield* wakeUps.endSession(other)
    expect(live.userOf(session, 999)).toBe(user)
    yield* wakeUps.endSession(user)
    expect(live.userOf(session, 999)).toBeUndefined()
  })))

it("trusts for a second, and never beyond the session's own end", () =>
  test(Effect.gen(function* () {
    const live = yield* LiveSessions
    live.remember(session, 5_000)(user, 60_000)
    expect([live.userOf(session, 5_999), live.userOf(session, 6_000)]).toEqual([user, undefined])
    live.remember(session, 5_000)(user, 300)
    expect([live.userOf(session, 5_299), live.userOf(session, 5_300)]).toEqual([user, undefined])
  })))
