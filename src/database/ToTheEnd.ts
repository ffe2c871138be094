import { Effect, Fiber } from "effect"

/**
 * Runs work that must not be half done when its client goes away: it then goes on by itself, for at most so many
 * seconds, while the request that began it can still be given up. (An uninterruptible region would hold the request for
 * as long as a database that does not answer.)
 */
export const toTheEnd = <A, E, R>(work: Effect.Effect<A, E, R>, seconds = 10): Effect.Effect<A, E, R> => {
  const bounded = Effect.timeoutOrElse(work, {
    duration: `${seconds} seconds`,
    orElse: () => Effect.die(new Error(`took longer than ${seconds} seconds`))
  })
  return Effect.flatMap(Effect.forkDetach(bounded), Fiber.join)
}
