/** What can be done with tasks, whichever path a request came by. */
import { createHash } from "node:crypto"
import { Context, Effect, Layer, Schema } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { defaultLimit } from "../api/Pagination.ts"
import { IdReused, IfMatchRequired, InvalidCursor, NotFound, StaleVersion, TokenInvalid } from "../api/Problems.ts"
import type { ListQuery } from "../api/TaskListQuery.ts"
import { entityTags } from "../domain/EntityTags.ts"
import { defaults, type Task, type TaskCreate, TaskId, type TaskUpdate } from "../domain/Task.ts"
import { defaultOrder } from "../domain/TaskQuery.ts"
import type { UserId } from "../domain/User.ts"
import { wordsOf } from "../domain/Words.ts"
import { Cursors } from "../http/Cursors.ts"
import { Settings } from "../Settings.ts"
import { type ExpectedVersions, type Filter, TasksRepo } from "./TasksRepo.ts"

const listPosition = Schema.fromJsonString(Schema.Array(Schema.NullOr(Schema.String)))

/** What a conditional write can fail with. */
export type WriteProblem = NotFound | StaleVersion | IfMatchRequired

export class Tasks extends Context.Service<Tasks, {
  /**
   * Where the same creation with the client's own id was done before, nothing is made and the answer is that task as
   * it is now.
   */
  readonly create: (
    userId: UserId,
    task: TaskCreate
  ) => Effect.Effect<{ readonly task: Task; readonly created: boolean }, IdReused | TokenInvalid>
  readonly get: (userId: UserId, id: TaskId) => Effect.Effect<Task, NotFound>
  /** One page, the cursor of the next while there is one, and how many tasks all pages have, if that was asked. */
  readonly list: (userId: UserId, query: ListQuery) => Effect.Effect<{
    readonly tasks: ReadonlyArray<Task>
    readonly next: string | undefined
    readonly total: number | undefined
  }, InvalidCursor>
  readonly update: (
    userId: UserId,
    id: TaskId,
    members: TaskUpdate,
    ifMatch: string | undefined
  ) => Effect.Effect<Task, WriteProblem>
  readonly remove: (userId: UserId, id: TaskId, ifMatch: string | undefined) => Effect.Effect<Task, WriteProblem>
  /** Restoring a task that is not deleted changes nothing. */
  readonly restore: (userId: UserId, id: TaskId, ifMatch: string | undefined) => Effect.Effect<Task, WriteProblem>
}>()("tasks-api/tasks/Tasks") {
  static readonly layer = Layer.effect(
    Tasks,
    Effect.gen(function* () {
      const repo = yield* TasksRepo
      const cursors = yield* Cursors
      const { requireIfMatch } = yield* Settings

      /**
       * A write of what `find` finds, at one of the expected versions. One that has no effect tells by a second look
       * whether the task is not there or at another version; 404 comes before what is wrong with the precondition.
       */
      const conditional = Effect.fnUntraced(function* (
        ifMatch: string | undefined,
        find: Effect.Effect<Task | undefined>,
        write: (expected: ExpectedVersions) => Effect.Effect<Task | undefined>
      ): Effect.fn.Return<Task, WriteProblem> {
        if (ifMatch === undefined && requireIfMatch) {
          return yield* (yield* find) === undefined ? new NotFound() : new IfMatchRequired()
        }
        const tags = ifMatch === undefined ? { any: true, versions: [] } : entityTags(ifMatch, "differs")
        const written = yield* write(tags.any ? undefined : tags.versions)
        if (written !== undefined) return written
        const current = tags.any ? undefined : yield* find
        return yield* current === undefined ? new NotFound() : new StaleVersion({ current })
      })

      return Tasks.of({
        create: Effect.fn("Tasks.create")(function* (userId, task) {
          const creationHash = task.id === undefined ? undefined : hashOf(task)
          const id = task.id ?? TaskId.make(SecureRandom.uuidV7Unsafe(), { disableChecks: true })
          const created = yield* repo.insert(userId, { ...task, id, creationHash })
          if (created !== undefined) return { task: created, created: true }
          const found = yield* repo.findCreated(userId, id, creationHash)
          // without that task there is no user either: deleted since the token was checked
          if (found === undefined) return yield* new TokenInvalid()
          return found.isSame ? { task: found.task, created: false } : yield* new IdReused()
        }),
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
            words: query.q === undefined ? undefined : wordsOf(query.q)
          }
          // a cursor is for the same tasks in the same order
          const list = JSON.stringify([filter, order])
          const after = cursor === undefined ? undefined : yield* cursors.read(listPosition, userId, list, cursor)
          // one more than asked tells whether another page follows
          const [rows, total] = yield* Effect.all([
            repo.list(userId, filter, { order, after, limit: limit + 1 }),
            count === undefined ? Effect.undefined : repo.count(userId, filter)
          ], { concurrency: 2 })
          const page = rows.slice(0, limit)
          return {
            tasks: page.map(({ task }) => task),
            total,
            next: rows.length > limit ? cursors.make(userId, list, page[limit - 1]!.position) : undefined
          }
        }),
        update: Effect.fn("Tasks.update")((userId, id, members, ifMatch) =>
          conditional(ifMatch, repo.get(userId, id), (expected) => repo.update(userId, id, members, expected))
        ),
        remove: Effect.fn("Tasks.remove")((userId, id, ifMatch) =>
          conditional(ifMatch, repo.get(userId, id), (expected) => repo.remove(userId, id, expected))
        ),
        restore: Effect.fn("Tasks.restore")((userId, id, ifMatch) => {
          const find = repo.getRestorable(userId, id)
          return conditional(
            ifMatch,
            find,
            (expected) =>
              Effect.flatMap(
                repo.restore(userId, id, expected),
                (restored) =>
                  restored !== undefined ? Effect.succeed(restored) : Effect.map(
                    find,
                    (task) => task?.deleted_at === null && (expected?.includes(task.version) ?? true) ? task : undefined
                  )
              )
          )
        })
      })
    })
  )
}

/** Tells one creation from another: the same whatever the order of the members and whether defaults were spelled out. */
const hashOf = ({ description, priority, tags, title }: TaskCreate): Uint8Array =>
  createHash("sha256").update(JSON.stringify([
    title,
    description ?? defaults.description,
    priority ?? defaults.priority,
    tags ?? defaults.tags
  ])).digest()
