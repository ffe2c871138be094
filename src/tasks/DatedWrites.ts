/** Writes of tasks whose dates have to be computed: from what is stored, behind the user's other writes. */
import { Context, Effect, Layer, Result } from "effect"
import { SqlClient } from "effect/sql"
import { ValidationFailed } from "../api/Problems.ts"
import { transaction } from "../database/Transaction.ts"
import { changed, delivered, noDates, type TaskDates } from "../dates/TaskDates.ts"
import { fromWhole, type Task, type TaskChange, type TaskId } from "../domain/Task.ts"
import type { UserId } from "../domain/User.ts"
import { type Completion, type DatesProblem, type LedgerEntry, outcomeOf } from "./DatedChanges.ts"
import { DatesRepo, dateValues } from "./DatesRepo.ts"
import { type NewTask, type Target, type TasksById, TasksRepo, type TaskWrite } from "./TasksRepo.ts"
import { inTurn } from "./Turns.ts"

/** A change of one task, and what `/complete` says of it. */
export interface Change extends Target {
  readonly members: TaskChange
  readonly completion?: Completion | undefined
}

/** A task after a change, which it may not have needed. */
export interface Changed {
  readonly task: Task
  readonly isWritten: boolean
}

/** Tasks that one statement of a long series writes. */
export const tasksAtOnce = 500

const noTasks: TasksById = new Map()

export class DatedWrites extends Context.Service<DatedWrites, {
  /** Those that were inserted, and what is wrong with the dates of others. */
  readonly insert: (userId: UserId, tasks: ReadonlyArray<NewTask>) => Effect.Effect<{
    readonly inserted: TasksById
    readonly faults: ReadonlyMap<TaskId, ValidationFailed>
  }>
  /** Leaves out what is not there, or not at an expected version. */
  readonly update: (
    userId: UserId,
    changes: ReadonlyArray<Change>
  ) => Effect.Effect<ReadonlyMap<TaskId, Result.Result<Changed, DatesProblem>>>
  /** Leaves out what can't be restored, or is not at an expected version. */
  readonly restore: (userId: UserId, targets: ReadonlyArray<Target>) => Effect.Effect<TasksById>
  /**
   * Runs a change of the user's row. Where it changes the time zone, the open tasks that are meant in it get their new
   * instants, and a version each, in the same transaction.
   */
  readonly changingUser: <A, E>(userId: UserId, change: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /**
   * Delivers the reminders whose time has come, unless another write of the user is under way; gives back how many
   * tasks had some.
   */
  readonly deliver: (userId: UserId) => Effect.Effect<number>
}>()("tasks-api/tasks/DatedWrites") {
  static readonly layer = Layer.effect(
    DatedWrites,
    Effect.gen(function* () {
      const repo = yield* TasksRepo
      const dates = yield* DatesRepo
      const inTransaction = transaction(yield* SqlClient.SqlClient)

      /** Writes dates alone. */
      const rewrite = (userId: UserId, userZone: string, tasks: ReadonlyArray<{ id: TaskId; dates: TaskDates }>) =>
        repo.update(
          userId,
          tasks.map(({ dates, id }) => ({ id, expected: undefined, members: {}, dates: dateValues(dates, userZone) }))
        )

      return DatedWrites.of({
        insert: Effect.fnUntraced(function* (userId, tasks) {
          const moment = yield* dates.lock(userId)
          const faults = new Map<TaskId, ValidationFailed>()
          if (moment === undefined) return { inserted: noTasks, faults }
          const dated: Array<NewTask> = []
          for (const task of tasks) {
            const set = yield* inTurn(() => changed(noDates, fromWhole(task), moment.userZone))
            if (Result.isSuccess(set)) dated.push({ ...task, dates: dateValues(set.success, moment.userZone) })
            else faults.set(task.id, new ValidationFailed({ errors: [{ ...set.failure, code: "invalid_value" }] }))
          }
          return { inserted: dated.length === 0 ? noTasks : yield* repo.insert(userId, dated), faults }
        }, inTransaction),
        update: Effect.fnUntraced(function* (userId, changes) {
          const outcomes = new Map<TaskId, Result.Result<Changed, DatesProblem>>()
          const moment = yield* dates.lock(userId)
          if (moment === undefined) return outcomes
          const stored = yield* dates.find(userId, changes.map(({ id }) => id), "live")
          const asIs: Array<TaskId> = []
          const toWrite: Array<TaskWrite> = []
          const ledger: Array<LedgerEntry & { readonly id: TaskId }> = []
          for (const { completion, expected, id, members } of changes) {
            const task = stored.get(id)
            if (task === undefined || (expected !== undefined && !expected.includes(task.version))) continue
            const outcome = yield* Effect.result(outcomeOf(dates, { ...moment, userId }, task, members, completion))
            if (Result.isFailure(outcome)) outcomes.set(id, Result.fail(outcome.failure))
            else if (outcome.success.asIs) asIs.push(id)
            else {
              const { completed, completedOccurrence, dates } = outcome.success
              toWrite.push({
                id,
                expected,
                members: { ...members, completed },
                dates: dateValues(dates, moment.userZone)
              })
              if (completedOccurrence !== undefined) ledger.push({ id, ...completedOccurrence })
            }
          }
          const written = toWrite.length === 0 ? noTasks : yield* repo.update(userId, toWrite)
          for (const { dueAt, ...completed } of ledger) {
            const task = written.get(completed.id)
            if (task !== undefined) yield* dates.add(userId, { ...completed, version: task.version }, dueAt)
          }
          for (const [id, task] of written) outcomes.set(id, Result.succeed({ task, isWritten: true }))
          const found = asIs.length === 0 ? noTasks : yield* repo.find(userId, asIs, "live")
          for (const [id, task] of found) outcomes.set(id, Result.succeed({ task, isWritten: false }))
          return outcomes
        }, inTransaction),
        restore: Effect.fnUntraced(function* (userId, targets) {
          const moment = yield* dates.lock(userId)
          if (moment === undefined) return noTasks
          const deleted = yield* dates.find(userId, targets.map(({ id }) => id), "restorable")
          return yield* repo.restore(
            userId,
            targets.flatMap((target) => {
              const task = deleted.get(target.id)
              return task === undefined ? [] : [{ ...target, dates: dateValues(task.dates, moment.userZone) }]
            })
          )
        }, inTransaction),
        changingUser: (userId, change) =>
          inTransaction(Effect.gen(function* () {
            // writers take the sequence's row before anything else: so does this, or the two could wait for each other
            const before = yield* dates.lock(userId)
            const result = yield* change
            const now = yield* dates.lock(userId)
            if (now === undefined || now.userZone === before?.userZone) return result
            let after: TaskId | undefined
            while (true) {
              const tasks = yield* dates.findInUserZone(userId, after, tasksAtOnce)
              if (tasks.length > 0) yield* rewrite(userId, now.userZone, tasks)
              if (tasks.length < tasksAtOnce) return result
              after = tasks.at(-1)!.id
            }
          })),
        deliver: Effect.fnUntraced(function* (userId) {
          const moment = yield* dates.lock(userId, "skip")
          if (moment === undefined) return 0
          const { now, userZone } = moment
          const tasks = yield* dates.findReminding(userId, tasksAtOnce)
          if (tasks.length > 0) {
            yield* rewrite(
              userId,
              userZone,
              tasks.map(({ dates, id }) => ({ id, dates: delivered(dates, now, userZone) }))
            )
          }
          return tasks.length
        }, inTransaction)
      })
    })
  )
}
