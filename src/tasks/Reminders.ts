/** What users were and will be reminded of, and delivering it when its time comes. */
import { Cause, Context, Effect, Exit, Layer, Metric } from "effect"
import { SqlClient } from "effect/sql"
import { type DueReminder, mostReminders, type RemindersQuery } from "../api/TaskDates.ts"
import { classify } from "../database/Failures.ts"
import { inUtc } from "../domain/Instant.ts"
import { TaskId } from "../domain/Task.ts"
import type { UserId } from "../domain/User.ts"
import { DatedWrites, tasksAtOnce } from "./DatedWrites.ts"
import { live } from "./TaskList.ts"

/** Tasks among which one run looks for users whose reminders it delivers: those that have waited longest. */
const lateAtOnce = 10_000

const reminded = Metric.counter("reminded_tasks_total", {
  description: "Times that a task's reminders were delivered, several at once counted as one",
  incremental: true
})

/** How long the reminders of some tasks of a user may take, as a request may: a network may lose them without a word. */
const patience = "10 seconds"

export class Reminders extends Context.Service<Reminders, {
  /** Of live tasks, in the order of their times; what was not delivered when a task was completed never will be. */
  readonly between: (userId: UserId, range: RemindersQuery) => Effect.Effect<ReadonlyArray<DueReminder>>
  /**
   * One run of what any number of instances may do at once. Who is writing at the moment has a turn in the next. A
   * reminder is delivered by the change that says so, which no two instances can make. What one user's delivery dies of
   * it dies of in the end, after the others' turns; where the database is away, at once.
   */
  readonly deliver: Effect.Effect<void>
}>()("tasks-api/tasks/Reminders") {
  static readonly layer = Layer.effect(
    Reminders,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const writes = yield* DatedWrites

      /** Users who have waited longest, but for those who have had their turn. */
      const users = (served: ReadonlySet<UserId>) =>
        sql<{ readonly user_id: UserId }>`
        select distinct user_id from (
          select user_id from tasks
          where ${sql.literal(live)} and completed_at is null and remind_at <= now()
            and user_id <> all(${[...served]}::uuid[])
          order by remind_at limit ${lateAtOnce}
        ) as late`.pipe(Effect.timeout(patience), Effect.orDie)

      /** Delivers some; true where the user may have more of them. */
      const deliverSome = Effect.fnUntraced(function* (userId: UserId) {
        const count = yield* Effect.orDie(Effect.timeout(writes.deliver(userId), patience))
        yield* Metric.update(reminded, count)
        return count === tasksAtOnce
      })

      return Reminders.of({
        between: Effect.fn("Reminders.between")(function* (userId, { from, to }) {
          const begin = from === undefined ? sql`now()` : sql`${inUtc(from)}::text::timestamptz`
          const end = to === undefined ? sql`${begin} + interval '24 hours'` : sql`${inUtc(to)}::text::timestamptz`
          const delivered = sql.literal("reminders->(n::int - 1)->>'delivered_at'")
          const rows = yield* Effect.orDie(sql<{
            readonly id: string
            readonly title: string
            readonly at: Date
            readonly delivered_at: string | null
          }>`
          select id, title, at, ${delivered} as delivered_at
          from tasks, unnest(reminder_times) with ordinality as reminder (at, n)
          where user_id = ${userId} and ${sql.literal(live)} and last_reminder_at >= ${begin}
            and at >= ${begin} and at < ${end} and (completed_at is null or ${delivered} is not null)
          order by at, id, n limit ${mostReminders}`)
          return rows.map(({ at, delivered_at, id, title }) => ({
            task_id: TaskId.make(id, { disableChecks: true }),
            title,
            at: at.toISOString(),
            delivered_at
          }))
        }),
        deliver: Effect.gen(function* () {
          let failure: Cause.Cause<never> | undefined
          /** Who has no more, or can't have it now. */
          const done = new Set<UserId>()
          // one turn of each user after the other, so that nobody waits for all that somebody else has
          let served = new Set<UserId>()
          while (true) {
            const found = yield* users(served)
            if (found.length === 0 && served.size === done.size) break
            if (found.length === 0) served = new Set(done)
            for (const { user_id } of found) {
              served.add(user_id)
              const exit = yield* Effect.exit(deliverSome(user_id))
              if (!Exit.isSuccess(exit) || !exit.value) done.add(user_id)
              if (Exit.isSuccess(exit)) continue
              failure = exit.cause
              // the others would have to wait for it in vain, too
              if (classify(Cause.squash(failure)) === "unavailable") return yield* Effect.failCause(failure)
            }
          }
          if (failure !== undefined) return yield* Effect.failCause(failure)
        })
      })
    })
  )
}
