/** What was completed of a task that recurs, and what is to come. */
import { Context, Effect, Layer } from "effect"
import { NotFound } from "../api/Problems.ts"
import { defaultNext, mostPast, type Occurrences } from "../api/TaskDates.ts"
import { dueAt, rfc3339 } from "../dates/LocalTimes.ts"
import { upcoming } from "../dates/TaskDates.ts"
import type { TaskId } from "../domain/Task.ts"
import type { UserId } from "../domain/User.ts"
import { DatesRepo } from "./DatesRepo.ts"
import { inTurn } from "./Turns.ts"

export class TaskOccurrences extends Context.Service<TaskOccurrences, {
  /** At most so many to come: none of a task that is completed, or does not recur. */
  readonly of: (userId: UserId, id: TaskId, next: number | undefined) => Effect.Effect<Occurrences, NotFound>
}>()("tasks-api/tasks/TaskOccurrences") {
  static readonly layer = Layer.effect(
    TaskOccurrences,
    Effect.gen(function* () {
      const dates = yield* DatesRepo
      return TaskOccurrences.of({
        of: Effect.fn("TaskOccurrences.of")(function* (userId, id, most = defaultNext) {
          const moment = yield* dates.moment(userId)
          const task = (yield* dates.find(userId, [id], "live")).get(id)
          if (moment === undefined || task === undefined) return yield* new NotFound()
          const past = yield* dates.ledger(userId, id, mostPast)
          const { now, userZone } = moment
          const next: Array<Occurrences["next"][number]> = []
          const coming = upcoming(task.dates, now, userZone)
          while (!task.completed && next.length < most) {
            const { done, value: due } = yield* inTurn(() => coming.next())
            if (done === true) break
            next.push({ ...due, due_at: rfc3339(dueAt(due, userZone)) })
          }
          return { past, next }
        })
      })
    })
  )
}
