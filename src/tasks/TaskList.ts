/** The statements that find a user's tasks by a filter. */
import type { SqlClient, Statement } from "effect/sql"
import { dayAfter, dueAt } from "../dates/LocalTimes.ts"
import type { LocalDate } from "../domain/Due.ts"
import { inUtc } from "../domain/Instant.ts"
import { priorities, type Priority } from "../domain/Task.ts"
import type { Order } from "../domain/TaskQuery.ts"
import type { UserId } from "../domain/User.ts"
import { type Position, taskOrder } from "./TaskOrder.ts"
import { overdue, taskColumns } from "./TaskRow.ts"
import { termQuery } from "./Terms.ts"

/** Which tasks a list has; what is undefined or empty does not matter. */
export interface Filter {
  /** the trash: deleted tasks that can be restored, instead of the live ones */
  readonly deleted: boolean
  readonly completed: boolean | undefined
  readonly priorities: ReadonlyArray<Priority> | undefined
  /** all of them, whatever their case */
  readonly tags: ReadonlyArray<string>
  /** an instant, inclusive */
  readonly updatedSince: string | undefined
  /** the days that tasks are due on, in their owner's time zone: both inclusive */
  readonly due: { readonly from: LocalDate | undefined; readonly to: LocalDate | undefined } | undefined
  readonly overdue: boolean | undefined
  /** the beginnings of words, all of which must be there; an empty list matches nothing */
  readonly words: ReadonlyArray<string> | undefined
}

export interface Page {
  readonly order: ReadonlyArray<Order>
  readonly after: Position | undefined
  readonly limit: number
  /** the owner's, in which days are meant */
  readonly zone: string
}

/** Conditions of the tasks that a request may see. */
export const live = "deleted_at is null"
export const restorable = "deleted_at > now() - interval '30 days'"

/** Tasks that are looked at, in the order of the list, before all that match are collected. */
const walkedFor = (limit: number) => 10 * limit + 100

/** Whether only tasks that are due match. */
const isOfDue = ({ due, overdue }: Filter) => due !== undefined || overdue === true

/** Longer than the clocks of any two zones differ: a completed task keeps the instant that its owner's old zone gave it. */
const apart = 27 * 3_600_000

/**
 * Whole days and times without a zone are of their own date, others of the date that their instant has in the owner's
 * zone. The first condition is for the index: it leaves nothing out.
 */
export const isDue = (sql: SqlClient.SqlClient, { from, to }: NonNullable<Filter["due"]>, zone: string) => {
  const instant = (date: LocalDate, days: number) => dueAt({ date: dayAfter(date, days), time: "00:00" }, zone)
  const at = (milliseconds: number) => sql`${new Date(milliseconds)}::timestamptz`
  const begin = from === undefined ? undefined : instant(from, 0)
  const end = to === undefined ? undefined : instant(to, 1)
  const both = (lower: Statement.Fragment | undefined, upper: Statement.Fragment | undefined) =>
    sql.and([lower, upper].filter((it) => it !== undefined))
  return sql`(${
    both(
      begin === undefined ? undefined : sql`due_at >= ${at(begin - apart)}`,
      end === undefined ? undefined : sql`due_at <= ${at(end + apart)}`
    )
  } and case when due_zone is null then ${
    both(
      from === undefined ? undefined : sql`due_date >= ${from}::text::date`,
      to === undefined ? undefined : sql`due_date <= ${to}::text::date`
    )
  } else ${
    both(
      begin === undefined ? undefined : sql`due_at >= ${at(begin)}`,
      end === undefined ? undefined : sql`due_at < ${at(end)}`
    )
  } end)`
}

const isByTerms = ({ tags, words }: Filter) => tags.length > 0 || words !== undefined && words.length > 0

export const taskList = (sql: SqlClient.SqlClient) => {
  const columns = sql.literal(taskColumns)
  // as the index has it
  const terms = sql.literal("(title_terms || description_terms || tag_terms)")

  const belonging = (userId: UserId, { deleted }: Filter) => [
    sql`user_id = ${userId}`,
    sql.literal(deleted ? restorable : live)
  ]
  /** What is asked of the members of a task; as the indexes have it, that is of completed_at for what is open. */
  const asked = (
    { completed, due, overdue: isOverdue, priorities: names, updatedSince, words }: Filter,
    zone: string
  ) => [
    ...(due === undefined ? [] : [isDue(sql, due, zone)]),
    // what is overdue is open and due, which indexes know
    ...(isOverdue === undefined ? [] : [
      isOverdue ? sql.literal("completed_at is null and due_at <= now()") : sql`not ${sql.literal(overdue)}`
    ]),
    ...(completed === undefined ? [] : [sql.literal(`completed_at is ${completed ? "not null" : "null"}`)]),
    ...(names === undefined ? [] : [sql`priority = any(${names.map((it) => priorities.indexOf(it))}::smallint[])`]),
    ...(updatedSince === undefined ? [] : [sql`updated_at >= ${inUtc(updatedSince)}::text::timestamptz`]),
    ...(words?.length === 0 ? [sql.literal("false")] : [])
  ]
  const found = (userId: UserId, filter: Filter) => {
    const { tags, words } = filter
    return isByTerms(filter) ? [sql`${terms} @@ ${termQuery(userId, { tags, words: words ?? [] })}::text::tsquery`] : []
  }

  /**
   * All tasks of a filter, collected before anything else is done with them. Terms are looked up alone, because each
   * has a part of its owner's id: what the planner thinks of the owner's other indexes reads far more. So the owner is
   * named in a way that no index serves. Only open tasks may be still fewer.
   */
  const collected = (userId: UserId, filter: Filter, zone: string) => {
    const rest = [...belonging(userId, filter), ...asked(filter, zone)]
    return isByTerms(filter) && filter.completed !== false
      ? sql`
      (select * from tasks where user_id is not distinct from ${userId} and ${sql.and(found(userId, filter))} offset 0)
        as tasks where ${sql.and(rest)}`
      : sql`(select * from tasks where ${sql.and([...rest, ...found(userId, filter)])} offset 0) as tasks where true`
  }

  /** Whether an index has what is asked for, but not in this order: then one has to be chosen. */
  const isSelective = (filter: Filter, [first, second]: ReadonlyArray<Order>) => {
    const isInOrder = (key: Order["key"]) => first?.key === key && second === undefined
    return isByTerms(filter) || !filter.deleted && (
          filter.priorities !== undefined ||
          filter.completed === false && !isInOrder("completed_at") ||
          filter.updatedSince !== undefined && !isInOrder("updated_at") ||
          isOfDue(filter) && !isInOrder("due")
        )
  }

  /**
   * One page. Where tasks have to match, many or few of them may: the first tasks of the order are looked at, and when
   * they do not fill the page, those that match are collected by an index of their own and sorted. So neither what is
   * frequent nor what is rare is looked for in all of the user's tasks.
   */
  const page = (userId: UserId, filter: Filter, { after, limit, order, zone }: Page) => {
    const { orderBy, position, ranges } = taskOrder(
      sql,
      order,
      (key) => key === "completed_at" ? filter.completed : key === "due" && isOfDue(filter) ? true : undefined
    )
    /** The first tasks of a table expression that ends in conditions. */
    const first = (what: Statement.Fragment, from: Statement.Fragment, count: number) => {
      const [only, ...others] = ranges(after).map((range) =>
        sql`select ${what} from ${from} and ${range.condition} order by ${range.orderBy} limit ${count}`
      )
      return others.length === 0 ? only! : sql`
      select * from (${others.reduce((all, one) => sql`${all} union all (${one})`, sql`(${only!})`)}) as ranges
      order by ${orderBy} limit ${count}`
    }
    const shown = sql`${columns}, ${position} as position`
    const every = sql.literal("*")
    const mine = sql.and(belonging(userId, filter))
    const conditions = [...asked(filter, zone), ...found(userId, filter)]

    if (!isSelective(filter, order)) return first(shown, sql`tasks where ${sql.and([mine, ...conditions])}`, limit)
    const matching = first(shown, collected(userId, filter, zone), limit)
    // the trash is small, and no index has several keys
    if (filter.deleted || order.length > 1) return matching
    return sql`
    with walked as materialized (
      select ${shown} from (${first(every, sql`tasks where ${mine}`, walkedFor(limit))}) as tasks
      where ${sql.and(conditions)} order by ${orderBy} limit ${limit}
    )
    select * from (
      select * from walked where (select count(*) from walked) = ${limit}
      union all
      select * from (${matching}) as matching where (select count(*) from walked) < ${limit}
    ) as pages order by ${orderBy}`
  }

  return {
    page,
    /** Whether a page may need more than a moment. */
    isLong: (filter: Filter, order: ReadonlyArray<Order>) => isSelective(filter, order) || order.length > 1,
    count: (userId: UserId, filter: Filter, zone: string) =>
      sql`select count(*)::int as count from ${
        isByTerms(filter)
          ? collected(userId, filter, zone)
          : sql`tasks where ${sql.and([...belonging(userId, filter), ...asked(filter, zone)])}`
      }`
  }
}
