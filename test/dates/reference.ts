/** The days of a rule, found slowly: each day from the start on is asked whether it is one (RFC 5545, 3.3.10). */
import { Temporal } from "temporal-polyfill"
import { type Rule, weekdays } from "../../src/domain/Rule.ts"

type Day = Temporal.PlainDate

const weekdayOf = (day: Day) => weekdays[day.dayOfWeek - 1]!
const first = (day: Day) => day.with({ day: 1 })

/** The first day of the week that the day is in. */
const weekOf = (day: Day, rule: Rule) =>
  day.subtract({ days: (day.dayOfWeek - 1 - weekdays.indexOf(rule.weekStart) + 7) % 7 })

/** The first day of the period that the day is in; a year is one of weeks where the rule names weeks. */
const periodOf = (day: Day, rule: Rule): Day => {
  if (rule.frequency === "DAILY") return day
  if (rule.frequency === "WEEKLY") return weekOf(day, rule)
  return rule.frequency === "MONTHLY" ? first(day) : day.with({ month: 1, day: 1 })
}

/** Periods between two first days of periods. */
const distance = (from: Day, to: Day, rule: Rule): number => {
  if (rule.frequency === "DAILY") return from.until(to).days
  if (rule.frequency === "WEEKLY") return from.until(to).days / 7
  const months = (to.year - from.year) * 12 + to.month - from.month
  return rule.frequency === "MONTHLY" ? months : months / 12
}

/** The number of the ISO week of the year, for weeks that begin where the rule says, and how many the year has. */
const firstWeekOf = (year: number, rule: Rule): Day => weekOf(Temporal.PlainDate.from({ year, month: 1, day: 4 }), rule)
const weekNumberOf = (day: Day, rule: Rule): { readonly number: number; readonly of: number } => {
  const year = [day.year + 1, day.year, day.year - 1].find((year) =>
    Temporal.PlainDate.compare(firstWeekOf(year, rule), day) <= 0
  )!
  const begin = firstWeekOf(year, rule)
  return {
    number: begin.until(weekOf(day, rule)).days / 7 + 1,
    of: begin.until(firstWeekOf(year + 1, rule)).days / 7
  }
}

const matches = (values: ReadonlyArray<number>, value: number, size: number) =>
  values.length === 0 || values.includes(value) || values.includes(value - size - 1)

/** Whether the day is the numbered weekday of its month, or of its year where the rule is of years without months. */
const isNumbered = (day: Day, ordinal: number, rule: Rule): boolean => {
  const isOfYear = rule.frequency === "YEARLY" && rule.byMonth.length === 0
  const [place, size] = isOfYear ? [day.dayOfYear, day.daysInYear] : [day.day, day.daysInMonth]
  return ordinal > 0 ? Math.ceil(place / 7) === ordinal : Math.ceil((size - place + 1) / 7) === -ordinal
}

/** Whether the day is one of its period, before BYSETPOS; `monthDay` says so of days of months. */
const isCandidate = (
  day: Day,
  rule: Rule,
  start: Day,
  monthDay: (values: ReadonlyArray<number>, day: Day) => boolean
) => {
  const { byDay, byMonth, byMonthDay, byWeekNumber, byYearDay, frequency } = rule
  if (byMonth.length > 0 && !byMonth.includes(day.month)) return false
  if (!matches(byYearDay, day.dayOfYear, day.daysInYear)) return false
  if (byWeekNumber.length > 0) {
    const week = weekNumberOf(day, rule)
    if (!matches(byWeekNumber, week.number, week.of)) return false
  }
  if (byMonthDay.length > 0 && !monthDay(byMonthDay, day)) return false
  if (byDay.length > 0) {
    return byDay.some(({ ordinal, weekday }) =>
      weekday === weekdayOf(day) && (ordinal === undefined || isNumbered(day, ordinal, rule))
    )
  }
  // what the rule does not say is as it was on its first day
  if (frequency === "DAILY" || byMonthDay.length > 0 || byYearDay.length > 0) return true
  if (frequency === "WEEKLY" || byWeekNumber.length > 0) return day.dayOfWeek === start.dayOfWeek
  if (frequency === "YEARLY" && byMonth.length === 0 && day.month !== start.month) return false
  return monthDay([start.day], day)
}

/** The first `count` days of a series after its start, none later than `until`. */
export const daysOf = (rule: Rule, startDate: string, monthEnd: "clamp" | "skip", count: number, until: string) => {
  const [start, end] = [Temporal.PlainDate.from(startDate), Temporal.PlainDate.from(until)]
  const isClamping = monthEnd === "clamp" && (rule.frequency === "MONTHLY" || rule.frequency === "YEARLY") &&
    [rule.byDay, rule.byYearDay, rule.byWeekNumber, rule.bySetPosition].every((part) => part.length === 0)
  const monthDay = (values: ReadonlyArray<number>, day: Day) =>
    matches(values, day.day, day.daysInMonth) ||
    (isClamping && day.day === day.daysInMonth && values.some((value) => value > day.day))
  const found: Array<string> = []
  let candidates: Array<Day> = []
  let period = periodOf(start, rule)
  const close = () => {
    const { bySetPosition } = rule
    const chosen = bySetPosition.length === 0
      ? candidates
      : candidates.filter((_, i) => bySetPosition.includes(i + 1) || bySetPosition.includes(i - candidates.length))
    for (const day of chosen) {
      if (Temporal.PlainDate.compare(day, start) > 0 && Temporal.PlainDate.compare(day, end) <= 0) {
        found.push(day.toString())
      }
    }
    candidates = []
  }
  const begin = periodOf(start, rule)
  // a period is looked at as a whole: it may begin before the start and end after the end
  for (let day = begin; found.length < count; day = day.add({ days: 1 })) {
    const own = periodOf(day, rule)
    if (!own.equals(period)) {
      close()
      period = own
      if (Temporal.PlainDate.compare(day, end) > 0) break
    }
    if (distance(begin, own, rule) % rule.interval === 0 && isCandidate(day, rule, start, monthDay)) {
      candidates.push(day)
    }
  }
  return found.slice(0, count)
}
