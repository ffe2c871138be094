/** What a client reads to keep a copy of a user's tasks in step. */
import { Cause, Clock, Context, Effect, type Latch, Layer, Schema, type Scope, Stream } from "effect"
import type { CurrentUser } from "../api/Authorization.ts"
import type { ChangesPage } from "../api/ChangesApi.ts"
import { CursorExpired, type InvalidCursor, Overloaded, TokenInvalid } from "../api/Problems.ts"
import { Sessions } from "../auth/Sessions.ts"
import { classify } from "../database/Failures.ts"
import { ChangedTask } from "../domain/Task.ts"
import type { UserId } from "../domain/User.ts"
import { Cursors } from "../http/Cursors.ts"
import { Draining } from "../http/Draining.ts"
import { ChangesRepo, type Feed, type FeedPosition } from "./ChangesRepo.ts"
import { WakeUps } from "./WakeUps.ts"

const defaultLimit = 100

/** Changes that a stream reads at once: all that it holds for a client that reads slowly. */
const streamLimit = 100

/** Streams of one user that a process has at once: each change is read for every one of them. */
const streamsOfUser = 50

/** Milliseconds between comments on a silent stream: shorter than proxies keep a silent connection. */
const heartbeat = 15_000

/** Milliseconds that a client may leave what was sent untaken. */
const patience = 60_000

/** Milliseconds in which a client that reads takes what was sent, and so looks at its session itself. */
const promptness = 400

const feedPosition = Schema.fromJsonString(Schema.Tuple([Schema.Int, Schema.Int]))
const encodeTask = Schema.encodeSync(Schema.fromJsonString(ChangedTask))

/**
 * This reader has to begin again: tombstones are gone of tasks that it may have, deleted after where it is, or it comes
 * from a future that a restored backup knows nothing of.
 */
const isLost = (feed: Feed, { floor, version }: FeedPosition) =>
  feed.purgedVersion > Math.max(floor, version) || version > feed.lastVersion

export class Changes extends Context.Service<Changes, {
  /**
   * The changes after a cursor, or every live task without one. Fails with `cursor_expired` where the client has to
   * begin again, because deletions that it would need to know of are no longer kept.
   */
  readonly page: (
    userId: UserId,
    query: { readonly since?: string; readonly limit?: number }
  ) => Effect.Effect<ChangesPage, InvalidCursor | CursorExpired | TokenInvalid>
  /**
   * The text of an event stream (WHATWG HTML 9.2) that goes on after a cursor, else from now. It ends when the session
   * ends and when the server drains; a client that reads slowly makes it wait, and loses nothing. `abandoned` ends when
   * a client that takes nothing any more has to be cut off. Fails with `overloaded` where the user has 50 streams already;
   * the scope is that of the stream.
   */
  readonly stream: (
    user: CurrentUser["Service"],
    lastEventId: string | undefined
  ) => Effect.Effect<
    { readonly text: Stream.Stream<string>; readonly abandoned: Effect.Effect<void> },
    InvalidCursor | Overloaded | TokenInvalid,
    Scope.Scope
  >
}>()("tasks-api/changes/Changes") {
  static readonly layer = Layer.effect(
    Changes,
    Effect.gen(function* () {
      const repo = yield* ChangesRepo
      const cursors = yield* Cursors
      const draining = yield* Draining
      const sessions = yield* Sessions
      const wakeUps = yield* WakeUps
      const streams = new Map<UserId, number>()

      const admission = (userId: UserId) =>
        Effect.acquireRelease(
          Effect.suspend(() => {
            const count = streams.get(userId) ?? 0
            if (count >= streamsOfUser) return Effect.fail(new Overloaded())
            streams.set(userId, count + 1)
            return Effect.void
          }),
          () =>
            Effect.sync(() => {
              const count = streams.get(userId)! - 1
              if (count === 0) streams.delete(userId)
              else streams.set(userId, count)
            })
        )

      const cursor = (userId: UserId, { floor, version }: FeedPosition) =>
        cursors.make(userId, "changes", [version, floor])

      const positionOf = (userId: UserId, cursor: string | undefined) =>
        cursor === undefined ? Effect.undefined : Effect.map(
          cursors.read(feedPosition, userId, "changes", cursor),
          ([version, floor]): FeedPosition => ({ version, floor })
        )

      const read = (userId: UserId, after: FeedPosition | undefined, limit: number) =>
        Effect.flatMap(
          repo.read(userId, after, limit),
          // deleted since the token was checked
          (feed) => feed === undefined ? Effect.fail(new TokenInvalid()) : Effect.succeed(feed)
        )

      const event = (name: string, id: string, data: string) => `event: ${name}\nid: ${id}\ndata: ${data}\n\n`

      /** The next part of a stream and where it stands then; undefined at its end. */
      const next = Effect.fnUntraced(
        function* (user: CurrentUser["Service"], after: FeedPosition, wakeUp: Latch.Latch) {
          const begin = yield* Clock.currentTimeMillis
          while (true) {
            if (draining.started.isOpen()) return undefined
            // closed before the feed is read: a change that comes after that opens it again
            wakeUp.closeUnsafe()
            const remaining = yield* sessions.remaining(user)
            const feed = remaining > 0 ? yield* repo.read(user.id, after, streamLimit) : undefined
            if (feed === undefined) return undefined
            if (isLost(feed, after)) {
              const now = { version: feed.lastVersion, floor: feed.lastVersion }
              return [event("resync", cursor(user.id, now), "{}"), now] as const
            }
            const last = feed.tasks.at(-1)
            if (last !== undefined) {
              const text = feed.tasks.map((task) =>
                event("change", cursor(user.id, { ...after, version: task.version }), encodeTask(task))
              )
              return [text.join(""), { ...after, version: last.version }] as const
            }
            const silence = (yield* Clock.currentTimeMillis) - begin
            if (silence >= heartbeat) return [": still here\n\n", after] as const
            yield* wakes(wakeUp, Math.min(heartbeat - silence, remaining))
          }
        }
      )

      /** Waits for a wake-up, for the end of the server, or for so many milliseconds. */
      const wakes = (wakeUp: Latch.Latch, milliseconds: number) =>
        Effect.timeoutOption(Effect.raceFirst(wakeUp.await, draining.started.await), milliseconds)

      /** Ends when a client that does not take what was sent has had its time, or its session has ended. */
      const abandoned = Effect.fnUntraced(function* (user: CurrentUser["Service"], sent: { at: number | undefined }) {
        const wakeUp = yield* wakeUps.subscribe(user.id)
        while (true) {
          yield* wakes(wakeUp, heartbeat)
          wakeUp.closeUnsafe()
          // who does read finds out by itself
          yield* Effect.sleep(promptness)
          if (sent.at === undefined) continue
          const waited = (yield* Clock.currentTimeMillis) - sent.at
          if (waited > patience || draining.started.isOpen()) return
          // what was sent before the wake-up is still there
          if (waited >= promptness && (yield* patiently(sessions.remaining(user), heartbeat)) <= 0) return
        }
      })

      /** A database that is away for a while is no reason to end a stream: its clients would all come back at once. */
      const patiently = <A, E>(self: Effect.Effect<A, E>, meanwhile: A) =>
        Effect.catchCause(
          self,
          (cause) =>
            classify(Cause.squash(cause)) === undefined
              ? Effect.failCause(cause)
              : Effect.andThen(Effect.sleep("1 second"), Effect.succeed(meanwhile))
        )

      return Changes.of({
        page: Effect.fn("Changes.page")(function* (userId, query) {
          const limit = query.limit ?? defaultLimit
          const after = yield* positionOf(userId, query.since)
          // one more than asked tells whether there is more
          const feed = yield* read(userId, after, limit + 1)
          if (after !== undefined && isLost(feed, after)) return yield* new CursorExpired()
          const changes = feed.tasks.slice(0, limit)
          const has_more = feed.tasks.length > limit
          const version = has_more ? changes.at(-1)!.version : feed.lastVersion
          return { changes, cursor: cursor(userId, { version, floor: after?.floor ?? feed.lastVersion }), has_more }
        }),
        stream: Effect.fn("Changes.stream")(function* (user, lastEventId) {
          const given = yield* positionOf(user.id, lastEventId)
          yield* admission(user.id)
          const { lastVersion } = yield* read(user.id, given, 0)
          const begin = given ?? { version: lastVersion, floor: lastVersion }
          // since when the client has something to take
          const sent: { at: number | undefined } = { at: undefined }
          const follow = (wakeUp: Latch.Latch) => (after: FeedPosition) =>
            Effect.gen(function* () {
              sent.at = undefined
              const part = yield* patiently(next(user, after, wakeUp), [": waiting\n\n", after] as const)
              sent.at = yield* Clock.currentTimeMillis
              return part
            })
          return {
            text: Stream.unwrap(Effect.map(wakeUps.subscribe(user.id), (wakeUp) =>
              Stream.concat(
                // an id without data: who loses the connection before the first change resumes from here
                Stream.succeed(`id: ${cursor(user.id, begin)}\n\n`),
                Stream.unfold(begin, follow(wakeUp))
              ))),
            abandoned: Effect.scoped(abandoned(user, sent))
          }
        })
      })
    })
  )
}
