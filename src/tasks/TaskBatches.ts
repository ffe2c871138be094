/** What is done with many tasks in one request. */
import { Context, Effect, Layer, Result } from "effect"
import { SqlClient } from "effect/sql"
import {
  type Batch,
  BatchFailed,
  type BulkCompleted,
  type BulkDeleted,
  type Operation,
  type OperationProblem,
  type OperationResult
} from "../api/TaskBulk.ts"
import { type TokenInvalid, ValidationFailed } from "../api/Problems.ts"
import { transaction } from "../database/Transaction.ts"
import { fromPatch, type Task, type TaskCreate, type TaskId } from "../domain/Task.ts"
import type { UserId } from "../domain/User.ts"
import { groupsOf } from "./BatchGroups.ts"
import { completionOf } from "./DatedChanges.ts"
import { DatedWrites } from "./DatedWrites.ts"
import { TasksRepo } from "./TasksRepo.ts"
import { type ConditionalChange, type Precondition, TaskWrites } from "./TaskWrites.ts"

/** What is wrong with one operation, as its request would be told it, with pointers into the batch. */
const withinBatch = (problem: OperationProblem, index: number): OperationProblem =>
  problem instanceof ValidationFailed
    ? new ValidationFailed({
      errors: problem.errors.map((fault) => ({ ...fault, pointer: `/operations/${index}/task${fault.pointer}` }))
    })
    : problem

const as = (status: number) => Result.map((task: Task) => ({ status, task }))

export class TaskBatches extends Context.Service<TaskBatches, {
  /** What `/complete` does with each, all of it or nothing. */
  readonly complete: (userId: UserId, ids: ReadonlyArray<TaskId>, completed: boolean) => Effect.Effect<BulkCompleted>
  readonly remove: (userId: UserId, ids: ReadonlyArray<TaskId>) => Effect.Effect<BulkDeleted>
  /** Does the operations in their order, in one transaction; `deleted` is the status of a deletion. */
  readonly run: (
    userId: UserId,
    batch: Batch,
    deleted: 200 | 204
  ) => Effect.Effect<ReadonlyArray<OperationResult>, BatchFailed | TokenInvalid>
}>()("tasks-api/tasks/TaskBatches") {
  static readonly layer = Layer.effect(
    TaskBatches,
    Effect.gen(function* () {
      const repo = yield* TasksRepo
      const dated = yield* DatedWrites
      const writes = yield* TaskWrites
      const inTransaction = transaction(yield* SqlClient.SqlClient)

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
        if (creates.length > 0) {
          const created = yield* writes.create(userId, creates)
          return created.map(Result.map(({ created, task }) => ({ status: created ? 201 : 200, task })))
        }
        return changes.length > 0
          ? (yield* writes.update(userId, changes)).map(as(200))
          : (yield* writes.remove(userId, deletions)).map(as(deleted))
      })

      return TaskBatches.of({
        complete: Effect.fn("TaskBatches.complete")((userId, ids, completed) =>
          inTransaction(Effect.gen(function* () {
            const each = [...new Set(ids)]
            const plain = yield* repo.complete(userId, each, completed)
            const left = each.filter((id) => !plain.has(id))
            const found = left.length === 0 ? plain : yield* repo.find(userId, left, "live")
            const toCompute = [...found.values()].filter((task) =>
              !plain.has(task.id) && (task.recurrence !== null || task.completed !== completed)
            )
            const computed = toCompute.length === 0 ? [] : yield* dated.update(
              userId,
              toCompute.map(({ id }) => ({ id, expected: undefined, members: {}, completion: { completed } }))
            )
            const updated = new Set(plain.keys())
            for (const [id, outcome] of computed) {
              if (Result.isSuccess(outcome) && outcome.success.isWritten) updated.add(id)
            }
            return {
              updated: updated.size,
              results: each.map((id) => ({
                id,
                status: updated.has(id) ? "updated" : found.has(id) ? "unchanged" : "not_found"
              }))
            }
          }))
        ),
        remove: Effect.fn("TaskBatches.remove")(function* (userId, ids) {
          const each = [...new Set(ids)]
          const deleted = yield* repo.remove(userId, each.map((id) => ({ id, expected: undefined })))
          return {
            deleted: deleted.size,
            results: each.map((id) => ({ id, status: deleted.has(id) ? "deleted" : "not_found" }))
          }
        }),
        run: Effect.fn("TaskBatches.run")((userId, { mode, operations }, deleted) =>
          inTransaction(Effect.gen(function* () {
            const outcomes: Array<Outcome> = []
            for (const group of groupsOf(operations)) outcomes.push(...yield* runGroup(userId, group, deleted))
            for (const outcome of outcomes) {
              // the user was deleted meanwhile: that is of the request, not of one operation
              if (Result.isFailure(outcome) && outcome.failure._tag === "token_invalid") return yield* outcome.failure
            }
            const isUndone = mode === "atomic" && outcomes.some(Result.isFailure)
            const results = outcomes.map((outcome, i): OperationResult => {
              if (Result.isFailure(outcome)) {
                return { status: outcome.failure.status, problem: withinBatch(outcome.failure, i) }
              }
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
