/** What a process does by itself while it serves. */
import { Context, Duration, Effect, Layer, Random } from "effect"
import { Reminders } from "../tasks/Reminders.ts"
import { Purge } from "./Purge.ts"

/** What failed is tried again when it may do better: the log of a database that is away has lines enough. */
const afterFailure = Duration.seconds(10)

/** How late a reminder may be, and how late what has had its time goes; tests of what goes do it themselves. */
export const Pauses = Context.Reference("tasks-api/workers/Workers/Pauses", {
  defaultValue: () => ({ reminders: Duration.seconds(1), purge: Duration.minutes(10) })
})

/** How long a run may take: no request's limit ends one whose database does not answer. */
const limit = Duration.minutes(10)

/** Again and again with a pause, first after a part of it, so that instances that started together take turns. */
const repeatedly = <A, E, R>(name: "reminders" | "purge", work: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const { [name]: pause } = yield* Pauses
    yield* Effect.sleep(Duration.times(pause, yield* Random.next))
    return yield* Effect.forever(Effect.andThen(
      // what looks whether there is something to do is no trace worth keeping
      Effect.catchCause(Effect.withTracerEnabled(Effect.timeout(work, limit), false), (cause) =>
        Effect.andThen(Effect.logWarning(`worker failed: ${name}`, cause), Effect.sleep(afterFailure))),
      Effect.sleep(pause)
    ))
  })

export const layer = Layer.effectDiscard(Effect.gen(function* () {
  const purge = yield* Purge
  const reminders = yield* Reminders
  yield* Effect.forkScoped(repeatedly("purge", purge.run))
  yield* Effect.forkScoped(repeatedly("reminders", reminders.deliver))
})).pipe(Layer.provideMerge(Purge.layer))
