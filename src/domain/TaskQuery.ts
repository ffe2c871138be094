/** Which tasks of a user, and in what order. */
import { Schema, SchemaTransformation } from "effect"
import { priorities, type Priority } from "./Task.ts"
import { length, text } from "./Text.ts"

export const sortKeys = ["created_at", "updated_at", "priority", "title", "completed_at", "due"] as const
export type SortKey = typeof sortKeys[number]

/** One key of an order; tasks that are equal in all of them are in the order of their ids. */
export interface Order {
  readonly key: SortKey
  readonly descending: boolean
}

const orders = sortKeys.flatMap((key): ReadonlyArray<readonly [string, Order]> => [
  [key, { key, descending: false }],
  [`-${key}`, { key, descending: true }]
])

/** Names with commas between them, each of what is known; `keyOf` tells what may be there but once. */
const listOf = <A>(known: ReadonlyMap<string, A>, keyOf: (value: A) => string, description: string) => {
  const names = new Map([...known].map(([name, value]) => [value, name]))
  const valuesOf = (list: string): ReadonlyArray<A> =>
    list.split(",").flatMap((name) => {
      const value = known.get(name)
      return value === undefined ? [] : [value]
    })
  return Schema.String.check(Schema.makeFilter((list) => {
    const values = valuesOf(list)
    return values.length === list.split(",").length && new Set(values.map(keyOf)).size === values.length ||
      `must be of ${[...known.keys()].join(", ")}, with commas between them and none twice`
  }, {
    toJsonSchema: () => {
      const name = `(?:${[...known.keys()].join("|")})`
      return { description, pattern: `^${name}(?:,${name})*$` }
    }
  })).pipe(Schema.decodeTo(
    Schema.Array(Schema.declare((value): value is A => names.has(value as A))),
    SchemaTransformation.transform({
      decode: valuesOf,
      encode: (values: ReadonlyArray<A>) => values.map((value) => names.get(value)).join(",")
    })
  ))
}

export const Sort = listOf<Order>(new Map(orders), ({ key }) => key, "keys, each at most once; with - descending")

export const PriorityFilter = listOf<Priority>(new Map(priorities.map((it) => [it, it])), (it) => it, "any of them")

export const Flag = Schema.Literals(["true", "false"]).pipe(
  Schema.decodeTo(
    Schema.Boolean,
    SchemaTransformation.transform({
      decode: (flag) => flag === "true",
      encode: (flag) => flag ? "true" as const : "false" as const
    })
  )
)

/** Words to be found, at most 100 characters. */
export const SearchText = text({ description: "words, each of which is the beginning of a word of the task" }).check(
  length(0, 100)
)

/** The newest order first, when a request names none. */
export const defaultOrder: ReadonlyArray<Order> = [{ key: "created_at", descending: true }]
