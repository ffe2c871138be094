/** How a task comes again. */
import { Schema } from "effect"
import { closed } from "./Closed.ts"
import { maximumLength, parseRule } from "./Rule.ts"

/** `due`: counted from the due date; `completion`: from the day of completion. */
const Anchor = Schema.Literals(["due", "completion"])

/** In a month without the 29th, 30th or 31st: `clamp` takes its last day, `skip` leaves it out (RFC 7529: BACKWARD, OMIT). */
const MonthEnd = Schema.Literals(["clamp", "skip"])

/** What has passed when a task is completed late: `skip` goes on after now, `each` takes one after the other. */
const Missed = Schema.Literals(["skip", "each"])

const RuleText = Schema.String.check(Schema.makeFilter((text) => {
  const rule = parseRule(text)
  return typeof rule !== "string" || rule
}, { toJsonSchema: () => ({ maxLength: maximumLength }) })).annotate({
  description: "an RRULE (RFC 5545, 3.3.10) of days or coarser",
  examples: ["FREQ=MONTHLY;BYMONTHDAY=31"]
})

/** A recurrence as it is shown. */
export const Recurrence = Schema.Struct({
  rule: Schema.String,
  anchor: Anchor,
  month_end: MonthEnd,
  missed: Missed
}).annotate({ identifier: "Recurrence" })
export type Recurrence = typeof Recurrence.Type

export const SentRecurrence = closed({
  rule: RuleText,
  anchor: Schema.optionalKey(Anchor),
  month_end: Schema.optionalKey(MonthEnd),
  missed: Schema.optionalKey(Missed)
}).annotate({ identifier: "SentRecurrence" })
export type SentRecurrence = typeof SentRecurrence.Type

/** What of a recurrence is to be otherwise (RFC 7396): what is absent stays, `null` returns to the default. */
export const RecurrencePatch = closed({
  rule: Schema.optionalKey(RuleText),
  anchor: Schema.optionalKey(Schema.NullOr(Anchor)),
  month_end: Schema.optionalKey(Schema.NullOr(MonthEnd)),
  missed: Schema.optionalKey(Schema.NullOr(Missed))
}).annotate({ identifier: "RecurrencePatch" })
export type RecurrencePatch = typeof RecurrencePatch.Type

export const recurrenceDefaults = { anchor: "due", month_end: "clamp", missed: "skip" } as const
