/** Turns for what keeps the event loop busy, so that other requests have theirs. */
import { Effect, Semaphore } from "effect"

/** The process has one event loop, so there is one queue for it, whoever waits. */
const queue = Semaphore.makeUnsafe(1)

/**
 * Computes what may take some hundredths of a second: the next day of a rule that seldom occurs, the words of a long text
 * in some languages. Whatever the number of requests that compute, each round of the event loop has one such computation.
 */
export const inTurn = <A>(compute: () => A): Effect.Effect<A> =>
  queue.withPermits(1)(Effect.andThen(Effect.yieldNow, Effect.sync(compute)))

/**
 * Values one after another: the words of 100 long texts take half a second in some languages. The first needs no turn,
 * nor does one that takes no time.
 */
export const inTurns = <A, B>(
  all: ReadonlyArray<A>,
  takesTime: (one: A) => boolean,
  of: (one: A) => B
): Effect.Effect<ReadonlyArray<B>> =>
  Effect.forEach(
    all,
    (one, index) => index === 0 || !takesTime(one) ? Effect.sync(() => of(one)) : inTurn(() => of(one))
  )
