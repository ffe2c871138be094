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
