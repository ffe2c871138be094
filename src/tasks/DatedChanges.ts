/** What a write does to a task's dates: computed from what is stored, behind the user's other writes. */
import { Effect, Result } from "effect"
import { OccurrenceMismatch, ValidationFailed } from "../api/Problems.ts"
import { rfc3339 } from "../dates/LocalTimes.ts"
import { reminderAt } from "../dates/ReminderTimes.ts"
import { advanced, changed, dueAtOf, type TaskDates } from "../dates/TaskDates.ts"
import type { LocalDate } from "../domain/Due.ts"
import type { SentCompletion, TaskChange } from "../domain/Task.ts"
import type { UserId } from "../domain/User.ts"
import type { Completed, DatedTask, DatesRepo, Moment } from "./DatesRepo.ts"
import { inTurn } from "./Turns.ts"

/** What `/complete` says; the member `completed` of other writes never takes a completion of a recurring task back. */
export interface Completion {
  readonly completed: boolean
  /** the due date of the occurrence that is meant */
  readonly occurrence?: LocalDate
}

export const completionOf = ({ completed = true, occurrence }: SentCompletion): Completion => ({
  completed,
  ...(occurrence !== undefined && { occurrence })
})

/** What a change can fail with, once it is known what is stored. */
export type DatesProblem = ValidationFailed | OccurrenceMismatch

/** A line of the ledger, before the write has its version. */
export type LedgerEntry = Omit<Completed, "version" | "id"> & {
  /** the instant at which it was due */
  readonly dueAt: number
}

/** What is to be written of a task; `asIs`: nothing, because it is so already. */
export type Outcome =
  | { readonly asIs: true }
  | {
    readonly asIs: false
    readonly dates: TaskDates
    readonly completed: boolean
    readonly completedOccurrence: LedgerEntry | undefined
  }

const isOfDates = ({ due, recurrence, reminders }: TaskChange) =>
  due !== undefined || recurrence !== undefined || reminders !== undefined

/** Whether a write has to be computed from what is stored, whatever the task is. */
export const needsDates = (members: TaskChange, completion: Completion | undefined): boolean =>
  isOfDates(members) || completion?.occurrence !== undefined

/**
 * At an earlier occurrence again: what it was reminded of then, it is not reminded of again. Where its series has ended
 * since, because the due date or the rule was changed, it begins another one.
 */
const back = (dates: TaskDates, completed: Completed, now: number, userZone: string): TaskDates => {
  const { occurrence, place } = completed
  const due = { ...dates.due, date: occurrence }
  const current = dates.recurrence?.place
  const goesOn = place.start === current?.start && place.number < current.number
  return {
    due,
    recurrence: dates.recurrence && { ...dates.recurrence, place: goesOn ? place : { start: occurrence, number: 1 } },
    reminders: dates.reminders.map((reminder) => {
      if (reminder.before === undefined) return reminder
      const { before, delivered_at, delivered_for } = reminder
      const at = reminderAt({ before }, due, userZone)!
      // what it was reminded of at the later occurrence, it is not reminded of again when it is there again
      const last = delivered_for ??
        (delivered_at === null ? undefined : rfc3339(reminderAt({ before }, dates.due ?? undefined, userZone)!))
      return {
        before,
        delivered_at: at <= now ? rfc3339(at) : null,
        ...(last !== undefined && { delivered_for: last })
      }
    })
  }
}

/** To be run in the transaction of the write, after `lock`. */
export const outcomeOf = Effect.fnUntraced(function* (
  repo: DatesRepo["Service"],
  { now, userId, userZone }: Moment & { readonly userId: UserId },
  task: DatedTask,
  members: TaskChange,
  completion: Completion | undefined
): Effect.fn.Return<Outcome, DatesProblem> {
  if (completion?.occurrence !== undefined && completion.occurrence !== task.dates.due?.date) {
    if (completion.completed && (yield* repo.isCompleted(userId, task.id, completion.occurrence))) return { asIs: true }
    return yield* new OccurrenceMismatch()
  }
  const { due, recurrence, reminders } = members
  const sent = yield* inTurn(() =>
    changed(task.dates, {
      ...(due !== undefined && { due }),
      ...(recurrence !== undefined && { recurrence }),
      ...(reminders !== undefined && { reminders })
    }, userZone)
  )
  if (Result.isFailure(sent)) {
    const { detail, pointer } = sent.failure
    return yield* new ValidationFailed({ errors: [{ pointer, code: "invalid_value", detail }] })
  }
  const dates = sent.success
  const wanted = completion?.completed ?? members.completed
  const plain = (completed: boolean): Outcome => ({ asIs: false, dates, completed, completedOccurrence: undefined })
  if (dates.recurrence === null) {
    // the rule may have gone since what is taken back here was completed; where it goes only now, the ledger is kept
    if (task.completed && wanted === false && task.dates.recurrence === null) yield* repo.takeNewest(userId, task.id)
    return plain(wanted ?? task.completed)
  }
  if (wanted === true && !task.completed) {
    const next = yield* inTurn(() => advanced(dates, now, userZone))
    return {
      asIs: false,
      dates: next ?? dates,
      completed: next === undefined,
      completedOccurrence: {
        occurrence: dates.due!.date,
        place: dates.recurrence.place,
        // of what is completed here: the same write may have set it
        dueAt: dueAtOf(dates, userZone)!
      }
    }
  }
  if (completion?.completed === true) return { asIs: true }
  if (completion?.completed === false) {
    const newest = yield* repo.takeNewest(userId, task.id)
    if (newest === undefined) return task.completed ? plain(false) : { asIs: true }
    return {
      asIs: false,
      dates: task.completed ? dates : back(dates, newest, now, userZone),
      completed: false,
      completedOccurrence: undefined
    }
  }
  return plain(task.completed)
})
