/** What a write does to a task's dates: computed from what is stored, behind the user's other writes. */
import { Effect, Result } from "effect"
import { OccurrenceMismatch, ValidationFailed } from "../api/Problems.ts"
import { reminderAt } from "../dates/ReminderTimes.ts"
import { advanced, changed, type TaskDates } from "../dates/TaskDates.ts"
import type { LocalDate } from "../domain/Due.ts"
import type { TaskChange } from "../domain/Task.ts"
import type { UserId } from "../domain/User.ts"
import type { Completed, DatedTask, DatesRepo } from "./DatesRepo.ts"

/** What `/complete` says; the member `completed` of other writes never takes a completion of a recurring task back. */
export interface Completion {
  readonly completed: boolean
  /** the due date of the occurrence that is meant */
  readonly occurrence?: LocalDate
}

/** What is to be written of a task; `asIs`: nothing, because it was done before. */
export type Outcome =
  | { readonly asIs: true }
  | {
    readonly asIs: false
    readonly dates: TaskDates
    readonly completed: boolean
    /** for the ledger, with the version of the write */
    readonly completedOccurrence: Omit<Completed, "version" | "id"> | undefined
  }

const isOfDates = ({ due, recurrence, reminders }: TaskChange) =>
  due !== undefined || recurrence !== undefined || reminders !== undefined

/** Whether a write has to be computed from what is stored, whatever the task is. */
export const needsDates = (members: TaskChange, completion: Completion | undefined): boolean =>
  isOfDates(members) || completion?.occurrence !== undefined

/** At an earlier occurrence again: what it was reminded of then, it is not reminded of again. */
const back = (dates: TaskDates, { occurrence, place }: Completed, now: number, userZone: string): TaskDates => {
  const due = { ...dates.due, date: occurrence }
  return {
    due,
    recurrence: dates.recurrence && { ...dates.recurrence, place },
    reminders: dates.reminders.map((reminder) => {
      if (reminder.before === undefined) return reminder
      const at = reminderAt({ before: reminder.before }, due, userZone)!
      return { before: reminder.before, delivered_at: at <= now ? new Date(at).toISOString() : null }
    })
  }
}

/** To be run in the transaction of the write, after `lock`. */
export const outcomeOf = Effect.fnUntraced(function* (
  repo: DatesRepo["Service"],
  { now, userId, userZone }: { readonly now: number; readonly userId: UserId; readonly userZone: string },
  task: DatedTask,
  members: TaskChange,
  completion: Completion | undefined
): Effect.fn.Return<Outcome, ValidationFailed | OccurrenceMismatch> {
  if (completion?.occurrence !== undefined && completion.occurrence !== task.dates.due?.date) {
    if (completion.completed && (yield* repo.isCompleted(userId, task.id, completion.occurrence))) return { asIs: true }
    return yield* new OccurrenceMismatch()
  }
  const { due, recurrence, reminders } = members
  const sent = changed(task.dates, {
    ...(due !== undefined && { due }),
    ...(recurrence !== undefined && { recurrence }),
    ...(reminders !== undefined && { reminders })
  }, userZone)
  if (Result.isFailure(sent)) {
    const { detail, pointer } = sent.failure
    return yield* new ValidationFailed({ errors: [{ pointer, code: "invalid_value", detail }] })
  }
  const dates = sent.success
  const wanted = completion?.completed ?? members.completed
  const plain = (completed: boolean): Outcome => ({ asIs: false, dates, completed, completedOccurrence: undefined })
  if (dates.recurrence === null) return plain(wanted ?? task.completed)
  if (wanted === true && !task.completed) {
    const next = advanced(dates, now, userZone)
    return {
      asIs: false,
      dates: next ?? dates,
      completed: next === undefined,
      completedOccurrence: { occurrence: dates.due!.date, place: dates.recurrence.place }
    }
  }
  if (completion?.completed === false) {
    const newest = yield* repo.takeNewest(userId, task.id)
    return newest === undefined ? plain(false) : {
      asIs: false,
      dates: task.completed ? dates : back(dates, newest, now, userZone),
      completed: false,
      completedOccurrence: undefined
    }
  }
  return plain(task.completed)
})
