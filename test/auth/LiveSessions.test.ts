import { PGlite } from "@electric-sql/pglite"
import { Clock, Effect, Layer } from "effect"
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

/** Milliseconds: the time of the day, which an operator or NTP may set, and the time that passes. */
let time = { day: 0, passed: 0 }

const clock = Layer.effect(
  Clock.Clock,
  Effect.map(Clock.Clock, (real): Clock.Clock => ({
    currentTimeMillisUnsafe: () => time.day,
    currentTimeMillis: Effect.sync(() => time.day),
    currentTimeNanosUnsafe: () => BigInt(time.day) * 1_000_000n,
    currentTimeNanos: Effect.sync(() => BigInt(time.day) * 1_000_000n),
    monotonicTimeNanosUnsafe: () => BigInt(time.passed) * 1_000_000n,
    monotonicTimeNanos: Effect.sync(() => BigInt(time.passed) * 1_000_000n),
    sleep: (duration) => real.sleep(duration)
  }))
)

const test = (program: Effect.Effect<void, never, LiveSessions | WakeUps>) =>
  Effect.runPromise(Effect.scoped(Effect.gen(function* () {
    const db = yield* Effect.acquireRelease(
      Effect.promise(() => PGlite.create()),
      (db) => Effect.promise(() => db.close())
    )
    const settings = Layer.effect(Settings, read({ JWT_SECRET: "a test secret with more than 32 bytes in it" }))
    const layer = LiveSessions.layer.pipe(
      Layer.provide(clock),
      Layer.provideMerge(WakeUps.layer),
      Layer.provide([Database.embedded(db), settings])
    )
    yield* Effect.provide(program, layer)
  })))

/** Whether the session is trusted at each of these times. */
const trustedAt = (live: LiveSessions["Service"], ...times: ReadonlyArray<number>) =>
  times.map((passed) => {
    time = { day: passed, passed }
    return live.userOf(session) === user
  })

it("does not remember a session that was asked for before it ended and answered after it", () =>
  test(Effect.gen(function* () {
    const [live, wakeUps] = [yield* LiveSessions, yield* WakeUps]
    const remember = live.remember(session)
    yield* wakeUps.endSession(user)
    remember(user, 60_000)
    expect(live.userOf(session)).toBeUndefined()
  })))

it("forgets the sessions of a user one of whose sessions ends, and no others", () =>
  test(Effect.gen(function* () {
    const [live, wakeUps] = [yield* LiveSessions, yield* WakeUps]
    time = { day: 0, passed: 0 }
    live.remember(session)(user, 60_000)
    yield* wakeUps.wake(user)
    yield* wakeUps.endSession(other)
    expect(trustedAt(live, 999)).toEqual([true])
    yield* wakeUps.endSession(user)
    expect(live.userOf(session)).toBeUndefined()
  })))

it("trusts for a second, and never beyond the session's own end", () =>
  test(Effect.gen(function* () {
    const live = yield* LiveSessions
    for (const [remaining, end] of [[60_000, 6_000], [300, 5_300]] as const) {
      time = { day: 5_000, passed: 5_000 }
      live.remember(session)(user, remaining)
      expect(trustedAt(live, end - 1, end)).toEqual([true, false])
    }
  })))

it("counts the second from when the session was asked for, not from when the answer came", () =>
  test(Effect.gen(function* () {
    const live = yield* LiveSessions
    time = { day: 5_000, passed: 5_000 }
    const remember = live.remember(session)
    time = { day: 5_900, passed: 5_900 }
    remember(user, 60_000)
    expect(trustedAt(live, 5_999, 6_000)).toEqual([true, false])
  })))

it("F15 trusts for a second where the clock is set back by an hour", () =>
  test(Effect.gen(function* () {
    const live = yield* LiveSessions
    time = { day: 3_600_000, passed: 5_000 }
    live.remember(session)(user, 60_000)
    time = { day: 0, passed: 5_999 }
    expect(live.userOf(session)).toBe(user)
    time = { day: 1, passed: 6_000 }
    expect(live.userOf(session)).toBeUndefined()
  })))
