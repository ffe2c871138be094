/** The query of a list of tasks. */
import { Schema } from "effect"
import { closed } from "../domain/Closed.ts"
import { LocalDate } from "../domain/Due.ts"
import { SentInstant } from "../domain/Instant.ts"
import { Flag, PriorityFilter, SearchText, Sort } from "../domain/TaskQuery.ts"
import { trimmed } from "../domain/Text.ts"
import { Cursor, Limit } from "./Pagination.ts"

export const ListQuery = closed({
  completed: Schema.optionalKey(Flag),
  deleted: Schema.optionalKey(Schema.Literal("true").annotate({ description: "the trash, instead of the live tasks" })),
  priority: Schema.optionalKey(PriorityFilter),
  tag: Schema.optionalKey(Schema.Array(trimmed(1, 50)).annotate({ description: "all of them, whatever their case" })),
  due_from: Schema.optionalKey(
    LocalDate.annotate({ description: "due on this day or later, in the user's time zone" })
  ),
  due_to: Schema.optionalKey(LocalDate.annotate({ description: "due on this day or earlier" })),
  overdue: Schema.optionalKey(Flag),
  updated_since: Schema.optionalKey(SentInstant.annotate({ description: "inclusive" })),
  q: Schema.optionalKey(SearchText),
  sort: Schema.optionalKey(Sort),
  limit: Schema.optionalKey(Limit),
  cursor: Schema.optionalKey(Cursor),
  count: Schema.optionalKey(Schema.Literal("exact").annotate({ description: "adds X-Total-Count" }))
})
export type ListQuery = typeof ListQuery.Type
