/** What is asked about the dates of tasks. */
import { Schema } from "effect"
import { closed } from "../domain/Closed.ts"
import { ShownDue } from "../domain/Due.ts"
import { Instant, SentInstant } from "../domain/Instant.ts"
import { TaskId } from "../domain/Task.ts"
import { wholeNumber } from "./Pagination.ts"

/** Occurrences to come that are told: 5 when the request does not say. */
export const defaultNext = 5
export const mostNext = 50

/** Completed occurrences that are told: the last of them. */
export const mostPast = 100

export const OccurrencesQuery = closed({ next: Schema.optionalKey(wholeNumber(0, mostNext)) })

export const Occurrences = Schema.Struct({
  past: Schema.Array(Schema.Struct({
    occurrence: Schema.String.annotate({ format: "date", description: "the date it was due on" }),
    due_at: Instant,
    completed_at: Instant
  })).annotate({ description: `completed ones, oldest first: the last ${mostPast}` }),
  next: Schema.Array(Schema.Struct({ ...ShownDue.fields, due_at: Instant })).annotate({
    description: "those after the current one, each completed in time"
  })
}).annotate({ identifier: "Occurrences" })
export type Occurrences = typeof Occurrences.Type

/** Reminders that one answer has. */
export const mostReminders = 1_000

/** From `from`, or now, to before `to`, or 24 hours later. */
export const RemindersQuery = closed({
  from: Schema.optionalKey(SentInstant.annotate({ description: "inclusive; without it, now" })),
  to: Schema.optionalKey(SentInstant.annotate({ description: "exclusive; without it, 24 hours after `from`" }))
}).check(
  Schema.makeFilter(({ from, to }) =>
    from === undefined || to === undefined || Date.parse(from) <= Date.parse(to) ||
    { path: ["to"], issue: "must not be before from" }
  )
)
export type RemindersQuery = typeof RemindersQuery.Type

export const DueReminder = Schema.Struct({
  task_id: TaskId,
  title: Schema.String,
  at: Instant,
  delivered_at: Schema.NullOr(Instant)
}).annotate({ identifier: "DueReminder" })
export type DueReminder = typeof DueReminder.Type
