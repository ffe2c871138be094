/** Tasks, in the canonical and in the user-scoped family of paths. */
import { Context, Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { EntityTagsHeader } from "../domain/EntityTags.ts"
import { SentCompletion, SentTaskId, Task, TaskCreate, TaskPatch, TaskReplace, TaskUpdate } from "../domain/Task.ts"
import { text } from "../domain/Text.ts"
import { Authorization, NotReserved, OwnPath } from "./Authorization.ts"
import { idempotencyKey, Idempotent } from "./Idempotency.ts"
import { defaultLimit, integerParameter, LinkHeader, TotalCountHeader } from "./Pagination.ts"
import {
  IdReused,
  IfMatchRequired,
  InvalidCursor,
  NotFound,
  OccurrenceMismatch,
  StaleVersion,
  ValidationFailed
} from "./Problems.ts"
import { UserLimit, UserPolicies } from "./RateLimits.ts"
import { ListQuery } from "./TaskListQuery.ts"
import {
  Batch,
  BatchFailed,
  BatchResults,
  bulkBody,
  BulkCompleted,
  BulkCompletion,
  BulkDeleted,
  BulkDeletion
} from "./TaskBulk.ts"
import {
  defaultNext,
  DueReminder,
  mostNext,
  mostReminders,
  Occurrences,
  OccurrencesQuery,
  RemindersQuery
} from "./TaskDates.ts"
import { TaskStatistics } from "./TaskStatistics.ts"
import {
  BodyLimit,
  bodyOptional,
  FormedHeaders,
  manyTime,
  Message,
  NoQuery,
  RequestBody,
  TimeLimit
} from "./Requests.ts"

const ETag = Schema.String.annotate({ description: "the task's version in double quotes" })
const etag = (task: Task) => `"${task.version}"`

/** A task with its ETag. */
const TaskWithEtag = Task.pipe(HttpApiSchema.encodeToWithHeaders({ body: Task, headers: { etag: ETag } }, {
  decode: ({ body }) => body,
  encode: (task) => ({ body: task, headers: { etag: etag(task) } })
}))

/** A task that this request created, and where it is. */
export class CreatedTask extends Schema.Class<CreatedTask>("CreatedTask")({ task: Task, location: Schema.String }) {}
const Created = CreatedTask.pipe(HttpApiSchema.encodeToWithHeaders(
  { body: Task.pipe(HttpApiSchema.status(201)), headers: { etag: ETag, location: Schema.String } },
  {
    decode: ({ body, headers }) => new CreatedTask({ task: body, location: headers.location }),
    encode: ({ location, task }) => ({ body: task, headers: { etag: etag(task), location } })
  }
))

/** The client has the task as it is. */
export class NotModified extends Schema.Class<NotModified>("NotModified")({ etag: Schema.String }) {}
const Unchanged = NotModified.pipe(HttpApiSchema.encodeToWithHeaders(
  { body: HttpApiSchema.Empty(304), headers: { etag: ETag } },
  {
    decode: ({ headers }) => new NotModified(headers),
    encode: ({ etag }) => ({ body: undefined, headers: { etag } })
  }
))

const writeHeaders = {
  ...idempotencyKey,
  "if-match": Schema.optionalKey(EntityTagsHeader.annotate({
    description: "entity tags, or *: the task is changed only at one of these versions (RFC 9110 13.1.1)"
  }))
}
const ifNoneMatch = {
  "if-none-match": Schema.optionalKey(EntityTagsHeader.annotate({
    description: "entity tags, or *: the task is sent only at another version (RFC 9110 13.1.2)"
  }))
}

/** What requests that write many tasks may take. */
const ofMany = Context.make(BodyLimit, bulkBody).pipe(
  Context.add(TimeLimit, manyTime),
  Context.add(UserPolicies, ["requests", "bulk"])
)

const preconditions = [StaleVersion, IfMatchRequired] as const
/** What a change of dates can be refused for, once the task is known. */
const dated = [ValidationFailed, OccurrenceMismatch] as const
const TaskMergePatch = TaskPatch.pipe(HttpApiSchema.asJson({ contentType: "application/merge-patch+json" }))
  .annotate({ identifier: "TaskMergePatch" })
const summary = (summary: string, description?: string) =>
  OpenApi.annotations({ summary, ...(description !== undefined && { description }) })

/** The endpoints that both families share, for a family whose paths have these parameters. */
const shared = <const Scope extends Schema.Struct.Fields>(scope: Scope) => {
  const one = { ...scope, id: SentTaskId }
  return {
    list: HttpApiEndpoint.get("list", "/", {
      params: scope,
      query: ListQuery,
      success: HttpApiSchema.WithHeaders(Schema.Array(Task), {
        link: Schema.optionalKey(LinkHeader),
        "x-total-count": Schema.optionalKey(TotalCountHeader)
      }),
      error: InvalidCursor
    }).annotateMerge(integerParameter("limit", 1, 100, defaultLimit)).annotateMerge(
      summary("List tasks", "Newest first, in pages; `Link` carries the next one.")
    ),
    create: HttpApiEndpoint.post("create", "/", {
      params: scope,
      query: NoQuery,
      headers: idempotencyKey,
      payload: TaskCreate,
      success: [Created, TaskWithEtag],
      error: [IdReused, ValidationFailed]
    }).middleware(Idempotent).middleware(FormedHeaders).middleware(RequestBody).annotateMerge(summary(
      "Create a task",
      "With an `id` of the client's own, a retry of the same body is answered 200 with the stored task."
    )),
    get: HttpApiEndpoint.get("get", "/:id", {
      params: one,
      query: NoQuery,
      headers: ifNoneMatch,
      success: [TaskWithEtag, Unchanged],
      error: NotFound
    }).middleware(FormedHeaders).annotateMerge(summary("Read a task")),
    patch: HttpApiEndpoint.patch("patch", "/:id", {
      params: one,
      query: NoQuery,
      headers: writeHeaders,
      payload: [TaskPatch, TaskMergePatch],
      success: TaskWithEtag,
      error: [NotFound, ...preconditions, ...dated]
    }).middleware(Idempotent).middleware(FormedHeaders).middleware(RequestBody).annotateMerge(
      summary("Change a task", "A merge patch (RFC 7396).")
    ),
    complete: HttpApiEndpoint.patch("complete", "/:id/complete", {
      params: one,
      query: NoQuery,
      headers: writeHeaders,
      payload: SentCompletion,
      success: TaskWithEtag,
      error: [NotFound, ...preconditions, ...dated]
    }).middleware(Idempotent).middleware(FormedHeaders).middleware(RequestBody).annotateMerge(bodyOptional)
      .annotateMerge(summary(
        "Complete or reopen a task",
        "Sets, never toggles: no body and `{}` complete it. A task that recurs goes on to its next occurrence, or back to the last."
      )),
    restore: HttpApiEndpoint.post("restore", "/:id/restore", {
      params: one,
      query: NoQuery,
      headers: writeHeaders,
      success: TaskWithEtag,
      error: [NotFound, ...preconditions]
    }).middleware(Idempotent).middleware(FormedHeaders).annotateMerge(
      summary("Restore a deleted task", "Within 30 days of its deletion.")
    ),
    stats: HttpApiEndpoint.get("stats", "/stats", { params: scope, query: NoQuery, success: TaskStatistics })
      .annotate(TimeLimit, manyTime).annotateMerge(
        summary("Count tasks", "Of live tasks; days are those of the user's time zone.")
      ),
    reminders: HttpApiEndpoint.get("reminders", "/reminders", {
      params: scope,
      query: RemindersQuery,
      success: Schema.Array(DueReminder)
    }).annotateMerge(summary(
      "List reminders",
      `In the order of their times: those that were delivered, and those that will be. At most ${mostReminders}.`
    )),
    occurrences: HttpApiEndpoint.get("occurrences", "/:id/occurrences", {
      params: one,
      query: OccurrencesQuery,
      success: Occurrences,
      error: NotFound
    }).annotateMerge(integerParameter("next", 0, mostNext, defaultNext)).annotateMerge(
      summary("List the occurrences of a task that recurs", "What was completed, and what comes after the current one.")
    ),
    bulkComplete: HttpApiEndpoint.post("bulkComplete", "/bulk/complete", {
      params: scope,
      query: NoQuery,
      headers: idempotencyKey,
      payload: BulkCompletion,
      success: BulkCompleted
    }).middleware(Idempotent).middleware(FormedHeaders).middleware(RequestBody).annotateMerge(ofMany).annotateMerge(
      summary("Complete or reopen many tasks", "Those of others count as not found.")
    ),
    bulkDelete: HttpApiEndpoint.post("bulkDelete", "/bulk/delete", {
      params: scope,
      query: NoQuery,
      headers: idempotencyKey,
      payload: BulkDeletion,
      success: BulkDeleted
    }).middleware(Idempotent).middleware(FormedHeaders).middleware(RequestBody).annotateMerge(ofMany).annotateMerge(
      summary("Delete many tasks", "Those of others count as not found.")
    ),
    batch: HttpApiEndpoint.post("batch", "/batch", {
      params: scope,
      query: NoQuery,
      headers: idempotencyKey,
      payload: Batch,
      success: BatchResults,
      error: BatchFailed
    }).middleware(Idempotent).middleware(FormedHeaders).middleware(RequestBody).annotateMerge(ofMany).annotateMerge(
      summary("Do up to 100 writes in order", "All of them or none, or those that can be done.")
    )
  }
}

const deletion = {
  query: NoQuery,
  headers: writeHeaders,
  error: [NotFound, ...preconditions] as const
}

const canonical = shared({})
export class TasksApi extends HttpApiGroup.make("tasks").add(
  canonical.list,
  canonical.stats,
  canonical.reminders,
  canonical.create,
  canonical.get,
  HttpApiEndpoint.put("put", "/:id", {
    params: { id: SentTaskId },
    query: NoQuery,
    headers: writeHeaders,
    payload: TaskUpdate,
    success: TaskWithEtag,
    error: [NotFound, ...preconditions, ...dated]
  }).middleware(Idempotent).middleware(FormedHeaders).middleware(RequestBody).annotateMerge(
    summary("Change a task", "Absent members stay as they are.")
  ),
  canonical.patch,
  HttpApiEndpoint.delete("delete", "/:id", { params: { id: SentTaskId }, ...deletion, success: Message })
    .middleware(Idempotent).middleware(FormedHeaders).annotateMerge(
      summary("Delete a task", "It can be restored for 30 days.")
    ),
  canonical.complete,
  canonical.occurrences,
  canonical.restore,
  canonical.bulkComplete,
  canonical.bulkDelete,
  canonical.batch
).middleware(UserLimit).middleware(Authorization).prefix("/api/v1/tasks").annotateMerge(OpenApi.annotations({
  title: "Tasks",
  description: "The tasks of the user of the access token."
})) {}

const scope = { user_id: text({ description: "the id of the user of the access token" }) }
const scoped = shared(scope)
export class UserTasksApi extends HttpApiGroup.make("userTasks").add(
  scoped.list,
  scoped.stats,
  scoped.reminders,
  scoped.create,
  scoped.get,
  HttpApiEndpoint.put("put", "/:id", {
    params: { ...scope, id: SentTaskId },
    query: NoQuery,
    headers: writeHeaders,
    payload: TaskReplace,
    success: TaskWithEtag,
    error: [NotFound, ...preconditions, ...dated]
  }).middleware(Idempotent).middleware(FormedHeaders).middleware(RequestBody).annotateMerge(
    summary("Replace a task", "Absent members return to their defaults.")
  ),
  scoped.patch,
  HttpApiEndpoint.delete("delete", "/:id", {
    params: { ...scope, id: SentTaskId },
    ...deletion,
    success: HttpApiSchema.NoContent
  }).middleware(Idempotent).middleware(FormedHeaders).annotateMerge(
    summary("Delete a task", "It can be restored for 30 days.")
  ),
  scoped.complete,
  scoped.occurrences,
  scoped.restore,
  scoped.bulkComplete,
  scoped.bulkDelete,
  scoped.batch
).middleware(UserLimit).middleware(OwnPath).middleware(Authorization).middleware(NotReserved)
  .prefix("/api/:user_id/tasks").annotateMerge(OpenApi.annotations({
    title: "Tasks (user-scoped paths)",
    description: "The same tasks, under the user's id."
  })) {}
