/** What can be done with tasks, whichever path a request came by. */
import { createHash } from "node:crypto"
import { Context, Effect, Layer, Result, Schema } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { SqlClient } from "effect/sql"
import { defaultLimit } from "../api/Pagination.ts"
import {
  IdReused,
  IfMatchRequired,
  InvalidCursor,
  NotFound,
  StaleVersion,
  TokenInvalid,
  type ValidationFailed
} from "../api/Problems.ts"
import type { ListQuery } from "../api/TaskListQuery.ts"
import {
  type Batch,
  BatchFailed,
  type BulkCompleted,
  type BulkDeleted,
  type Operation,
  type OperationProblem,
  type OperationResult
} from "../api/TaskBulk.ts"
import { transaction } from "../database/Transaction.ts"
import { entityTags } from "../domain/EntityTags.ts"
import {
  defaults,
  fromPatch,
  type SentCompletion,
  type Task,
  type TaskChange,
  type TaskCreate,
  TaskId
} from "../domain/Task.ts"
import { defaultOrder } from "../domain/TaskQuery.ts"
import type { UserId } from "../domain/User.ts"
import { wordsOf } from "../domain/Words.ts"
import { Cursors } from "../http/Cursors.ts"
import { Settings } from "../Settings.ts"
import { groupsOf } from "./BatchGroups.ts"
import { type Completion, type DatesProblem, needsDates } from "./DatedChanges.ts"
import { type Change, DatedWrites } from "./DatedWrites.ts"
import { DatesRepo } from "./DatesRepo.ts"
import type { Filter } from "./TaskList.ts"
import { type NewTask, type Target, type TasksById, TasksRepo } from "./TasksRepo.ts"

const listPosition = Schema.fromJsonString(Schema.Array(Schema.NullOr(Schema.String)))

/** What a conditional write can fail with. */
export type WriteProblem = NotFound | StaleVersion | IfMatchRequired

/** What a creation can fail with. */
export type CreateProblem = IdReused | TokenInvalid | ValidationFailed

/** A task that was created, now or by the same request before. */
export interface Creation {
  readonly task: Task
  readonly created: boolean
}

/** A write of one task, and the If-Match that it came with. */
interface Precondition {
  readonly id: TaskId
  readonly ifMatch: string | undefined
}

/** A change of one task, and the If-Match that it came with. */
type ConditionalChange = Precondition & Omit<Change, "expected">

/** What became of those that were there. */
type Written<E = never> = ReadonlyMap<TaskId, Result.Result<Task, E>>

const noTasks: TasksById = new Map()
const noFaults: ReadonlyMap<TaskId, ValidationFailed> = new Map()

const allWritten = (tasks: TasksById): Written => new Map([...tasks].map(([id, task]) => [id, Result.succeed(task)]))

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
  readonly completeMany: (
    userId: UserId,
    ids: ReadonlyArray<TaskId>,
    completed: boolean
  ) => Effect.Effect<BulkCompleted>
  readonly removeMany: (userId: UserId, ids: ReadonlyArray<TaskId>) => Effect.Effect<BulkDeleted>
  /** Does the operations in their order, in one transaction; `deleted` is the status of a deletion. */
  readonly batch: (
    userId: UserId,
    batch: Batch,
    deleted: 200 | 204
  ) => Effect.Effect<ReadonlyArray<OperationResult>, BatchFailed>
}>()("tasks-api/tasks/Tasks") {
  static readonly layer = Layer.effect(
    Tasks,
    Effect.gen(function* () {
      const repo = yield* TasksRepo
      const dates = yield* DatesRepo
      const dated = yield* DatedWrites
      const cursors = yield* Cursors
      const { requireIfMatch } = yield* Settings
      const inTransaction = transaction(yield* SqlClient.SqlClient)

      /**
       * Writes, each at one of its expected versions. Of those that have no effect a second look tells whether the task
       * is not there or at another version; 404 comes before what is wrong with the precondition.
       */
      const conditional = Effect.fnUntraced(function* <A extends Precondition, E>(
        changes: ReadonlyArray<A>,
        find: (ids: ReadonlyArray<TaskId>) => Effect.Effect<TasksById>,
        write: (targets: ReadonlyArray<A & Target>) => Effect.Effect<Written<E>>
      ): Effect.fn.Return<ReadonlyArray<Result.Result<Task, WriteProblem | E>>> {
        const targets = changes.map((change) => {
          const tags = change.ifMatch === undefined ? undefined : entityTags(change.ifMatch, "differs")
          const isRefused = tags === undefined && requireIfMatch
          return { ...change, isRefused, expected: tags === undefined || tags.any ? undefined : tags.versions }
        })
        const allowed = targets.filter(({ isRefused }) => !isRefused)
        const written: Written<E> = allowed.length === 0 ? new Map() : yield* write(allowed)
        const unclear = targets.filter(({ expected, id, isRefused }) =>
          !written.has(id) && (isRefused || expected !== undefined)
        )
        const found = unclear.length === 0 ? noTasks : yield* find(unclear.map(({ id }) => id))
        return targets.map(({ id, isRefused }) => {
          const outcome = written.get(id)
          if (outcome !== undefined) return outcome
          const current = found.get(id)
          if (current === undefined) return Result.fail(new NotFound())
          return Result.fail(isRefused ? new IfMatchRequired() : new StaleVersion({ current }))
        })
      })

      const creations = Effect.fnUntraced(function* (
        userId: UserId,
        creates: ReadonlyArray<TaskCreate>
      ): Effect.fn.Return<ReadonlyArray<Result.Result<Creation, CreateProblem>>> {
        const tasks = creates.map((task): NewTask => ({
          ...task,
          id: task.id ?? TaskId.make(SecureRandom.uuidV7Unsafe(), { disableChecks: true }),
          creationHash: task.id === undefined ? undefined : hashOf(task)
        }))
        const { faults, inserted } = tasks.some(hasDates)
          ? yield* dated.insert(userId, tasks)
          : { faults: noFaults, inserted: yield* repo.insert(userId, tasks) }
        const left = tasks.filter(({ id }) => !inserted.has(id) && !faults.has(id))
        const found = left.length === 0 ? undefined : yield* repo.findCreated(userId, left)
        return tasks.map(({ id }) => {
          const task = inserted.get(id)
          if (task !== undefined) return Result.succeed({ task, created: true })
          const fault = faults.get(id)
          if (fault !== undefined) return Result.fail(fault)
          const existing = found?.get(id)
          // without that task there is no user either: deleted since the token was checked
          if (existing === undefined) return Result.fail(new TokenInvalid())
          return existing.isSame ? Result.succeed({ task: existing.task, created: false }) : Result.fail(new IdReused())
        })
      })

      /**
       * One statement for all that needs no look at what is stored. It leaves out tasks that recur where they are to be
       * completed or opened again.
       */
      const updates = (userId: UserId, changes: ReadonlyArray<ConditionalChange>) =>
        conditional(
          changes,
          (ids) => repo.find(userId, ids, "live"),
          Effect.fnUntraced(function* (targets): Effect.fn.Return<Written<DatesProblem>> {
            const plain = targets.filter(({ completion, members }) => !needsDates(members, completion))
            const written = plain.length === 0 ? noTasks : yield* repo.update(
              userId,
              plain.map(({ completion, expected, id, members }) => ({
                id,
                expected,
                members: completion === undefined ? members : { ...members, completed: completion.completed }
              }))
            )
            const left = targets.filter(({ completion, id, members }) =>
              !written.has(id) && (needsDates(members, completion) || completion !== undefined ||
                members.completed !== undefined)
            )
            if (left.length === 0) return allWritten(written)
            const changed = yield* dated.update(userId, left)
            return new Map([
              ...allWritten(written),
              ...[...changed].map(([id, outcome]) => [id, Result.map(outcome, ({ task }) => task)] as const)
            ])
          })
        )

      const removals = (userId: UserId, changes: ReadonlyArray<Precondition>) =>
        conditional(
          changes,
          (ids) => repo.find(userId, ids, "live"),
          (targets) => Effect.map(repo.remove(userId, targets), allWritten)
        )

      const restorations = (userId: UserId, changes: ReadonlyArray<Precondition>) => {
        const find = (ids: ReadonlyArray<TaskId>) => repo.find(userId, ids, "restorable")
        return conditional(
          changes,
          find,
          Effect.fnUntraced(function* (targets) {
            const plain = yield* repo.restore(userId, targets)
            if (plain.size === targets.length) return allWritten(plain)
            const restored = new Map([
              ...plain,
              ...yield* dated.restore(userId, targets.filter(({ id }) => !plain.has(id)))
            ])
            const left = targets.filter(({ id }) => !restored.has(id))
            if (left.length === 0) return allWritten(restored)
            const found = yield* find(left.map(({ id }) => id))
            // what is not deleted is as it was asked to be
            const live = left.flatMap(({ expected, id }) => {
              const task = found.get(id)
              const isAsAsked = task?.deleted_at === null && (expected?.includes(task.version) ?? true)
              return task !== undefined && isAsAsked ? [[id, task] as const] : []
            })
            return allWritten(new Map([...restored, ...live]))
          })
        )
      }

      /** The outcome of one write that is alone. */
      const only = <A, E>(outcomes: Effect.Effect<ReadonlyArray<Result.Result<A, E>>>): Effect.Effect<A, E> =>
        Effect.flatMap(outcomes, ([outcome]) => Effect.fromResult(outcome!))

      /** What one operation of a batch has done: the status of the request that does it alone, and the task. */
      type Outcome = Result.Result<{ readonly status: number; readonly task: Task }, OperationProblem>

      /** Operations of one kind, none of them on the same task as another. */
      const runGroup = Effect.fnUntraced(function* (
        userId: UserId,
        operations: ReadonlyArray<Operation>,
        deleted: 200 | 204
      ): Effect.fn.Return<ReadonlyArray<Outcome>> {
        const creates: Array<TaskCreate> = []
        const changes: Array<ConditionalChange> = []
        const deletions: Array<Precondition> = []
        for (const operation of operations) {
          if (operation.op === "create") {
            creates.push(operation.task)
            continue
          }
          const { id, if_match } = operation
          const target = { id, ifMatch: if_match === undefined ? undefined : `"${if_match}"` }
          if (operation.op === "delete") deletions.push(target)
          else {
            changes.push(
              operation.op === "update"
                ? { ...target, members: fromPatch(operation.task) }
                : { ...target, members: {}, completion: completionOf(operation) }
            )
          }
        }
        const as = (status: number) => Result.map((task: Task) => ({ status, task }))
        if (creates.length > 0) {
          const created = yield* creations(userId, creates)
          return created.map(Result.map(({ created, task }) => ({ status: created ? 201 : 200, task })))
        }
        return changes.length > 0
          ? (yield* updates(userId, changes)).map(as(200))
          : (yield* removals(userId, deletions)).map(as(deleted))
      })

      return Tasks.of({
        create: Effect.fn("Tasks.create")((userId, task) => only(creations(userId, [task]))),
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
          only(updates(userId, [{ id, members, ifMatch }]))
        ),
        complete: Effect.fn("Tasks.complete")((userId, id, completion, ifMatch) =>
          only(updates(userId, [{ id, members: {}, completion: completionOf(completion), ifMatch }]))
        ),
        remove: Effect.fn("Tasks.remove")((userId, id, ifMatch) => only(removals(userId, [{ id, ifMatch }]))),
        restore: Effect.fn("Tasks.restore")((userId, id, ifMatch) => only(restorations(userId, [{ id, ifMatch }]))),
        completeMany: Effect.fn("Tasks.completeMany")(function* (userId, ids, completed) {
          const each = [...new Set(ids)]
          const completion = { completed }
          const plain = yield* repo.complete(userId, each, completed)
          const left = each.filter((id) => !plain.has(id))
          const unchanged = left.length === 0 ? noTasks : yield* repo.find(userId, left, "live")
          const updated = new Set(plain.keys())
          const changed = left.length === 0 ? [] : yield* dated.update(
            userId,
            [...unchanged.values()].filter((task) => task.recurrence !== null || task.completed !== completed).map((
              { id }
            ) => ({ id, expected: undefined, members: {}, completion }))
          )
          for (const [id, outcome] of changed) {
            if (Result.isSuccess(outcome) && outcome.success.isWritten) updated.add(id)
          }
          return {
            updated: updated.size,
            results: each.map((id) => ({
              id,
              status: updated.has(id) ? "updated" : unchanged.has(id) ? "unchanged" : "not_found"
            }))
          }
        }),
        removeMany: Effect.fn("Tasks.removeMany")(function* (userId, ids) {
          const each = [...new Set(ids)]
          const deleted = yield* repo.remove(userId, each.map((id) => ({ id, expected: undefined })))
          return {
            deleted: deleted.size,
            results: each.map((id) => ({ id, status: deleted.has(id) ? "deleted" : "not_found" }))
          }
        }),
        batch: Effect.fn("Tasks.batch")((userId, { mode, operations }, deleted) =>
          inTransaction(Effect.gen(function* () {
            const outcomes: Array<Outcome> = []
            for (const group of groupsOf(operations)) outcomes.push(...yield* runGroup(userId, group, deleted))
            const isUndone = mode === "atomic" && outcomes.some(Result.isFailure)
            const results = outcomes.map((outcome, i): OperationResult => {
              if (Result.isFailure(outcome)) return { status: outcome.failure.status, problem: outcome.failure }
              const { status, task } = outcome.success
              if (isUndone) return { status: 424 }
              return operations[i]!.op === "delete" ? { status } : { status, task }
            })
            return isUndone ? yield* new BatchFailed({ results }) : results
          }))
        )
      })
    })
  )
}

const completionOf = ({ completed = true, occurrence }: SentCompletion): Completion => ({
  completed,
  ...(occurrence !== undefined && { occurrence })
})

/** The user's time zone is needed to know what they mean. */
const hasDates = ({ due, recurrence, reminders }: TaskCreate) =>
  (due ?? recurrence ?? null) !== null || (reminders !== undefined && reminders.length > 0)

/** Tells one creation from another: the same whatever the order of the members and whether defaults were spelled out. */
const hashOf = (task: TaskCreate): Uint8Array => {
  const { description, due, priority, recurrence, reminders, tags, title } = task
  return createHash("sha256").update(JSON.stringify([
    title,
    description ?? defaults.description,
    priority ?? defaults.priority,
    tags ?? defaults.tags,
    // creations of before there were dates have the same hash as ever
    ...(hasDates(task) ? [due ?? defaults.due, recurrence ?? defaults.recurrence, reminders ?? defaults.reminders] : [])
  ])).digest()
}
