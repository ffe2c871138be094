/** The end of a process that answers what it has begun. */
import { Context, Duration, Effect, Layer } from "effect"

export class Draining extends Context.Service<Draining, {
  /** The process is about to end: it is not ready, and asks clients to connect elsewhere. */
  started: boolean
}>()("tasks-api/http/Draining") {
  static readonly layer = Layer.sync(Draining, () => Draining.of({ started: false }))
}

/**
 * Provided with the server, its finalizer runs before the server stops to accept: load balancers see `/health/ready`
 * fail and clients see `Connection: close` for `wait`, and no request meets a closed door.
 */
export const drainFirst = (wait: Duration.Input) =>
  Layer.effectDiscard(Effect.gen(function* () {
    const draining = yield* Draining
    yield* Effect.addFinalizer(() => {
      draining.started = true
      return Effect.andThen(Effect.logInfo("draining"), Effect.sleep(wait))
    })
  }))
