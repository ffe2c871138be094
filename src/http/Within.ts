/** Work that is given up after a while. */
import { Effect } from "effect"

/**
 * Runs work for at most this many milliseconds, then does something else. Nobody waits until what was given up has
 * ended: a statement on a connection whose network is lost needs seconds to find that out. When the time is over, the
 * work has as many more as `more` says.
 */
export const within = <A, E, R, B, E2, R2>(
  milliseconds: number,
  work: Effect.Effect<A, E, R>,
  otherwise: Effect.Effect<B, E2, R2>,
  more: () => number = () => 0
): Effect.Effect<A | B, E | E2, R | R2> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Effect.forkDetach(restore(work), { startImmediately: true }),
      (fiber) =>
        restore(Effect.callback<A | B, E | E2, R | R2>((resume) => {
          const end = () => {
            const longer = more()
            if (longer > 0) return void (timer = later(longer))
            // first: a fiber may end while it is interrupted
            resume(otherwise)
            fiber.interruptUnsafe()
          }
          // a fiber that sleeps would cost each request more than a timer
          const later = (milliseconds: number) => setTimeout(end, milliseconds)
          let timer = later(milliseconds)
          fiber.addObserver((exit) => {
            clearTimeout(timer)
            resume(exit)
          })
          return Effect.sync(() => {
            clearTimeout(timer)
            fiber.interruptUnsafe()
          })
        }))
    )
  )
