/** What a process does by itself while it serves. */
import { Duration, Effect, Layer, Random } from "effect"
import { Purge } from "./Purge.ts"

const pause = Duration.minutes(10)

/** Again and again with a pause, first after a part of it, so that instances that started together take turns. */
const repeatedly = <A, E, R>(name: string, work: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    yield* Effect.sleep(Duration.times(pause, yield* Random.next))
    return yield* Effect.forever(Effect.andThen(
      Effect.catchCause(work, (cause) => Effect.logWarning(`worker failed: ${name}`, cause)),
      Effect.sleep(pause)
    ))
  })

export const layer = Layer.effectDiscard(Effect.gen(function* () {
  const purge = yield* Purge
  yield* Effect.forkScoped(repeatedly("purge", purge.run))
})).pipe(Layer.provideMerge(Purge.layer))
