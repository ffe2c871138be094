/** Many tasks in one request. */
import { Schema } from "effect"
import { closed } from "../domain/Closed.ts"
import { SentCompletion, SentTaskId, Task, TaskCreate, TaskId, TaskPatch, Version } from "../domain/Task.ts"
import {
  IdReused,
  IfMatchRequired,
  NotFound,
  OccurrenceMismatch,
  problem,
  StaleVersion,
  TokenInvalid,
  ValidationFailed
} from "./Problems.ts"

/** Tasks, or operations, that one request may name. */
const most = 100

/** The longest body of these requests, in bytes. */
export const bulkBody = 1024 * 1024

/** An id that is named twice counts once. */
const Ids = Schema.Array(SentTaskId).check(Schema.isMinLength(1), Schema.isMaxLength(most))

export const BulkCompletion = closed({ ids: Ids, completed: Schema.optionalKey(Schema.Boolean) })
  .annotate({ identifier: "BulkCompletion" })
export const BulkDeletion = closed({ ids: Ids }).annotate({ identifier: "BulkDeletion" })

/** One result for each id, in the order in which they were first named. */
const results = <const Statuses extends ReadonlyArray<string>>(statuses: Statuses) =>
  Schema.Array(Schema.Struct({ id: TaskId, status: Schema.Literals(statuses) }))

export const BulkCompleted = Schema.Struct({
  updated: Schema.Int,
  results: results(["updated", "unchanged", "not_found"])
}).annotate({ identifier: "BulkCompleted" })
export type BulkCompleted = typeof BulkCompleted.Type

export const BulkDeleted = Schema.Struct({ deleted: Schema.Int, results: results(["deleted", "not_found"]) })
  .annotate({ identifier: "BulkDeleted" })
export type BulkDeleted = typeof BulkDeleted.Type

const one = {
  id: SentTaskId,
  if_match: Schema.optionalKey(Version.annotate({ description: "the version at which the task is changed" }))
}

/** One write, as the request that does it alone: an update is a merge patch. */
export const Operation = Schema.Union([
  closed({ op: Schema.Literal("create"), task: TaskCreate }),
  closed({ op: Schema.Literal("update"), ...one, task: TaskPatch }),
  closed({ op: Schema.Literal("complete"), ...one, ...SentCompletion.fields }),
  closed({ op: Schema.Literal("delete"), ...one })
]).annotate({ identifier: "Operation", message: "must be an object whose op is create, update, complete or delete" })
export type Operation = typeof Operation.Type

export const Batch = closed({
  mode: Schema.Literals(["atomic", "partial"]).annotate({
    description: "`atomic`: all operations or none; `partial`: those that can be done"
  }),
  operations: Schema.Array(Operation).check(Schema.isMinLength(1), Schema.isMaxLength(most))
}).annotate({ identifier: "Batch" })
export type Batch = typeof Batch.Type

/** What one operation can fail with, once it has the form of one. */
export const OperationProblem = Schema.Union([
  NotFound,
  IdReused,
  StaleVersion,
  IfMatchRequired,
  TokenInvalid,
  ValidationFailed,
  OccurrenceMismatch
])
export type OperationProblem = typeof OperationProblem.Type

/** What became of one operation: the status of the request that does it alone; 424 where another one's fault undid it. */
export const OperationResult = Schema.Struct({
  status: Schema.Int,
  task: Schema.optionalKey(Task),
  problem: Schema.optionalKey(OperationProblem)
}).annotate({ identifier: "OperationResult" })
export type OperationResult = typeof OperationResult.Type

/** In the order of the operations. */
export const BatchResults = Schema.Struct({ results: Schema.Array(OperationResult) })
  .annotate({ identifier: "BatchResults" })

/** An atomic batch of which not every operation could be done. */
export class BatchFailed extends problem<BatchFailed>()("batch_failed", { results: Schema.Array(OperationResult) }) {}
