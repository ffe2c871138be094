import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { daysAfter, type MonthEnd } from "../../src/dates/Occurrences.ts"
import { parseRule, type Rule, weekdays } from "../../src/domain/Rule.ts"
import { daysOf } from "./reference.ts"

const ruleOf = (text: string): Rule => {
  const rule = parseRule(text)
  if (typeof rule === "string") throw new Error(`${text}: ${rule}`)
  return rule
}

/** The days of a series after its start. */
const following = (rule: Rule, start: string, monthEnd: MonthEnd, count: number, until = "9999-12-31") => {
  const days: Array<string> = []
  if (count === 0) return days
  for (const day of daysAfter({ rule, start, monthEnd }, start)) {
    if (day > until) break
    if (days.push(day) === count) break
  }
  return days
}

describe("a rule's days", () => {
  const cases: ReadonlyArray<readonly [what: string, rule: string, start: string, MonthEnd, ReadonlyArray<string>]> = [
    ["31 January monthly, clamped", "FREQ=MONTHLY", "2026-01-31", "clamp", ["2026-02-28", "2026-03-31", "2026-04-30"]],
    ["31 January monthly, skipped", "FREQ=MONTHLY", "2026-01-31", "skip", ["2026-03-31", "2026-05-31", "2026-07-31"]],
    ["29 February yearly, clamped", "FREQ=YEARLY", "2024-02-29", "clamp", [
      "2025-02-28",
      "2026-02-28",
      "2027-02-28",
      "2028-02-29"
    ]],
    ["29 February yearly, skipped", "FREQ=YEARLY", "2024-02-29", "skip", ["2028-02-29", "2032-02-29"]],
    ["the last weekday of the month", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "2026-01-30", "clamp", [
      "2026-02-27",
      "2026-03-31"
    ]],
    ["every third week", "FREQ=WEEKLY;INTERVAL=3", "2026-01-07", "clamp", ["2026-01-28", "2026-02-18"]],
    ["a start that is not on the rule", "FREQ=WEEKLY;BYDAY=MO", "2026-01-07", "clamp", ["2026-01-12", "2026-01-19"]],
    ["the 30th of February, clamped", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "2026-01-01", "clamp", [
      "2026-02-28",
      "2027-02-28",
      "2028-02-29"
    ]],
    [
      "the last week of the year, from a January day of it",
      "FREQ=YEARLY;BYDAY=SA,SU;BYWEEKNO=-1",
      "2027-01-01",
      "clamp",
      [
        "2027-01-02",
        "2027-01-03",
        "2028-01-01",
        "2028-01-02"
      ]
    ]
  ]
  it.each(cases)("%s", (_, rule, start, monthEnd, days) => {
    expect(following(ruleOf(rule), start, monthEnd, days.length)).toEqual(days)
  })

  it.each([
    "FREQ=YEARLY;BYMONTH=2;BYDAY=MO;BYSETPOS=6",
    "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
    "FREQ=YEARLY;BYMONTH=4;BYMONTHDAY=31"
  ])(
    "%s has none",
    (rule) => {
      expect(following(ruleOf(rule), "2026-01-01", "skip", 1)).toEqual([])
    }
  )

  it("are not looked for where the rule asks for more than any of its periods has", () => {
    const refused = [
      "FREQ=DAILY;BYDAY=MO;BYSETPOS=2",
      "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR,SA,MO;BYSETPOS=7,-8",
      "FREQ=WEEKLY;BYMONTH=2;BYSETPOS=2",
      "FREQ=MONTHLY;BYMONTH=3,7;BYSETPOS=2",
      "FREQ=MONTHLY;BYMONTHDAY=22,-4;BYSETPOS=3,-3",
      "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=6",
      "FREQ=MONTHLY;BYDAY=1MO,-1FR;BYSETPOS=-3"
    ]
    for (const rule of refused) {
      expect(parseRule(rule), rule).toMatch(/^BYSETPOS must be from -\d+ to \d+ in this rule$/)
    }
    const taken = [
      "FREQ=DAILY;BYDAY=MO;BYSETPOS=1",
      "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=-7,8",
      "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=31",
      "FREQ=MONTHLY;BYMONTHDAY=22,-4;BYSETPOS=2",
      "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=5",
      "FREQ=MONTHLY;BYDAY=1MO,-1FR;BYSETPOS=-2",
      "FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=366"
    ]
    for (const rule of taken) expect(following(ruleOf(rule), "2026-01-01", "skip", 1), rule).toHaveLength(1)
  })

  it("end with the year 9999, on the last day that ends in it everywhere", () => {
    expect(following(ruleOf("FREQ=DAILY"), "9999-12-29", "clamp", 9)).toEqual(["9999-12-30"])
    // a century after which is the last day of all
    expect(following(ruleOf("FREQ=YEARLY;INTERVAL=100"), "9899-12-31", "clamp", 9)).toEqual([])
  })
})

const maybe = <A>(arbitrary: fc.Arbitrary<A>, weight = 2) =>
  fc.oneof({ arbitrary: fc.constant(undefined), weight }, { arbitrary, weight: 1 })
const some = (least: number, most: number) =>
  fc.uniqueArray(fc.integer({ min: least, max: most }).filter((n) => n !== 0), { minLength: 1, maxLength: 3 })

const textOf = (parts: Readonly<Record<string, unknown>>): string =>
  Object.entries(parts).flatMap(([name, value]) => value === undefined ? [] : [`${name}=${value}`]).join(";")

const weekNumbers = fc.oneof(some(-53, 53), fc.constant([53]), fc.constant([-1]), fc.constant([1]))

/** Rules of weeks of the year, of which few rules are that are drawn from all parts. */
const textsOfWeeks = fc.record({
  FREQ: fc.constant("YEARLY"),
  WKST: maybe(fc.constantFrom(...weekdays)),
  BYDAY: maybe(fc.uniqueArray(fc.constantFrom(...weekdays), { minLength: 1, maxLength: 3 })),
  BYMONTH: maybe(fc.constantFrom([1], [12], [1, 12]), 3),
  BYWEEKNO: weekNumbers
}).map(textOf)

/** Texts of rules, most of which are supported. */
const textsOfAll = fc.record({
  FREQ: fc.constantFrom("DAILY", "WEEKLY", "MONTHLY", "YEARLY"),
  INTERVAL: maybe(
    fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constantFrom(7, 14, 365), fc.integer({ min: 1, max: 400 }))
  ),
  WKST: maybe(fc.constantFrom(...weekdays)),
  BYDAY: maybe(fc.uniqueArray(
    fc.tuple(
      fc.oneof(
        fc.constantFrom("", "", "", "1", "2", "-1", "5", "-5", "52", "-52"),
        fc.integer({ min: -53, max: 53 }).map(String)
      ),
      fc.constantFrom(...weekdays)
    ).map((it) => it.join("")),
    { minLength: 1, maxLength: 4 }
  )),
  BYMONTHDAY: maybe(fc.oneof(some(1, 31), some(-31, 31), some(28, 31))),
  BYMONTH: maybe(some(1, 12), 3),
  BYYEARDAY: maybe(some(-366, 366), 8),
  BYWEEKNO: maybe(weekNumbers, 8),
  BYSETPOS: maybe(some(-4, 4), 5)
}).map(textOf)

const texts = fc.oneof({ arbitrary: textsOfAll, weight: 5 }, { arbitrary: textsOfWeeks, weight: 1 })

const starts = fc.oneof(
  fc.date({ min: new Date("1999-01-01"), max: new Date("2032-12-31"), noInvalidDate: true })
    .map((date) => date.toISOString().slice(0, 10)),
  // the days whose week is of another year than they are
  fc.tuple(fc.integer({ min: 1999, max: 2032 }), fc.constantFrom("12-29", "12-30", "12-31", "01-01", "01-02", "01-03"))
    .map((parts) => parts.join("-"))
)

it("are those of a slow reference, for any rule", () => {
  let compared = 0
  fc.assert(
    fc.property(texts, starts, fc.constantFrom("clamp" as const, "skip" as const), (text, start, monthEnd) => {
      const rule = parseRule(text)
      fc.pre(typeof rule !== "string")
      const until = `${Number(start.slice(0, 4)) + 7}-12-31`
      const expected = daysOf(rule as Rule, start, monthEnd, 12, until)
      const found = following(rule as Rule, start, monthEnd, 12, until)
      const isTooRare = found.length < expected.length
      expect(found, text).toEqual(isTooRare ? expected.slice(0, found.length) : expected)
      if (isTooRare) expect(expected.length, `${text} is too rare`).toBeLessThan(6)
      else compared++
    }),
    { numRuns: Number(process.env["RUNS"] ?? 300) }
  )
  expect(compared).toBeGreaterThan(100)
}, 120_000)
