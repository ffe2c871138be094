/** The days of a recurrence rule. */
import { RRuleTemporal } from "rrule-temporal"
import { Temporal } from "temporal-polyfill"
import { lastDueDate, type LocalDate } from "../domain/Due.ts"
import { type Rule, weekdays } from "../domain/Rule.ts"

/** What becomes of the 29th, 30th and 31st in a shorter month: its last day, or nothing (RFC 7529 calls them BACKWARD and OMIT). */
export type MonthEnd = "clamp" | "skip"

/** A rule and the day that it counts from. COUNT and UNTIL do not matter here. */
export interface Series {
  readonly rule: Rule
  readonly start: LocalDate
  readonly monthEnd: MonthEnd
}

/** Periods of the rule that are looked through for its next day, or for the days of some years. */
const maximumSteps = 3_000

/** Years whose days are found at once, at most: fewer days than steps. */
const maximumYears = 8

/** Years in which days are looked for: in 40 of them, each day of the year falls on each weekday. */
export const horizon = 100

const midnight = (date: LocalDate) => Temporal.PlainDate.from(date).toZonedDateTime("UTC")

const everyDay = Array.from({ length: 31 }, (_, index) => index + 1)

/** The days of a rule after another, up to a last one, in their order; it ends where the next is too rare. */
const daysOf = function* (rule: Rule, start: LocalDate, after: LocalDate, end: LocalDate): Generator<LocalDate> {
  const { byDay, byMonth, byMonthDay, bySetPosition, byWeekNumber, byYearDay, frequency, interval, weekStart } = rule
  const optional = (name: string, values: ReadonlyArray<number>) => values.length === 0 ? {} : { [name]: [...values] }
  // the weekday of the start, where the rule names weeks but no day: the library would change it from year to year
  const days = byDay.length > 0 || byWeekNumber.length === 0
    ? byDay
    : [{ weekday: weekdays[Temporal.PlainDate.from(start).dayOfWeek - 1]!, ordinal: undefined }]
  // a day has one day: BYSETPOS can only be about that
  const positions = frequency === "DAILY" ? [] : bySetPosition
  // Two ways to find the same days with a fraction of the work: days of months are looked for month by month, whatever
  // the interval, and other days and weeks without their months. What is found too much is left out.
  const isMonthly = frequency === "DAILY" && (byMonthDay.length > 0 || interval === 1 && byMonth.length > 0)
  const isOfAnyMonth = !isMonthly && (frequency === "DAILY" || frequency === "WEEKLY" && positions.length === 0)
  const begin = Temporal.PlainDate.from(start)
  // the library begins with the weeks of the year of this day, and so would miss the January days of the last one before
  const from = byWeekNumber.length === 0 ? start : `${begin.year - 1}-12-31`
  const isOfRule = (day: LocalDate) =>
    isMonthly
      ? begin.until(day).days % interval === 0
      : !isOfAnyMonth || byMonth.length === 0 || byMonth.includes(Number(day.slice(5, 7)))
  const series = new RRuleTemporal({
    wkst: weekStart,
    dtstart: midnight(from),
    until: midnight(end),
    maxIterations: maximumSteps,
    ...(days.length > 0 && { byDay: days.map(({ ordinal = "", weekday }) => `${ordinal}${weekday}`) }),
    ...(!isOfAnyMonth && optional("byMonth", byMonth)),
    ...optional("byYearDay", byYearDay),
    ...optional("byWeekNo", byWeekNumber),
    ...optional("byMonthDay", isMonthly && byMonthDay.length === 0 && days.length === 0 ? everyDay : byMonthDay),
    ...optional("bySetPos", positions),
    ...(isMonthly ? { freq: "MONTHLY" } : { freq: frequency, interval })
  })
  const next = (after: LocalDate): LocalDate | undefined => {
    try {
      return series.next(new Date(midnight(after).epochMilliseconds))?.toPlainDate().toString()
    } catch (error) {
      // what the library says when its bound is reached
      if (error instanceof Error && error.message.includes("Maximum iterations")) return undefined
      throw error
    }
  }
  let day = next(after)
  for (let years = 1; day !== undefined; years = Math.min(2 * years, maximumYears)) {
    if (isOfRule(day)) yield day
    // who wants more than the next gets years at once, which the library finds in a fraction of the time
    const begin = midnight(day)
    const found = series.between(new Date(begin.epochMilliseconds), new Date(begin.add({ years }).epochMilliseconds))
      .map((found) => found.toPlainDate().toString())
    yield* found.filter(isOfRule)
    day = next(found.at(-1) ?? day)
  }
}

/** Days that every month has. */
const everyMonth = 28

const months = { of31: [1, 3, 5, 7, 8, 10, 12], of30: [4, 6, 9, 11], february: [2] } as const

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
  // the last of a set of days would be the last of the year: one rule for the months of each length
  const chosen = byMonth.length > 0 ? byMonth : byMonthDay.length > 0 ? undefined : [month]
  const within = (some: ReadonlyArray<number>, set: (byMonth: ReadonlyArray<number>) => Rule) => {
    const byMonth = some.filter((one) => chosen?.includes(one) ?? true)
    return byMonth.length === 0 ? [] : [set(byMonth)]
  }
  return [
    ...unchanged,
    ...within(months.of31, (byMonth) => ({ ...rule, byMonth, byMonthDay: late })),
    ...within(months.of30, (byMonth) => ({ ...rule, byMonth, byMonthDay: late.map((one) => Math.min(one, 30)) })),
    ...within(months.february, (byMonth) => clamped({ ...rule, byMonth }, 29))
  ]
}

/** The days of a series after another, and not before its start, in their order, as far as they are found. */
export const daysAfter = function* (series: Series, after: LocalDate): Generator<LocalDate> {
  const last = Temporal.PlainDate.from(after > series.start ? after : series.start).add({ years: horizon }).toString()
  // years beyond 9999 have a sign and six digits
  const end = last.length === 10 && last < lastDueDate ? last : lastDueDate
  const rules = rulesOf(series).map((rule) => {
    const days = daysOf(rule, series.start, after, end)
    return { days, day: days.next().value as LocalDate | undefined }
  })
  while (true) {
    const day = rules.reduce<LocalDate | undefined>(
      (first, { day }) => first === undefined || day !== undefined && day < first ? day : first,
      undefined
    )
    if (day === undefined) return
    yield day
    for (const rule of rules) if (rule.day === day) rule.day = rule.days.next().value
  }
}
