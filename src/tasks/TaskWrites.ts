/** Writes of tasks, alone or several at once: at the versions that they expect, and with what can keep each from it. */
import { createHash } from "node:crypto"
import { Context, Effect, Layer, Result } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import {
  IdReused,
  IfMatchRequired,
  NotFound,
  StaleVersion,
  TokenInvalid,
  type ValidationFailed
} from "../api/Problems.ts"
import { entityTags } from "../domain/EntityTags.ts"
import { recurrenceDefaults } from "../domain/Recurrence.ts"
import { defaults, type Task, type TaskCreate, TaskId } from "../domain/Task.ts"
import type { UserId } from "../domain/User.ts"
import { Settings } from "../Settings.ts"
import { type DatesProblem, needsDates } from "./DatedChanges.ts"
import { type Change, DatedWrites } from "./DatedWrites.ts"
import { type NewTask, type Target, type TasksById, TasksRepo } from "./TasksRepo.ts"

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
export interface Precondition {
  readonly id: TaskId
  readonly ifMatch: string | undefined
}

/** A change of one task, and the If-Match that it came with. */
export type ConditionalChange = Precondition & Omit<Change, "expected">

/** What became of those that were there. */
type Written<E = never> = ReadonlyMap<TaskId, Result.Result<Task, E>>

/** One for each write, in their order. */
type Outcomes<A, E> = Effect.Effect<ReadonlyArray<Result.Result<A, E>>>

const noTasks: TasksById = new Map()
const noFaults: ReadonlyMap<TaskId, ValidationFailed> = new Map()

const allWritten = (tasks: TasksById): Written => new Map([...tasks].map(([id, task]) => [id, Result.succeed(task)]))

/** Each takes many writes, none of them of the same task as another. */
export class TaskWrites extends Context.Service<TaskWrites, {
  /**
   * Where the same creation with the client's own id was done before, nothing is made and the answer is that task as
   * it is now.
   */
  readonly create: (userId: UserId, creates: ReadonlyArray<TaskCreate>) => Outcomes<Creation, CreateProblem>
  readonly update: (
    userId: UserId,
    changes: ReadonlyArray<ConditionalChange>
  ) => Outcomes<Task, WriteProblem | DatesProblem>
  readonly remove: (userId: UserId, changes: ReadonlyArray<Precondition>) => Outcomes<Task, WriteProblem>
  /** Restoring a task that is not deleted changes nothing. */
  readonly restore: (userId: UserId, changes: ReadonlyArray<Precondition>) => Outcomes<Task, WriteProblem>
}>()("tasks-api/tasks/TaskWrites") {
  static readonly layer = Layer.effect(
    TaskWrites,
    Effect.gen(function* () {
      const repo = yield* TasksRepo
      const dated = yield* DatedWrites
      const { requireIfMatch } = yield* Settings

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

      const create = Effect.fnUntraced(function* (
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
      const change = Effect.fnUntraced(function* (
        userId: UserId,
        targets: ReadonlyArray<Change>
      ): Effect.fn.Return<Written<DatesProblem>> {
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

      const update = (userId: UserId, changes: ReadonlyArray<ConditionalChange>) =>
        conditional(changes, (ids) => repo.find(userId, ids, "live"), (targets) => change(userId, targets))

      const remove = (userId: UserId, changes: ReadonlyArray<Precondition>) =>
        conditional(
          changes,
          (ids) => repo.find(userId, ids, "live"),
          (targets) => Effect.map(repo.remove(userId, targets), allWritten)
        )

      const restore = (userId: UserId, changes: ReadonlyArray<Precondition>) => {
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

      return TaskWrites.of({ create, update, remove, restore })
    })
  )
}

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
    ...(hasDates(task)
      ? [
        due && [due.date, due.time, due.time_zone],
        recurrence && { ...recurrenceDefaults, ...recurrence, rule: recurrence.rule },
        reminders?.map((reminder) => "at" in reminder ? reminder.at : reminder.before)
      ].map((dates) => dates ?? null)
      : [])
  ])).digest()
}
