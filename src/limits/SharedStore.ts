/** Counters that all instances share in Redis; those of this process where there is no Redis, or while it is away. */
import { Cause, Deferred, Duration, Effect, Layer, Redacted, References, Schedule } from "effect"
import * as RateLimiter from "effect/persistence/RateLimiter"
import { Settings } from "../Settings.ts"
import { makeMemoryStore } from "./MemoryStore.ts"

type Store = RateLimiter.RateLimiterStore["Service"]

/** The longest that a request waits for Redis. */
const patience = Duration.millis(500)

/** From the loss of one connection to the try for the next. */
const pause = Duration.seconds(1)

/** Milliseconds that making a connection may take, and that one may be silent. */
const silence = 2_000

const prefix = "tasks-api:limits:"

const inTime = <A>(effect: Effect.Effect<A, RateLimiter.RateLimiterError>) =>
  Effect.timeoutOrElse(effect, {
    duration: patience,
    orElse: () =>
      Effect.fail(
        new RateLimiter.RateLimiterError({
          reason: new RateLimiter.RateLimitStoreError({ message: `no answer in ${Duration.format(patience)}` })
        })
      )
  })

/**
 * Every charge asks Redis and waits for at most half a second. The first one without an answer decides for all: until a
 * new connection has shown that it counts, this process counts for itself, from zero.
 */
const makeSharedStore = Effect.fnUntraced(function* (url: Redacted.Redacted, own: Store) {
  // only who uses it pays for its memory
  const NodeRedis = yield* Effect.promise(() => import("@effect/platform-node/NodeRedis"))
  const connection = NodeRedis.layer({
    url: Redacted.value(url),
    // what can't be sent at once is decided without it
    disableOfflineQueue: true,
    commandsQueueMaxLength: 10_000,
    // tells a connection that nobody uses from one that nobody answers
    pingInterval: silence / 4,
    socket: { connectTimeout: silence, socketTimeout: silence, reconnectStrategy: false }
  }).pipe(
    // it would tell of each try that fails; the first and the last are enough
    Layer.provide(Layer.succeed(References.MinimumLogLevel, "None"))
  )

  let shared: Store | undefined
  let isAlone = false
  const decided = yield* Deferred.make<void>()

  /** One connection, until it fails. */
  const share = Effect.gen(function* () {
    const { client } = yield* NodeRedis.NodeRedis
    // the client's own end waits for answers, which may never come
    yield* Effect.addFinalizer(() => Effect.sync(() => client.destroy()))
    const store = yield* RateLimiter.makeStoreRedis({ prefix })
    // one that is full, or can only be read, answers as well
    yield* inTime(store.fixedWindow({ key: "probe", tokens: 1, refillRate: Duration.millis(1), limit: undefined }))

    const failure = yield* Deferred.make<never, RateLimiter.RateLimiterError>()
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        shared = undefined
      })
    )
    shared = {
      ...store,
      fixedWindow: (options) =>
        Effect.tapError(inTime(store.fixedWindow(options)), (error) => Deferred.fail(failure, error))
    }
    isAlone = false
    yield* Effect.logInfo("limits are shared")
    yield* Deferred.succeed(decided, undefined)
    return yield* Deferred.await(failure)
  }).pipe(Effect.scoped, Effect.provide(connection))

  const lost = (cause: Cause.Cause<unknown>) =>
    Effect.suspend(() => {
      if (isAlone || Cause.hasInterruptsOnly(cause)) return Effect.void
      isAlone = true
      return Effect.logWarning("limits are kept by this process alone: Redis does not answer", cause)
    }).pipe(Effect.andThen(Deferred.succeed(decided, undefined)))

  const sharing = yield* Effect.forkDetach(
    share.pipe(Effect.tapCause(lost), Effect.sandbox, Effect.retry(Schedule.spaced(pause)))
  )
  // nobody waits for the end of a connection that does not answer
  yield* Effect.addFinalizer(() => Effect.sync(() => sharing.interruptUnsafe()))
  yield* Effect.timeoutOption(Deferred.await(decided), silence + Duration.toMillis(patience))

  return {
    ...own,
    fixedWindow: (options) =>
      Effect.suspend(() =>
        shared === undefined
          ? own.fixedWindow(options)
          : Effect.catch(shared.fixedWindow(options), () => own.fixedWindow(options))
      )
  } satisfies Store
})

export const layer = Layer.effect(
  RateLimiter.RateLimiterStore,
  Effect.gen(function* () {
    const { redisUrl } = yield* Settings
    const own = yield* makeMemoryStore(new Map())
    return RateLimiter.RateLimiterStore.of(redisUrl === undefined ? own : yield* makeSharedStore(redisUrl, own))
  })
)
