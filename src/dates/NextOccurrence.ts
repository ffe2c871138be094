/** What becomes of a recurring task when it is completed. */
import { Temporal } from "temporal-polyfill"
import type { Due, LocalDate } from "../domain/Due.ts"
import type { Recurrence } from "../domain/Recurrence.ts"
import { parseRule, type Rule, type Until } from "../domain/Rule.ts"
import { dateOf, dueAt, type Instant, zoneOf } from "./LocalTimes.ts"
import { daysAfter, horizon } from "./Occurrences.ts"

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
 * The occurrences that follow this one when it is completed at an instant, each of a later date; which of them are left
 * out because they have passed is up to the recurrence. It ends where COUNT or UNTIL ends the series, and throws
 * `TooRare` where no other is found.
 */
const occurrencesAfter = function* (occurrence: Occurrence, completedAt: Instant): Generator<Occurrence> {
  const { due, recurrence, start, userZone } = occurrence
  const rule = ruleOf(recurrence)
  const zone = zoneOf(due, userZone)
  const isFromCompletion = recurrence.anchor === "completion"
  const completedOn = dateOf(completedAt, zone)
  const ends = (date: LocalDate, number: number) =>
    (rule.count !== undefined && number > rule.count) ||
    (rule.until !== undefined && isBeyond(rule.until, { ...due, date }, userZone))
  // what is before yesterday in the task's zone has passed, whatever its time, also where a clock change moved it by a
  // day: so no instant has to be computed for it, and where nothing is counted it need not be gone through
  const passed = recurrence.missed === "skip" ? dateOf(completedAt - 2 * 86_400_000, zone) : ""
  const isMissed = (date: LocalDate) =>
    recurrence.missed === "skip" && (date <= passed || dueAt({ ...due, date }, userZone) <= completedAt)

  const earliest = isFromCompletion ? completedOn : rule.count === undefined ? passed : ""
  const after = earliest > due.date ? earliest : due.date
  let number = occurrence.number
  // where the rule has no day when it counts from the completion, the days that count from the due date go on
  for (const begin of new Set(isFromCompletion ? [completedOn, start] : [start])) {
    for (const date of daysAfter({ rule, start: begin, monthEnd: recurrence.month_end }, after)) {
      number++
      if (ends(date, number)) return
      if (!isMissed(date)) yield { ...occurrence, due: { ...due, date }, number }
    }
  }
  throw new TooRare()
}

/** The next occurrence; undefined where COUNT or UNTIL ends the series. Throws `TooRare` where none is found. */
export const following = (occurrence: Occurrence, completedAt: Instant): Occurrence | undefined =>
  occurrencesAfter(occurrence, completedAt).next().value as Occurrence | undefined

/** The last instant at which an occurrence is not late: a whole day is over when its instant comes. */
const inTime = ({ due, userZone }: Occurrence): Instant => dueAt(due, userZone) - (due.time === undefined ? 1 : 0)

/** What comes within a century, where each is completed in time and a late one now. Throws `TooRare` where that ends. */
export const upcoming = function* (occurrence: Occurrence, now: Instant): Generator<Occurrence> {
  if (occurrence.recurrence.anchor === "due") {
    yield* occurrencesAfter(occurrence, Math.max(now, inTime(occurrence)))
    return
  }
  const last = Math.max(now, inTime(occurrence)) + horizon * 365.2425 * 86_400_000
  let current = following(occurrence, Math.max(now, inTime(occurrence)))
  while (current !== undefined && inTime(current) <= last) {
    yield current
    current = following(current, Math.max(now, inTime(current)))
  }
}
