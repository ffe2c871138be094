/** What becomes of a recurring task when it is completed. */
import { Temporal } from "temporal-polyfill"
import type { Due, LocalDate } from "../domain/Due.ts"
import type { Recurrence } from "../domain/Recurrence.ts"
import { parseRule, type Rule, type Until } from "../domain/Rule.ts"
import { dateOf, dueAt, type Instant, zoneOf } from "./LocalTimes.ts"
import { daysAfter, type Series } from "./Occurrences.ts"

/** The rule has no further day, or so late that looking for it takes too long. */
export class TooRare extends Error {}

/** A recurring task at one of its occurrences. */
export interface Occurrence {
  readonly due: Due
  readonly recurrence: Recurrence
  /** the due date that its series began with, which the days of the rule count from */
  readonly start: LocalDate
  /** which occurrence of the series this is, from 1 */
  readonly number: number
  readonly userZone: string
}

/** The parsed rule of a stored recurrence, which was checked before it was stored. */
const ruleOf = (recurrence: Recurrence): Rule => {
  const rule = parseRule(recurrence.rule)
  if (typeof rule === "string") throw new Error(`a stored rule is refused: ${rule}`)
  return rule
}

const isBeyond = (until: Until, due: Due, userZone: string): boolean => {
  if (until.time === undefined) return due.date > until.date
  const time = due.time ?? "00:00"
  if (!until.isUtc) return `${due.date}T${time}:00` > `${until.date}T${until.time}`
  return dueAt({ ...due, time }, userZone) > Temporal.Instant.from(`${until.date}T${until.time}Z`).epochMilliseconds
}

/**
 * The occurrence after this one, or after a later moment: always of a later date. Undefined where COUNT or UNTIL
 * ends the series. `TooRare` is thrown where it is not found within the bounds.
 */
export const following = (occurrence: Occurrence, completedAt: Instant): Occurrence | undefined => {
  const { due, recurrence, start, userZone } = occurrence
  const rule = ruleOf(recurrence)
  const zone = zoneOf(due, userZone)
  const isFromCompletion = recurrence.anchor === "completion"
  const completedOn = dateOf(completedAt, zone)
  const series: Series = {
    rule,
    start: isFromCompletion ? completedOn : start,
    monthEnd: recurrence.month_end
  }
  const ends = (date: LocalDate, number: number) =>
    (rule.count !== undefined && number > rule.count) ||
    (rule.until !== undefined && isBeyond(rule.until, { ...due, date }, userZone))

  let after = isFromCompletion && completedOn > due.date ? completedOn : due.date
  let number = occurrence.number
  if (recurrence.missed === "skip" && rule.count === undefined && !isFromCompletion) {
    // what is before yesterday in the task's zone has passed, whatever its time: it need not be gone through
    const passed = dateOf(completedAt - 2 * 86_400_000, zone)
    if (passed > after) after = passed
  }
  for (const date of daysAfter(series, after)) {
    number++
    if (ends(date, number)) return undefined
    if (recurrence.missed === "each" || dueAt({ ...due, date }, userZone) > completedAt) {
      return { ...occurrence, due: { ...due, date }, number }
    }
  }
  throw new TooRare()
}
