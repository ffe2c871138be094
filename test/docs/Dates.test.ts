/** docs/dates.md leaves out nothing that dates can have, or that can be asked about them. */
import { expect, it } from "vitest"
import { OpenApi } from "effect/http-api"
import { Api } from "../../src/api/Api.ts"
import { defaultNext, mostNext, mostPast, mostReminders } from "../../src/api/TaskDates.ts"
import { Due } from "../../src/domain/Due.ts"
import { Recurrence, recurrenceDefaults } from "../../src/domain/Recurrence.ts"
import { parseRule, weekdays } from "../../src/domain/Rule.ts"
import { SentReminder } from "../../src/domain/Reminder.ts"
import { missing, textOf } from "./documents.ts"

const path = "docs/dates.md"

it("names every parameter that asks about dates", () => {
  const parametersOf = (endpoint: "/api/v1/tasks/{id}/occurrences" | "/api/v1/tasks/reminders") =>
    OpenApi.fromApi(Api).paths[endpoint]!.get!.parameters
      .flatMap(({ in: place, name }) => place === "query" ? [name] : [])
  const [next, reminders] = [
    parametersOf("/api/v1/tasks/{id}/occurrences"),
    parametersOf("/api/v1/tasks/reminders")
  ]
  expect([...next, ...reminders]).toEqual(["next", "from", "to"])
  const [seen, reminded] = [textOf(path, "See what was and what comes"), textOf(path, "Remind")]
  expect(missing(next, seen)).toEqual([])
  expect(missing(reminders, reminded)).toEqual([])
  expect(seen).toContain(`: ${defaultNext}, or as many`)
  expect(seen).toContain(`(0 to ${mostNext})`)
  expect(seen).toContain(`at most the last ${mostPast}.`)
  expect(reminded).toContain(`at most ${mostReminders.toLocaleString("en")}:`)
  expect(missing(["due_from", "due_to", "overdue", "sort"], textOf(path, "Find what is due"))).toEqual([])
})

it("names every member of dates, each value and which is the default", () => {
  expect(missing(Object.keys(Due.fields), textOf(path, "Say when a task is due"))).toEqual([])
  expect(missing(SentReminder.members.flatMap(({ fields }) => Object.keys(fields)), textOf(path, "Remind"))).toEqual([])
  const { rule, ...choices } = Recurrence.fields
  const text = textOf(path, "Let a task come again")
  expect(missing([...Object.keys(choices), ...Object.keys({ rule })], text)).toEqual([])
  for (const [name, { literals }] of Object.entries(choices)) {
    const [, ...rows] = text.split(`| \`${name}\``)
    const values = [...rows.join("").matchAll(/^(?:\|? +)?\| `(\w+)`( \(default\))? +\|/gm)].slice(0, literals.length)
    expect(values.map(([, value]) => value), name).toEqual(literals)
    expect(values.filter(([, , isDefault]) => isDefault !== undefined).map(([, value]) => value), name)
      .toEqual([recurrenceDefaults[name as keyof typeof recurrenceDefaults]])
  }
})

it("names every part of a rule that is taken, and no other", () => {
  const text = textOf(path, "Rules")
  // all that RFC 5545 has
  const all =
    "FREQ UNTIL COUNT INTERVAL BYSECOND BYMINUTE BYHOUR BYDAY BYMONTHDAY BYYEARDAY BYWEEKNO BYMONTH BYSETPOS WKST"
  const taken = all.split(" ").filter((name) => parseRule(`FREQ=DAILY;${name}=X`) !== `${name} is not supported`)
  expect([...text.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name).toSorted()).toEqual(taken.toSorted())
  expect(missing(weekdays, text)).toEqual([])
})

it("names what a rule can't have together, and nothing else", () => {
  const [, list = ""] = textOf(path, "Rules").split("- One rule may not have")
  const clauses = list.split("RFC 5545")[0]!.split("; nor ")
  const parts = ["INTERVAL=2", "COUNT=2", "UNTIL=20311231", "WKST=SU", "BYDAY=MO", "BYMONTHDAY=1", "BYMONTH=1"]
    .concat("BYYEARDAY=1", "BYWEEKNO=1", "BYSETPOS=1")
  for (const [i, one] of parts.entries()) {
    for (const other of parts.slice(i + 1)) {
      const isRefused = /together/.test(String(parseRule(`FREQ=YEARLY;${one};${other}`)))
      const pair = [one, other].map((part) => part.split("=")[0]!)
      const isNamed = clauses.some((clause) => missing(pair, clause).length === 0)
      expect(isNamed, pair.join(" and ")).toBe(isRefused)
    }
  }
})
