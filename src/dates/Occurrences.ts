/** The days of a recurrence rule. */
import { RRuleTemporal } from "rrule-temporal"
import { Temporal } from "temporal-polyfill"
import type { LocalDate } from "../domain/Due.ts"
import { type Rule, weekdays } from "../domain/Rule.ts"

/** What becomes of the 29th, 30th and 31st in a shorter month: its last day, or nothing (RFC 7529 calls them BACKWARD and OMIT). */
export type MonthEnd = "clamp" | "skip"

/** A rule and the day that it counts from. COUNT and UNTIL do not matter here. */
export interface Series {
  readonly rule: Rule
  readonly start: LocalDate
  readonly monthEnd: MonthEnd
}

/** Periods of the rule that are looked through for its next day: eight years of days, from 29 February to the next. */
const maximumSteps = 3_000

/** The rule cannot occur, or so rarely that looking for it takes too long. */
export class TooRare extends Error {}

const midnight = (date: LocalDate) => Temporal.PlainDate.from(date).toZonedDateTime("UTC")

const next = (rule: Rule, start: LocalDate, after: LocalDate): LocalDate | undefined => {
  const { byDay, byMonth, byMonthDay, bySetPosition, byWeekNumber, byYearDay, frequency, interval, weekStart } = rule
  const optional = (name: string, values: ReadonlyArray<number>) => values.length === 0 ? {} : { [name]: [...values] }
  // the weekday of the start, where the rule names weeks but no day: the library would change it from year to year
  const days = byDay.length > 0 || byWeekNumber.length === 0
    ? byDay
    : [{ weekday: weekdays[Temporal.PlainDate.from(start).dayOfWeek - 1]!, ordinal: undefined }]
  const series = new RRuleTemporal({
    freq: frequency,
    interval,
    wkst: weekStart,
    dtstart: midnight(start),
    maxIterations: maximumSteps,
    ...(days.length > 0 && { byDay: days.map(({ ordinal = "", weekday }) => `${ordinal}${weekday}`) }),
    ...optional("byMonth", byMonth),
    ...optional("byMonthDay", byMonthDay),
    ...optional("byYearDay", byYearDay),
    ...optional("byWeekNo", byWeekNumber),
    ...optional("bySetPos", bySetPosition)
  })
  try {
    return series.next(new Date(midnight(after).epochMilliseconds))?.toPlainDate().toString()
  } catch (error) {
    // what the library says when its bound is reached
    if (error instanceof Error && error.message.includes("Maximum iterations")) throw new TooRare()
    throw error
  }
}

/** Days that every month has. */
const everyMonth = 28

/** The last of the days 28 to `day` that the month has. */
const clamped = (rule: Rule, day: number): Rule => ({
  ...rule,
  byMonthDay: Array.from({ length: day - everyMonth + 1 }, (_, index) => everyMonth + index),
  bySetPosition: [-1]
})

/** The rules whose days together are those of the series: more than one where days of a month are clamped. */
const rulesOf = ({ monthEnd, rule, start }: Series): ReadonlyArray<Rule> => {
  const { byDay, byMonth, byMonthDay, bySetPosition, byWeekNumber, byYearDay, frequency } = rule
  const isOfMonthDays = (frequency === "MONTHLY" || frequency === "YEARLY") &&
    [byDay, byYearDay, byWeekNumber, bySetPosition].every((part) => part.length === 0)
  if (monthEnd === "skip" || !isOfMonthDays) return [rule]
  const [, month, day] = start.split("-").map(Number) as [number, number, number]
  const days = byMonthDay.length > 0 ? byMonthDay : [day]
  const [plain, late] = [days.filter((one) => one <= everyMonth), days.filter((one) => one > everyMonth)]
  if (late.length === 0) return [rule]
  const unchanged = plain.length === 0 ? [] : [{ ...rule, byMonthDay: plain }]
  if (frequency === "MONTHLY") return [...unchanged, ...late.map((one) => clamped(rule, one))]
  // a set of days is the whole year's: one rule for each month
  const all = Array.from({ length: 12 }, (_, index) => index + 1)
  const months = byMonth.length > 0 ? byMonth : byMonthDay.length > 0 ? all : [month]
  return [
    ...unchanged,
    ...months.flatMap((one) => late.map((day) => clamped({ ...rule, byMonth: [one] }, day)))
  ]
}

/** The first day of a series that is later than another and not before its start; undefined after the year 9999. */
export const dayAfter = (series: Series, after: LocalDate): LocalDate | undefined => {
  const days = rulesOf(series).flatMap((rule) => next(rule, series.start, after) ?? [])
  const [first] = days.sort()
  return first !== undefined && first.length === 10 ? first : undefined
}
