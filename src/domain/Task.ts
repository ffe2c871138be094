import { Schema, SchemaTransformation } from "effect"
import { closed } from "./Closed.ts"
import { Due, DuePatch, LocalDate, ShownDue } from "./Due.ts"
import { Instant } from "./Instant.ts"
import { Recurrence, RecurrencePatch, SentRecurrence } from "./Recurrence.ts"
import { Reminder, SentReminders } from "./Reminder.ts"
import { nfc, trimmed } from "./Text.ts"
import { UserId } from "./User.ts"

const isTaskId = Schema.isUUID(7, { message: "must be a UUIDv7" })

/** A UUIDv7 (RFC 9562), made by the server or, so that a client can create tasks while offline, by the client. */
export const TaskId = Schema.String.check(isTaskId).pipe(Schema.brand("TaskId"))
  .annotate({
    examples: [Schema.decodeSync(Schema.String.pipe(Schema.brand("TaskId")))("0198f5a0-1c2d-7e3f-8a4b-5c6d7e8f9a0b")]
  })
export type TaskId = typeof TaskId.Type

/** An id as a request may have it: also in capitals, which are the same id (RFC 9562 4) and are stored in small letters. */
export const SentTaskId = Schema.String.check(isTaskId)
  .annotate({ examples: ["0198f5a0-1c2d-7e3f-8a4b-5c6d7e8f9a0b"] })
  .pipe(Schema.decodeTo(
    TaskId,
    SchemaTransformation.transform({ decode: (id: string) => id.toLowerCase(), encode: (id: string) => id })
  ))

/** From least to most urgent. */
export const priorities = ["none", "low", "medium", "high", "urgent"] as const
export const Priority = Schema.Literals(priorities)
export type Priority = typeof Priority.Type

const Title = trimmed(1, 200, { description: "white space around it is taken off", examples: ["Water the plants"] })
const Description = Schema.NullOr(nfc(0, 1_000, { examples: ["The ferns every other day"] }))

/** Tags that differ in nothing but case are one tag. */
const Tags = Schema.Array(trimmed(1, 50)).check(
  Schema.isMaxLength(20),
  Schema.makeFilter(
    (tags) => new Set(tags.map((tag) => tag.toLowerCase())).size === tags.length || "must differ in more than case",
    {
      toJsonSchema: () => ({ uniqueItems: true })
    }
  )
).annotate({ examples: [["home", "garden"]] })

/** The position of a change in its owner's own sequence of changes; every write takes the next one. */
export const Version = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))

/** A task as the changes tell of it. The database guarantees what the request schemas checked: nothing is checked again. */
export const ChangedTask = Schema.Struct({
  id: TaskId,
  user_id: UserId,
  title: Schema.String,
  description: Schema.NullOr(Schema.String),
  completed: Schema.Boolean,
  completed_at: Schema.NullOr(Instant),
  priority: Priority,
  tags: Schema.Array(Schema.String),
  due: Schema.NullOr(ShownDue),
  due_at: Schema.NullOr(Instant).annotate({ description: "the instant that `due` means; of a whole day its end" }),
  recurrence: Schema.NullOr(Recurrence),
  reminders: Schema.Array(Reminder),
  version: Schema.Int.annotate({ description: 'the owner\'s sequence at the last change; the ETag is "<version>"' }),
  created_at: Instant,
  updated_at: Instant,
  deleted_at: Schema.NullOr(Instant)
}).annotate({ identifier: "ChangedTask" })
export type ChangedTask = typeof ChangedTask.Type

/** A task as it is shown: what is only true for now is not told by changes. */
export const Task = Schema.Struct({
  ...ChangedTask.fields,
  overdue: Schema.Boolean.annotate({ description: "open, and `due_at` has come; no part of the ETag" })
}).annotate({ identifier: "Task" })
export type Task = typeof Task.Type

const members = {
  description: Schema.optionalKey(Description),
  priority: Schema.optionalKey(Priority),
  tags: Schema.optionalKey(Tags),
  due: Schema.optionalKey(Schema.NullOr(Due)),
  recurrence: Schema.optionalKey(Schema.NullOr(SentRecurrence)),
  reminders: Schema.optionalKey(SentReminders)
}

export const TaskCreate = closed({ id: Schema.optionalKey(SentTaskId), title: Title, ...members })
  .annotate({ identifier: "TaskCreate" })
export type TaskCreate = typeof TaskCreate.Type

/** Some members: those that are absent stay as they are. */
export const TaskUpdate = closed({
  title: Schema.optionalKey(Title),
  completed: Schema.optionalKey(Schema.Boolean),
  ...members
}).annotate({ identifier: "TaskUpdate" })
export type TaskUpdate = typeof TaskUpdate.Type

/** A merge patch (RFC 7396): absent members stay as they are, `null` returns a member to its default. */
export const TaskPatch = closed({
  title: Schema.optionalKey(Title),
  description: Schema.optionalKey(Description),
  completed: Schema.optionalKey(Schema.NullOr(Schema.Boolean)),
  priority: Schema.optionalKey(Schema.NullOr(Priority)),
  tags: Schema.optionalKey(Schema.NullOr(Tags)),
  due: Schema.optionalKey(Schema.NullOr(DuePatch)),
  recurrence: Schema.optionalKey(Schema.NullOr(RecurrencePatch)),
  reminders: Schema.optionalKey(Schema.NullOr(SentReminders))
}).annotate({ identifier: "TaskPatch" })
export type TaskPatch = typeof TaskPatch.Type

/** All members: those that are absent return to their defaults. */
export const TaskReplace = closed({ title: Title, completed: Schema.optionalKey(Schema.Boolean), ...members }).annotate(
  { identifier: "TaskReplace" }
)
export type TaskReplace = typeof TaskReplace.Type

/** What `/complete` is told: of a task that recurs, `occurrence` is the date of the `due` that is meant. */
export const SentCompletion = closed({
  completed: Schema.optionalKey(Schema.Boolean),
  occurrence: Schema.optionalKey(LocalDate)
}).annotate({ identifier: "Completion" })
export type SentCompletion = typeof SentCompletion.Type

/** What a task is when its creator says nothing. */
export const defaults = {
  description: null,
  completed: false,
  priority: "none",
  tags: [],
  due: null,
  recurrence: null,
  reminders: []
} as const satisfies TaskUpdate

/** What changes of a task: the due date and the recurrence as merge patches of those that there are (RFC 7396). */
export interface TaskChange extends Omit<TaskUpdate, "due" | "recurrence"> {
  readonly due?: DuePatch | null
  readonly recurrence?: RecurrencePatch | null
}

/** Members that are sent as a whole: what they leave out of a due date or a recurrence is not to be there. */
export const fromWhole = ({ due, recurrence, ...members }: TaskUpdate): TaskChange => ({
  ...members,
  ...(due !== undefined && { due: due && { time: null, time_zone: null, ...due } }),
  ...(recurrence !== undefined && {
    recurrence: recurrence && { anchor: null, month_end: null, missed: null, ...recurrence }
  })
})

/** `null` in a merge patch returns a member to its default (RFC 7396). */
export const fromPatch = (patch: TaskPatch): TaskChange =>
  Object.fromEntries(
    Object.entries(patch).map(([member, value]) => [member, value ?? defaults[member as keyof typeof defaults]])
  )
