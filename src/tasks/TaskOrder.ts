/** The order of a list in SQL: a total order of some keys and then the id, and what comes after a position in it. */
import type { SqlClient, Statement } from "effect/sql"
import type { Order, SortKey } from "../domain/TaskQuery.ts"

interface Column {
  readonly expression: string
  readonly type: string
  /** null comes last in both directions */
  readonly nullable: boolean
}

const columns: Readonly<Record<SortKey, Column>> = {
  created_at: { expression: "created_at", type: "timestamptz", nullable: false },
  updated_at: { expression: "updated_at", type: "timestamptz", nullable: false },
  priority: { expression: "priority", type: "smallint", nullable: false },
  title: { expression: `lower(title) collate "C"`, type: `text collate "C"`, nullable: false },
  completed_at: { expression: "completed_at", type: "timestamptz", nullable: true },
  due: { expression: "due_at", type: "timestamptz", nullable: true }
}

/**
 * A place in a list, everything after it in its order: the value of each key in the database's own text, because
 * JavaScript's dates have no microseconds, and the id.
 */
export type Position = ReadonlyArray<string | null>

/** One of the ranges that a list is made of, one after another: an index serves each in its order. */
export interface Range {
  readonly condition: Statement.Fragment
  readonly orderBy: Statement.Fragment
}

/** `has` tells of a key whether there are only tasks that have a value of it, only others, or both. */
export const taskOrder = (
  sql: SqlClient.SqlClient,
  orders: ReadonlyArray<Order>,
  has: (key: SortKey) => boolean | undefined = () => undefined
) => {
  const keys = orders.map(({ descending, key }) => ({ ...columns[key], descending }))
  const idDescending = keys[0]!.descending
  const all = [...keys, { expression: "id", type: "uuid", nullable: false, descending: idDescending }]
  const only = keys.length === 1 ? keys[0] : undefined

  const value = (type: string, text: string) => sql`${text}::text::${sql.literal(type)}`

  /** After the position, looked at key by key: what no single range of an index can say. */
  const afterFrom = (position: Position, from: number): Statement.Fragment => {
    const { descending, expression, nullable, type } = all[from]!
    const at = position[from] ?? null
    const column = sql.literal(expression)
    const isLast = from === all.length - 1
    if (at === null) {
      // only null equals null, and nothing comes after it
      return isLast ? sql.literal("false") : sql`(${column} is null and ${afterFrom(position, from + 1)})`
    }
    const beyond = sql`${column} ${sql.literal(descending ? "<" : ">")} ${value(type, at)}`
    const later = nullable ? sql`(${beyond} or ${column} is null)` : beyond
    return isLast ? later : sql`(${later} or (${column} = ${value(type, at)} and ${afterFrom(position, from + 1)}))`
  }

  /** After the position, as one row: a range of the index with these columns. */
  const afterRow = (position: Position) =>
    sql`(${sql.literal(all.map(({ expression }) => expression).join(", "))})
      ${sql.literal(idDescending ? "<" : ">")}
      (${sql.csv(all.map(({ type }, index) => value(type, position[index] ?? "")))})`

  const isUniform = all.every(({ descending, nullable }) => !nullable && descending === idDescending)

  const direction = (descending: boolean) => descending ? "desc" : "asc"
  const orderBy = sql.literal(
    all.map(({ descending, expression, nullable }) =>
      `${expression} ${direction(descending)}${nullable ? " nulls last" : ""}`
    ).join(", ")
  )
  const byId = sql.literal(`id ${direction(idDescending)}`)

  /** The ranges of the whole list, or of what comes after a position: at least one. */
  const ranges = (after: Position | undefined): ReadonlyArray<Range> => {
    if (only?.nullable === true) {
      const column = sql.literal(only.expression)
      const valued = sql`${column} is not null`
      const empty = sql`${column} is null`
      // an index has nulls at one end, which in one of the directions is the wrong one
      const orderOfValued = sql.literal(
        `${only.expression} ${direction(only.descending)}, id ${direction(idDescending)}`
      )
      const ofEmpty = { condition: empty, orderBy: byId }
      const hasValue = has(orders[0]!.key)
      const isLeft = (it: Range) => hasValue === undefined || (it === ofEmpty) !== hasValue
      if (after === undefined) return [{ condition: valued, orderBy: orderOfValued }, ofEmpty].filter(isLeft)
      if (after[0] === null) {
        const beyond = sql`id ${sql.literal(idDescending ? "<" : ">")} ${value("uuid", after[1] ?? "")}`
        return [{ condition: sql`${empty} and ${beyond}`, orderBy: byId }]
      }
      return [{ condition: sql`${valued} and ${afterRow(after)}`, orderBy: orderOfValued }, ofEmpty].filter(isLeft)
    }
    if (after === undefined) return [{ condition: sql.literal("true"), orderBy }]
    return [{ condition: isUniform ? afterRow(after) : afterFrom(after, 0), orderBy }]
  }

  return {
    ranges,
    /** of the ranges together */
    orderBy,
    position: sql.literal(`array[${all.map(({ expression }) => `(${expression})::text`).join(", ")}]`)
  }
}
