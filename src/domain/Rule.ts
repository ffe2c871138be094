/** Recurrence rules (RFC 5545, 3.3.10) of days and coarser: their syntax, and which of them are supported. */

export const weekdays = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"] as const
export type Weekday = typeof weekdays[number]
export type Frequency = "DAILY" | "WEEKLY" | "MONTHLY" | "YEARLY"

/** A weekday; with an ordinal, that one of the month or year: -1 is the last. */
export interface ByDay {
  readonly weekday: Weekday
  readonly ordinal: number | undefined
}

/** The end of a series: a day, or an instant or local time to the second, in the digits of RFC 5545. */
export interface Until {
  /** YYYY-MM-DD */
  readonly date: string
  /** HH:MM:SS; undefined: the whole day */
  readonly time: string | undefined
  /** of UTC, not of the task's zone */
  readonly isUtc: boolean
}

export interface Rule {
  readonly frequency: Frequency
  readonly interval: number
  readonly count: number | undefined
  readonly until: Until | undefined
  readonly weekStart: Weekday
  readonly byDay: ReadonlyArray<ByDay>
  readonly byMonthDay: ReadonlyArray<number>
  readonly byMonth: ReadonlyArray<number>
  readonly byYearDay: ReadonlyArray<number>
  readonly byWeekNumber: ReadonlyArray<number>
  readonly bySetPosition: ReadonlyArray<number>
}

/** The longest rule, in characters. */
export const maximumLength = 500

/** The largest INTERVAL and COUNT. */
const maximumInterval = 1_000
const maximumCount = 1_000

class Fault extends Error {}
const refuse = (detail: string): never => {
  throw new Fault(detail)
}

const integer = (name: string, text: string, least: number, most: number): number => {
  const value = /^[+-]?\d{1,5}$/.test(text) ? Number(text) : NaN
  return value >= least && value <= most ? value : refuse(`${name} must be from ${least} to ${most}`)
}

const integers = (name: string, text: string | undefined, most: number, isSigned = true): ReadonlyArray<number> =>
  text === undefined ? [] : [
    ...new Set(
      text.split(",").map((one) => {
        const value = integer(name, one, isSigned ? -most : 1, most)
        return value === 0 ? refuse(`${name} must not be 0`) : value
      })
    )
  ]

const isWeekday = (text: string): text is Weekday => weekdays.some((weekday) => weekday === text)

const weekdayOf = (name: string, text: string): Weekday =>
  isWeekday(text) ? text : refuse(`${name} must name weekdays: ${weekdays.join(", ")}`)

/** The largest number of a weekday: few years have a 53rd, and what computes the days looks for it in the next. */
const maximumOrdinal = 52

const byDayOf = (text: string): ByDay => {
  const [, ordinal = "", weekday = ""] = /^([+-]?\d{0,2})([A-Z]*)$/.exec(text) ?? []
  return {
    weekday: weekdayOf("BYDAY", weekday),
    ordinal: ordinal === "" ? undefined : integers("BYDAY", ordinal, maximumOrdinal)[0]
  }
}

const untilOf = (text: string): Until => {
  const [, y, m, d, hour, minute, second, utc] = /^(\d{4})(\d\d)(\d\d)(?:T([01]\d|2[0-3])([0-5]\d)([0-5]\d)(Z)?)?$/
    .exec(text) ?? []
  const day = new Date(Date.UTC(Number(y), Number(m) - 1, Number(d)))
  if (y === undefined || Number(y) < 1970 || day.getUTCMonth() !== Number(m) - 1) {
    return refuse("UNTIL must be a date such as 20261231, or one with a time such as 20261231T235959Z")
  }
  return {
    date: `${y}-${m}-${d}`,
    time: hour === undefined ? undefined : `${hour}:${minute}:${second}`,
    isUtc: utc !== undefined
  }
}

const names = new Set([
  "FREQ",
  "INTERVAL",
  "COUNT",
  "UNTIL",
  "WKST",
  "BYDAY",
  "BYMONTHDAY",
  "BYMONTH",
  "BYYEARDAY",
  "BYWEEKNO",
  "BYSETPOS"
])

const partsOf = (text: string): ReadonlyMap<string, string> => {
  const parts = new Map<string, string>()
  for (const part of text.split(";")) {
    const [, name = "", value = ""] = /^([A-Z]+)=([^=]+)$/.exec(part) ?? []
    if (name === "") refuse("must be parts NAME=value with semicolons between them, such as FREQ=WEEKLY;BYDAY=MO,TH")
    if (!names.has(name)) refuse(`${name} is not supported`)
    if (parts.has(name)) refuse(`${name} must not be given twice`)
    parts.set(name, value)
  }
  return parts
}

const frequencyOf = (text: string | undefined): Frequency =>
  text === "DAILY" || text === "WEEKLY" || text === "MONTHLY" || text === "YEARLY"
    ? text
    : refuse("FREQ must be DAILY, WEEKLY, MONTHLY or YEARLY")

/** The most days that a day, week, month or year of the rule has. */
const mostDays = ({ byDay, byMonthDay, frequency }: Rule): number => {
  if (frequency === "DAILY") return 1
  if (frequency === "WEEKLY") return Math.max(1, new Set(byDay.map(({ weekday }) => weekday)).size)
  if (frequency === "YEARLY") return 366
  const ofDays = byDay.reduce((sum, { ordinal }) => sum + (ordinal === undefined ? 5 : 1), 0)
  return Math.min(31, ofDays || 31, byMonthDay.length || (ofDays === 0 ? 1 : 31))
}

/** What RFC 5545 forbids, and what no two implementations agree on. */
const check = (rule: Rule): Rule => {
  const { byDay, byMonth, byMonthDay, byWeekNumber, byYearDay, bySetPosition, frequency } = rule
  const has = (values: ReadonlyArray<unknown>) => values.length > 0
  const isYearly = frequency === "YEARLY"
  if (rule.count !== undefined && rule.until !== undefined) refuse("COUNT and UNTIL must not be given together")
  if (has(byYearDay) && !isYearly) refuse("BYYEARDAY needs FREQ=YEARLY")
  if (has(byWeekNumber) && !isYearly) refuse("BYWEEKNO needs FREQ=YEARLY")
  if (has(byMonthDay) && frequency === "WEEKLY") refuse("BYMONTHDAY is not for FREQ=WEEKLY")
  if ([byMonthDay, byYearDay, byWeekNumber].filter(has).length > 1) {
    refuse("BYMONTHDAY, BYYEARDAY and BYWEEKNO are not supported together")
  }
  const numbered = byDay.filter(({ ordinal }) => ordinal !== undefined)
  if (has(numbered)) {
    if (numbered.length < byDay.length) refuse("BYDAY with and without numbers is not supported in one rule")
    if (frequency !== "MONTHLY" && !isYearly) refuse("BYDAY with a number needs FREQ=MONTHLY or YEARLY")
    if ([byMonthDay, byYearDay, byWeekNumber].some(has)) {
      refuse("BYDAY with a number is not supported with BYMONTHDAY, BYYEARDAY or BYWEEKNO")
    }
  }
  if (has(byYearDay) && has(byDay)) refuse("BYYEARDAY and BYDAY are not supported together")
  // week 1 may begin in the year before: is that a year of the interval?
  if (has(byWeekNumber) && rule.interval > 1) refuse("BYWEEKNO and INTERVAL are not supported together")
  // which names the day itself, by way of a long search
  if (has(byYearDay) && has(bySetPosition)) refuse("BYYEARDAY and BYSETPOS are not supported together")
  if (has(byWeekNumber) && has(bySetPosition)) refuse("BYWEEKNO and BYSETPOS are not supported together")
  if (has(bySetPosition) && ![byDay, byMonth, byMonthDay, byWeekNumber, byYearDay].some(has)) {
    refuse("BYSETPOS needs another part that begins with BY")
  }
  // found to have no day only after hundreds of months or thousands of weeks
  const most = mostDays(rule)
  if (has(bySetPosition) && bySetPosition.every((position) => Math.abs(position) > most)) {
    refuse(`BYSETPOS must be from -${most} to ${most} in this rule`)
  }
  return rule
}

/** Reads a rule; a string says what is wrong with it. */
export const parseRule = (sent: string): Rule | string => {
  if (sent.length > maximumLength) return `must have at most ${maximumLength} characters`
  // of some other letters, such as the dotless i, the capitals are those of ASCII
  if (!/^[!-~]*$/.test(sent)) return "must have letters, digits and signs of ASCII only"
  try {
    const parts = partsOf(sent.toUpperCase())
    const [interval, count, until] = [parts.get("INTERVAL"), parts.get("COUNT"), parts.get("UNTIL")]
    return check({
      frequency: frequencyOf(parts.get("FREQ")),
      interval: interval === undefined ? 1 : integer("INTERVAL", interval, 1, maximumInterval),
      count: count === undefined ? undefined : integer("COUNT", count, 1, maximumCount),
      until: until === undefined ? undefined : untilOf(until),
      weekStart: weekdayOf("WKST", parts.get("WKST") ?? "MO"),
      byDay: parts.get("BYDAY")?.split(",").map(byDayOf) ?? [],
      byMonthDay: integers("BYMONTHDAY", parts.get("BYMONTHDAY"), 31),
      byMonth: integers("BYMONTH", parts.get("BYMONTH"), 12, false),
      byYearDay: integers("BYYEARDAY", parts.get("BYYEARDAY"), 366),
      byWeekNumber: integers("BYWEEKNO", parts.get("BYWEEKNO"), 53),
      bySetPosition: integers("BYSETPOS", parts.get("BYSETPOS"), 366)
    })
  } catch (error) {
    if (error instanceof Fault) return error.message
    throw error
  }
}
