/** The end of a process that answers what it has begun. */
import { Context, Duration, Effect, Latch, Layer } from "effect"
import { Settings } from "../Settings.ts"

export class Draining extends Context.Service<Draining, {
  /** Open once the process is about to end: it is not ready, asks clients to connect elsewhere, and ends its streams. */
  readonly started: Latch.Latch
}>()("tasks-api/http/Draining") {
  static readonly layer = Layer.sync(Draining, () => Draining.of({ started: Latch.makeUnsafe() }))
}

/**
 * Provided with the server, its finalizer runs before the server stops to accept: for a while load balancers see
 * `/health/ready` fail and clients see `Connection: close`, so that no request meets a closed door. Who develops has no
 * load balancer and waits for the end.
 */
export const drainFirst = Layer.effectDiscard(Effect.gen(function* () {
  const draining = yield* Draining
  const { production } = yield* Settings
  const wait = Duration.seconds(production ? 5 : 1)
  yield* Effect.addFinalizer(() =>
    Effect.andThen(draining.started.open, Effect.logInfo("draining")).pipe(Effect.andThen(Effect.sleep(wait)))
  )
}))
