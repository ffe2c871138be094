/**
 * Wake-ups of whoever waits for a user's changes, on every instance. A wake-up says that something may have changed,
 * never what: the tables are the truth, so one that comes twice or for nothing does no harm, and one that is lost (its
 * process was killed right after a commit) is made good by the reader's next heartbeat.
 */
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Latch, Layer, Queue, Schedule, type Scope } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { SqlClient } from "effect/sql"
import { directLayer } from "../database/Database.ts"
import type { UserId } from "../domain/User.ts"
import { Settings } from "../Settings.ts"

const channel = "tasks_changes"

/** Milliseconds in which wake-ups are gathered: NOTIFY takes a lock at commit, so it is no part of each write. */
const gathering = 20

/** How long telling the other instances may take: a network may lose it without a word. */
const patience = "5 seconds"

/** Goes before the id of a user one of whose sessions has ended. */
const sessionEnd = "!"

/** A payload has less than 8,000 bytes: this many ids of 37 characters, with commas and the sender, fit. */
const usersPerPayload = 200

/** With more users than this to tell of, everybody is woken. */
const maximumPending = 10_000

export class WakeUps extends Context.Service<WakeUps, {
  /** Wakes the user's readers here at once, elsewhere soon. Neither fails nor waits; call it after the commit. */
  readonly wake: (userId: UserId) => Effect.Effect<void>
  /** The same where one of the user's sessions has ended, or all of them with the user. */
  readonly endSession: (userId: UserId) => Effect.Effect<void>
  /** Calls back at the end of a session of this user, or of anybody's where it is not known whose. */
  readonly onSessionEnd: (listener: (userId: string | undefined) => void) => void
  /** A latch that opens at every wake-up of the user, until the scope ends. Close it, then read, then wait for it. */
  readonly subscribe: (userId: UserId) => Effect.Effect<Latch.Latch, never, Scope.Scope>
}>()("tasks-api/changes/WakeUps") {
  static readonly layer = Layer.effect(
    WakeUps,
    Effect.gen(function* () {
      const settings = yield* Settings
      const readers = new Map<string, Set<Latch.Latch>>()

      const listeners: Array<(userId: string | undefined) => void> = []

      const wakeHere = (name: string) => {
        const isEnd = name.startsWith(sessionEnd)
        const userId = isEnd ? name.slice(sessionEnd.length) : name
        if (isEnd) listeners.forEach((listener) => listener(userId))
        readers.get(userId)?.forEach((latch) => latch.openUnsafe())
      }
      const wakeEverybodyHere = () => {
        listeners.forEach((listener) => listener(undefined))
        readers.forEach((latches) => latches.forEach((latch) => latch.openUnsafe()))
      }

      const notifyOthers = settings.databaseDirectUrl === undefined
        ? () => {}
        : yield* among(yield* Layer.build(directLayer(settings, settings.databaseDirectUrl)), {
          wakeHere,
          wakeEverybodyHere
        })

      const tell = (name: string) =>
        Effect.sync(() => {
          wakeHere(name)
          notifyOthers(name)
        })

      return WakeUps.of({
        wake: tell,
        endSession: (userId) => tell(sessionEnd + userId),
        onSessionEnd: (listener) => void listeners.push(listener),
        subscribe: (userId) =>
          Effect.acquireRelease(
            Effect.sync(() => {
              const latch = Latch.makeUnsafe()
              const latches = readers.get(userId) ?? new Set()
              readers.set(userId, latches.add(latch))
              return latch
            }),
            (latch) =>
              Effect.sync(() => {
                const latches = readers.get(userId)
                if (latches?.delete(latch) && latches.size === 0) readers.delete(userId)
              })
          )
      })
    })
  )
}

/** Listens to the other instances for as long as the scope lives, and returns what tells them of a user. */
const among = Effect.fnUntraced(function* (direct: Context.Context<PgClient.PgClient>, here: {
  readonly wakeHere: (userId: string) => void
  readonly wakeEverybodyHere: () => void
}) {
  const sql = yield* SqlClient.SqlClient
  const self = SecureRandom.uuidV7Unsafe()

  const receive = (payload: string) => {
    const [sender, users = ""] = payload.split(" ", 2)
    if (sender === self) return
    if (users === "*") here.wakeEverybodyHere()
    else users.split(",").forEach(here.wakeHere)
  }

  yield* Effect.scoped(Effect.gen(function* () {
    const notifications = yield* Context.get(direct, PgClient.PgClient).listen(channel)
    // what was told while nobody listened is unknown
    here.wakeEverybodyHere()
    while (true) receive((yield* Queue.take(notifications)).payload)
  })).pipe(
    Effect.tapCause((cause) => Effect.logWarning("changes of other instances are not heard of", cause)),
    Effect.retry(Schedule.spaced("500 millis")),
    Effect.forkScoped
  )

  const pending = new Set<string>()
  const isPending = Latch.makeUnsafe()
  const publish = Effect.gen(function* () {
    yield* isPending.await
    yield* Effect.sleep(gathering)
    isPending.closeUnsafe()
    const users = [...pending]
    pending.clear()
    const payloads = users.length > maximumPending ? [`${self} *`] : Array.from(
      { length: Math.ceil(users.length / usersPerPayload) },
      (_, i) => `${self} ${users.slice(i * usersPerPayload, (i + 1) * usersPerPayload).join(",")}`
    )
    yield* sql`select pg_notify(${channel}, payload) from unnest(${payloads}::text[]) as payload`.pipe(
      Effect.timeout(patience),
      // while the database is away, the users stay pending
      Effect.catch(() => Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => users.forEach(tell))))
    )
  })
  const tell = (userId: string) => {
    if (pending.size <= maximumPending) pending.add(userId)
    isPending.openUnsafe()
  }
  yield* Effect.forkScoped(Effect.forever(publish))
  return tell
})
