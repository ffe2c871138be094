import { Effect, Fiber } from "effect"

/**
 * Runs work that must not be half done when its client goes away: it then goes on by itself, for at most 10 seconds,
 * while the request that began it can still be given up. (An uninterruptible region would hold the request for as long
 * as a database that does not answer.)
 */
export const toTheEnd = <A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(
    Effect.forkDetach(Effect.catchTag(Effect.timeout(work, "10 seconds"), "TimeoutError", Effect.die)),
    Fiber.join
  ) as Effect.Effect<A, E, R>
