/** What a user's tasks are like, in numbers. */
import { Schema } from "effect"
import { priorities, type Priority } from "../domain/Task.ts"

const Counts = { open: Schema.Int, completed: Schema.Int }

const byPriority = Object.fromEntries(priorities.map((priority) => [priority, Schema.Struct(Counts)])) as {
  readonly [Key in Priority]: Schema.Struct<typeof Counts>
}

/** Of the live tasks; days are those of the user's time zone. */
export const TaskStatistics = Schema.Struct({
  total: Schema.Int,
  ...Counts,
  overdue: Schema.Int.annotate({ description: "open, and their time has come" }),
  due_today: Schema.Int.annotate({ description: "open, and due on this day" }),
  completion_rate: Schema.NullOr(Schema.Finite).annotate({ description: "0 to 1; null where there is no task" }),
  by_priority: Schema.Struct(byPriority),
  by_tag: Schema.Array(Schema.Struct({ tag: Schema.String, ...Counts })).annotate({
    description: "the 50 tags with the most tasks, whatever their case"
  }),
  completed_by_day: Schema.Array(Schema.Struct({ date: Schema.String.annotate({ format: "date" }), count: Schema.Int }))
    .annotate({
      description: "the last 30 days, oldest first"
    })
}).annotate({ identifier: "TaskStatistics" })
export type TaskStatistics = typeof TaskStatistics.Type
