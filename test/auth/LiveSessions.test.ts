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
    const remember = live.remember(user, session, 0)
    yield* wakeUps.endSession(user)
    remember(60_000)
    expect(live.has(user, session, 1)).toBe(false)
  })))

it("forgets the sessions of a user one of whose sessions ends, and no others", () =>
  test(Effect.gen(function* () {
    const [live, wakeUps] = [yield* LiveSessions, yield* WakeUps]
    live.remember(user, session, 0)(60_000)
    yield* wakeUps.wake(user)
    yield* wakeUps.endSession(other)
    expect(live.has(user, session, 999)).toBe(true)
    expect(live.has(other, session, 999)).toBe(false)
    yield* wakeUps.endSession(user)
    expect(live.has(user, session, 999)).toBe(false)
  })))

it("trusts for a second, and never beyond the session's own end", () =>
  test(Effect.gen(function* () {
    const live = yield* LiveSessions
    live.remember(user, session, 5_000)(60_000)
    expect([live.has(user, session, 5_999), live.has(user, session, 6_000)]).toEqual([true, false])
    live.remember(user, session, 5_000)(300)
    expect([live.has(user, session, 5_299), live.has(user, session, 5_300)]).toEqual([true, false])
  })))
