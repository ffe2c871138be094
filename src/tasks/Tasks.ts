/** What can be done with tasks, whichever path a request came by. */
import { Context, Effect, Layer, Result, Schema } from "effect"
import { defaultLimit } from "../api/Pagination.ts"
import { type InvalidCursor, NotFound, TokenInvalid } from "../api/Problems.ts"
import type { ListQuery } from "../api/TaskListQuery.ts"
import type { SentCompletion, Task, TaskChange, TaskCreate, TaskId } from "../domain/Task.ts"
import { defaultOrder } from "../domain/TaskQuery.ts"
import type { UserId } from "../domain/User.ts"
import { wordsOf } from "../domain/Words.ts"
import { Cursors } from "../http/Cursors.ts"
import { completionOf, type DatesProblem } from "./DatedChanges.ts"
import { DatesRepo } from "./DatesRepo.ts"
import type { Filter } from "./TaskList.ts"
import { TasksRepo } from "./TasksRepo.ts"
import { type CreateProblem, type Creation, TaskWrites, type WriteProblem } from "./TaskWrites.ts"

const listPosition = Schema.fromJsonString(Schema.Array(Schema.NullOr(Schema.String)))

export class Tasks extends Context.Service<Tasks, {
  /**
   * Where the same creation with the client's own id was done before, nothing is made and the answer is that task as
   * it is now.
   */
  readonly create: (
    userId: UserId,
    task: TaskCreate
  ) => Effect.Effect<Creation, CreateProblem>
  readonly get: (userId: UserId, id: TaskId) => Effect.Effect<Task, NotFound>
  /** One page, the cursor of the next while there is one, and how many tasks all pages have, if that was asked. */
  readonly list: (userId: UserId, query: ListQuery) => Effect.Effect<{
    readonly tasks: ReadonlyArray<Task>
    readonly next: string | undefined
    readonly total: number | undefined
  }, InvalidCursor | TokenInvalid>
  readonly update: (
    userId: UserId,
    id: TaskId,
    members: TaskChange,
    ifMatch: string | undefined
  ) => Effect.Effect<Task, WriteProblem | DatesProblem>
  /** Of a task that recurs, one occurrence; see semantics of `occurrence` in docs/dates.md. */
  readonly complete: (
    userId: UserId,
    id: TaskId,
    completion: SentCompletion,
    ifMatch: string | undefined
  ) => Effect.Effect<Task, WriteProblem | DatesProblem>
  readonly remove: (userId: UserId, id: TaskId, ifMatch: string | undefined) => Effect.Effect<Task, WriteProblem>
  /** Restoring a task that is not deleted changes nothing. */
  readonly restore: (userId: UserId, id: TaskId, ifMatch: string | undefined) => Effect.Effect<Task, WriteProblem>
}>()("tasks-api/tasks/Tasks") {
  static readonly layer = Layer.effect(
    Tasks,
    Effect.gen(function* () {
      const repo = yield* TasksRepo
      const dates = yield* DatesRepo
      const writes = yield* TaskWrites
      const cursors = yield* Cursors

      /** The outcome of one write that is alone. */
      const only = <A, E>(outcomes: Effect.Effect<ReadonlyArray<Result.Result<A, E>>>): Effect.Effect<A, E> =>
        Effect.flatMap(outcomes, ([outcome]) => Effect.fromResult(outcome!))

      return Tasks.of({
        create: Effect.fn("Tasks.create")((userId, task) => only(writes.create(userId, [task]))),
        get: Effect.fn("Tasks.get")(function* (userId, id) {
          return (yield* repo.get(userId, id)) ?? (yield* new NotFound())
        }),
        list: Effect.fn("Tasks.list")(function* (userId, query) {
          const { count, cursor, limit = defaultLimit, sort: order = defaultOrder } = query
          const filter: Filter = {
            deleted: query.deleted === "true",
            completed: query.completed,
            priorities: query.priority,
            tags: query.tag ?? [],
            updatedSince: query.updated_since,
            due: query.due_from === undefined && query.due_to === undefined
              ? undefined
              : { from: query.due_from, to: query.due_to },
            overdue: query.overdue,
            words: query.q === undefined ? undefined : wordsOf(query.q)
          }
          const zone = filter.due === undefined
            ? "UTC"
            : ((yield* dates.moment(userId)) ?? (yield* new TokenInvalid())).userZone
          // a cursor is for the same tasks in the same order
          const list = JSON.stringify([filter, order])
          const after = cursor === undefined ? undefined : yield* cursors.read(listPosition, userId, list, cursor)
          // one more than asked tells whether another page follows
          const [rows, total] = yield* Effect.all([
            repo.list(userId, filter, { order, after, limit: limit + 1, zone }),
            count === undefined ? Effect.undefined : repo.count(userId, filter, zone)
          ], { concurrency: 2 })
          const page = rows.slice(0, limit)
          return {
            tasks: page.map(({ task }) => task),
            total,
            next: rows.length > limit ? cursors.make(userId, list, page[limit - 1]!.position) : undefined
          }
        }),
        update: Effect.fn("Tasks.update")((userId, id, members, ifMatch) =>
          only(writes.update(userId, [{ id, members, ifMatch }]))
        ),
        complete: Effect.fn("Tasks.complete")((userId, id, completion, ifMatch) =>
          only(writes.update(userId, [{ id, members: {}, completion: completionOf(completion), ifMatch }]))
        ),
        remove: Effect.fn("Tasks.remove")((userId, id, ifMatch) => only(writes.remove(userId, [{ id, ifMatch }]))),
        restore: Effect.fn("Tasks.restore")((userId, id, ifMatch) => only(writes.restore(userId, [{ id, ifMatch }])))
      })
    })
  )
}
