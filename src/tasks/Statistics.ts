/** What a user's tasks are like, in numbers. */
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { TokenInvalid } from "../api/Problems.ts"
import type { TaskStatistics } from "../api/TaskStatistics.ts"
import type { LocalDate } from "../domain/Due.ts"
import { priorities, type Priority } from "../domain/Task.ts"
import type { UserId } from "../domain/User.ts"
import { lastDays } from "./Days.ts"
import { DatesRepo } from "./DatesRepo.ts"
import { isDue, live } from "./TaskList.ts"

/** Days whose completions are counted. */
const dayCount = 30

/** Tags that are counted: those with the most tasks. */
const tagCount = 50

/** Spellings of tags that the database tells of, those with the most tasks. */
const spellingCount = 1_000

interface Counts {
  readonly open: number
  readonly completed: number
}

interface TagCounts extends Counts {
  readonly tag: string
}

const inBytes = (one: string, other: string) => Buffer.compare(Buffer.from(one), Buffer.from(other))

/**
 * One of each tag. Tags that differ in case are one, as Unicode has it and JavaScript does; what the database's `lower`
 * makes of them depends on its locale. Shown is the first of the spellings in the order of their bytes.
 */
const oneOfEach = (all: ReadonlyArray<TagCounts>): ReadonlyArray<TagCounts> => {
  const tags = new Map<string, TagCounts>()
  for (const { completed, open, tag } of all) {
    const other = tags.get(tag.toLowerCase())
    tags.set(tag.toLowerCase(), {
      tag: other === undefined || inBytes(tag, other.tag) < 0 ? tag : other.tag,
      open: open + (other?.open ?? 0),
      completed: completed + (other?.completed ?? 0)
    })
  }
  const size = ({ completed, open }: Counts) => open + completed
  return [...tags.values()].sort((one, other) => size(other) - size(one) || inBytes(one.tag, other.tag))
    .slice(0, tagCount)
}

export class Statistics extends Context.Service<Statistics, {
  /** Of the live tasks, all of one moment; days are those of the user's time zone. Reads every task of the user. */
  readonly of: (userId: UserId) => Effect.Effect<TaskStatistics, TokenInvalid>
}>()("tasks-api/tasks/Statistics") {
  static readonly layer = Layer.effect(
    Statistics,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const dates = yield* DatesRepo
      const counts = sql.literal(`'open', coalesce(sum(count) filter (where not completed), 0),
        'completed', coalesce(sum(count) filter (where completed), 0)`)

      /** `starts` are those of the days and of the day after them; `by_day` tells of a day by its place from 0. */
      const count = (userId: UserId, zone: string, today: LocalDate, starts: ReadonlyArray<Date>) => {
        const mine = sql`user_id = ${userId} and ${sql.literal(live)}`
        const isInDays = (column: string) =>
          sql`${sql.literal(column)} >= ${starts[0]!} and ${sql.literal(column)} < ${starts.at(-1)!}`
        // the tasks are read once; of those that are alike in all that is counted, there are many
        return sql<{
          readonly by_priority: ReadonlyArray<{ readonly rank: number } & Counts> | null
          readonly by_tag: ReadonlyArray<TagCounts> | null
          readonly by_day: ReadonlyArray<{ readonly day: number; readonly count: number }> | null
          readonly overdue: number
          readonly due_today: number
        }>`
        with alike as materialized (
          select priority, completed, tags, count(*) from tasks where ${mine} group by priority, completed, tags
        )
        select
          (select json_agg(row) from (
            select json_build_object('rank', priority, ${counts}) as row from alike group by priority
          ) as rows) as by_priority,
          (select json_agg(row) from (
            select json_build_object('tag', min(tag collate "C"), ${counts}) as row from alike, unnest(tags) as tag
            group by lower(tag) order by sum(count) desc, min(tag collate "C") limit ${spellingCount}
          ) as rows) as by_tag,
          (select json_agg(row) from (
            select json_build_object('day', day, 'count', count(*)) as row
            from (
              select width_bucket(completed_at, ${starts}::timestamptz[]) - 1 as day from (
                -- the last occurrence completes its task: at that moment both tell of it
                select id, completed_at from tasks where ${mine} and ${isInDays("completed_at")}
                union
                select id, task_occurrences.completed_at
                from task_occurrences join tasks on tasks.user_id = ${userId} and id = task_id and ${sql.literal(live)}
                where task_occurrences.user_id = ${userId} and ${isInDays("task_occurrences.completed_at")}
              ) as completions
            ) as days
            group by day
          ) as rows) as by_day,
          (select count(*)::int from tasks where ${mine} and completed_at is null and due_at <= now()) as overdue,
          (select count(*)::int from tasks
            where ${mine} and completed_at is null and ${isDue(sql, { from: today, to: today }, zone)}) as due_today`
          .pipe(
            Effect.map(([row]) => ({
              overdue: row?.overdue ?? 0,
              due_today: row?.due_today ?? 0,
              byRank: new Map((row?.by_priority ?? []).map(({ rank, ...counts }) => [rank, counts])),
              byTag: oneOfEach(row?.by_tag ?? []),
              byDay: new Map((row?.by_day ?? []).map(({ count, day }) => [day, count]))
            })),
            Effect.orDie
          )
      }

      return Statistics.of({
        of: Effect.fn("Statistics.of")(function* (userId) {
          // without the user's row there is no user: deleted since the token was checked
          const { now, userZone: zone } = (yield* dates.moment(userId)) ?? (yield* new TokenInvalid())
          const days = lastDays(zone, now, dayCount)
          const { byDay, byRank, byTag, due_today, overdue } = yield* count(
            userId,
            zone,
            days.at(-2)!.date,
            days.map(({ start }) => new Date(start))
          )
          const of = (priority: Priority) => byRank.get(priorities.indexOf(priority)) ?? { open: 0, completed: 0 }
          const all = [...byRank.values()]
          const open = all.reduce((sum, counts) => sum + counts.open, 0)
          const completed = all.reduce((sum, counts) => sum + counts.completed, 0)
          const total = open + completed
          return {
            total,
            open,
            completed,
            overdue,
            due_today,
            completion_rate: total === 0 ? null : completed / total,
            by_priority: {
              none: of("none"),
              low: of("low"),
              medium: of("medium"),
              high: of("high"),
              urgent: of("urgent")
            },
            by_tag: byTag,
            completed_by_day: days.slice(0, -1).map(({ date }, index) => ({ date, count: byDay.get(index) ?? 0 }))
          }
        })
      })
    })
  )
}
