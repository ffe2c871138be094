/** Any sequence of completions, edits and retries does to a task that recurs what a small model of the semantics does. */
import { randomUUID } from "node:crypto"
import fc from "fast-check"
import { beforeAll, expect, it } from "vitest"
import { useServers } from "../support/TestServer.ts"
import { batch, type Operation, resultsOf } from "./batches.ts"
import { type Dates, datesOf, daysAfter } from "./dated.ts"
import { families, type TaskAnswer } from "./families.ts"

const [server, second] = useServers(2)

interface Rule {
  readonly unit: "DAILY" | "MONTHLY"
  readonly interval: number
  readonly count?: number | undefined
}
const textOf = ({ count, interval, unit }: Rule) =>
  `FREQ=${unit};INTERVAL=${interval}${count === undefined ? "" : `;COUNT=${count}`}`

/** The days of the rule from a start, of which the first is that: months end with their last day where they are short. */
const days = function* (start: string, { interval, unit }: Rule) {
  const [year, month, day] = start.split("-").map(Number) as [number, number, number]
  for (let n = 0;; n += interval) {
    if (unit === "DAILY") yield daysAfter(start, n)
    else {
      const last = new Date(Date.UTC(year, month + n, 0))
      last.setUTCDate(Math.min(day, last.getUTCDate()))
      yield last.toISOString().slice(0, 10)
    }
  }
}

interface State {
  readonly due: string
  readonly rule: Rule | null
  /** where the series began, and which of its occurrences this is */
  readonly start: string
  readonly number: number
  readonly completed: boolean
  /** whether the completion has a line there */
  readonly isInLedger: boolean
  readonly ledger: ReadonlyArray<{ readonly occurrence: string; readonly start: string; readonly number: number }>
}

/** What is asked for; `named` is the occurrence as it is found when the request is made. */
type Step =
  | { readonly do: "complete"; readonly named: "none" | "current" | "known" | "next" | "never"; readonly nth: number }
  | { readonly do: "undo" }
  | { readonly do: "due"; readonly date: string }
  | { readonly do: "rule"; readonly rule: Rule | null }
  | { readonly do: "completed"; readonly completed: boolean }

const next = ({ due, rule, start }: State): string => {
  for (const day of days(start, rule!)) if (day > due) return day
  throw new Error("no next day")
}

const completed = (state: State): State => {
  if (state.completed) return state
  if (state.rule === null) return { ...state, completed: true, isInLedger: false }
  const { due, ledger, number, rule, start } = state
  const done = { ...state, ledger: [...ledger, { occurrence: due, start, number }] }
  return rule.count !== undefined && number >= rule.count
    ? { ...done, completed: true, isInLedger: true }
    : { ...done, due: next(state), number: number + 1 }
}

const undone = (state: State): State => {
  const newest = state.ledger.at(-1)
  const ledger = state.ledger.slice(0, -1)
  // one that was completed while it did not recur has no line for that; one whose rule has gone since has
  if (state.completed) return { ...state, ...(state.isInLedger && { ledger }), completed: false }
  if (state.rule === null || newest === undefined) return state
  const { number, occurrence, start } = newest
  const goesOn = start === state.start && number < state.number
  return { ...state, ledger, due: occurrence, ...(goesOn ? { start, number } : { start: occurrence, number: 1 }) }
}

const restarted = (state: State): State => ({ ...state, start: state.due, number: 1 })

const namedBy = (state: State, step: Step & { readonly do: "complete" }): string | undefined => {
  const { ledger } = state
  const known = ledger.length === 0 ? undefined : ledger[step.nth % ledger.length]!.occurrence
  const next = daysAfter(state.due, 1)
  return { none: undefined, current: state.due, known: known ?? state.due, next, never: "1999-12-31" }[step.named]
}

/** The state after a step; undefined where that is refused. */
const after = (state: State, step: Step): State | undefined => {
  if (step.do === "undo") return undone(state)
  if (step.do === "due") return step.date === state.due ? state : restarted({ ...state, due: step.date })
  if (step.do === "rule") {
    const isSame = step.rule !== null && state.rule !== null && textOf(step.rule) === textOf(state.rule)
    return isSame ? state : restarted({ ...state, rule: step.rule })
  }
  if (step.do === "completed") {
    if (step.completed) return completed(state)
    return state.rule === null ? undone(state) : state
  }
  const named = namedBy(state, step)
  if (named === undefined || named === state.due) return completed(state)
  return state.ledger.some(({ occurrence }) => occurrence === named) ? state : undefined
}

const operationOf = (id: string, state: State, step: Step): Operation & { readonly occurrence?: string } => {
  if (step.do === "undo") return { op: "complete", id, completed: false }
  if (step.do === "due") return { op: "update", id, task: { due: { date: step.date } } }
  if (step.do === "completed") return { op: "update", id, task: { completed: step.completed } }
  if (step.do === "rule") {
    return { op: "update", id, task: { recurrence: step.rule && { rule: textOf(step.rule), missed: "each" } } }
  }
  const occurrence = namedBy(state, step)
  return { op: "complete", id, ...(occurrence !== undefined && { occurrence }) }
}

const shown = ({ completed, due, recurrence }: TaskAnswer) => [due?.date, completed, recurrence?.rule]
const wanted = ({ completed, due, rule }: State) => [due, completed, rule === null ? undefined : textOf(rule)]

const rules = fc.record({
  unit: fc.constantFrom("DAILY" as const, "MONTHLY" as const),
  interval: fc.integer({ min: 1, max: 3 }),
  count: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined })
})
const dates = fc.constantFrom("2031-01-28", "2031-01-29", "2031-01-30", "2031-01-31", "2032-02-29", "2032-12-31")
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("complete" as const),
      named: fc.constantFrom("none", "none", "current", "known", "next", "never"),
      nth: fc.nat(9)
    })
  },
  { weight: 4, arbitrary: fc.constant({ do: "undo" as const }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("due" as const), date: dates }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("rule" as const), rule: fc.option(rules, { freq: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("completed" as const), completed: fc.boolean() }) }
)
const sequences = [dates, rules, fc.array(steps, { minLength: 3, maxLength: 20 })] as const
/** Seldom drawn: what was completed as the last of a series is taken back after its rule has gone. */
const examples: Array<[string, Rule, Array<Step>]> = [[
  "2031-01-28",
  { unit: "DAILY", interval: 1, count: 2 },
  [
    { do: "complete", named: "none", nth: 0 },
    { do: "complete", named: "none", nth: 0 },
    { do: "rule", rule: null },
    { do: "undo" },
    { do: "due", date: "2031-01-28" },
    { do: "complete", named: "next", nth: 0 }
  ]
]]

let tasks: Dates
let other: Dates
beforeAll(async () => {
  tasks = datesOf(server, await server.register())
  other = datesOf(second, tasks.account, families[1]!)
})
const begin = async (date: string, rule: Rule) => {
  const made = await tasks.create({ due: { date }, recurrence: { rule: textOf(rule), missed: "each" } })
  const state: State = { due: date, rule, start: date, number: 1, completed: false, isInLedger: false, ledger: [] }
  return { made, state }
}

it("one request after the other, each of them perhaps sent again", async () => {
  await fc.assert(
    fc.asyncProperty(...sequences, async (date, rule, steps) => {
      const { made, state: first } = await begin(date, rule)
      let [state, task] = [first, made]
      for (const [n, step] of steps.entries()) {
        const { id, op, task: body, ...completion } = operationOf(made.id, state, step)
        const path = op === "complete" ? `/${id}/complete` : `/${id}`
        const key = { "idempotency-key": randomUUID() }
        const send = (dates: Dates) => dates.send("PATCH", path, op === "complete" ? completion : body, key)
        const answer = await send(n % 2 === 0 ? tasks : other)
        const expected = after(state, step)
        const what = JSON.stringify({ step, state })
        if (expected === undefined) {
          expect([what, answer.status, answer.json.code]).toEqual([what, 409, "occurrence_mismatch"])
          expect(await tasks.read(made.id)).toEqual(task)
          continue
        }
        expect([what, answer.status, ...shown(answer.json)]).toEqual([what, 200, ...wanted(expected)])
        expect((await send(n % 2 === 0 ? tasks : other)).json).toEqual(answer.json)
        const now = await tasks.read(made.id)
        expect(now).toEqual(answer.json)
        expect(now.version).toBeGreaterThanOrEqual(task.version)
        if (JSON.stringify(shown(now)) !== JSON.stringify(shown(task))) {
          expect(now.version).toBeGreaterThan(task.version)
        }
        if (step.do === "complete" && now.due!.date !== task.due!.date) {
          expect(now.due!.date > task.due!.date).toBe(true)
        }
        ;[state, task] = [expected, now]
      }
    }),
    { numRuns: 30, examples }
  )
})

it("in one batch as one by one, and none of it where a later operation undoes the batch", async () => {
  await fc.assert(
    fc.asyncProperty(...sequences, async (date, rule, steps) => {
      const { made, state: first } = await begin(date, rule)
      let state = first
      const operations: Array<object> = []
      const expected: Array<ReadonlyArray<unknown>> = []
      for (const step of steps) {
        operations.push(operationOf(made.id, state, step) as never)
        const reached = after(state, step)
        expected.push(reached === undefined ? [409] : [200, ...wanted(reached)])
        state = reached ?? state
      }
      const failing = { op: "complete", id: made.id, occurrence: "1999-12-31" }
      const undone = await batch(server, tasks.account, "atomic", [...operations, failing] as never)
      expect(undone.status).toBe(409)
      expect(await tasks.read(made.id)).toEqual(made)
      const results = resultsOf(await batch(server, tasks.account, "partial", operations as never))
      expect(results.map(({ status, task }) => task === undefined ? [status] : [status, ...shown(task)])).toEqual(
        expected
      )
      expect(shown(await tasks.read(made.id))).toEqual(wanted(state))
    }),
    { numRuns: 30, examples }
  )
})
