/** The handlers of the task endpoints, written once; the families differ in PUT and DELETE alone. */
import { Effect, Layer } from "effect"
import { HttpServerRequest } from "effect/http"
import { HttpApiBuilder, HttpApiSchema } from "effect/http-api"
import { Api } from "../api/Api.ts"
import { CurrentUser } from "../api/Authorization.ts"
import { Replay } from "../api/Idempotency.ts"
import type { Batch, BulkCompletion, BulkDeletion } from "../api/TaskBulk.ts"
import type { OccurrencesQuery, RemindersQuery } from "../api/TaskDates.ts"
import type { ListQuery } from "../api/TaskListQuery.ts"
import { CreatedTask, NotModified } from "../api/TasksApi.ts"
import { entityTags } from "../domain/EntityTags.ts"
import {
  defaults,
  fromPatch,
  fromWhole,
  type SentCompletion,
  type TaskChange,
  type TaskCreate,
  type TaskId,
  type TaskPatch,
  type TaskReplace,
  type TaskUpdate
} from "../domain/Task.ts"
import { requestTarget } from "../http/RequestTarget.ts"
import { Reminders } from "./Reminders.ts"
import { Statistics } from "./Statistics.ts"
import { TaskBatches } from "./TaskBatches.ts"
import { TaskOccurrences } from "./TaskOccurrences.ts"
import { Tasks } from "./Tasks.ts"

interface One {
  readonly params: { readonly id: TaskId }
  readonly headers: { readonly "if-match"?: string }
}

/** Path and query of this request, as the client sees them. */
const target = Effect.map(HttpServerRequest.HttpServerRequest, requestTarget)

/** A write that was done before under the same key is answered as then. */
const once = <Request, A, E, R>(write: (request: Request) => Effect.Effect<A, E, R>) =>
  Effect.fnUntraced(function* (request: Request) {
    const { answer } = yield* Replay
    return (yield* answer) ?? (yield* write(request))
  })

const handlers = Effect.gen(function* () {
  const tasks = yield* Tasks
  const batches = yield* TaskBatches
  const statistics = yield* Statistics
  const occurrences = yield* TaskOccurrences
  const reminders = yield* Reminders

  const update = Effect.fnUntraced(function* ({ headers, params }: One, members: TaskChange) {
    const user = yield* CurrentUser
    return yield* tasks.update(user.id, params.id, members, headers["if-match"])
  })

  return {
    list: Effect.fnUntraced(function* ({ query }: { readonly query: ListQuery }) {
      const user = yield* CurrentUser
      const { next, tasks: body, total } = yield* tasks.list(user.id, query)
      const { path, query: asked } = yield* target
      const parameters = new URLSearchParams(asked)
      if (next !== undefined) parameters.set("cursor", next)
      return HttpApiSchema.withHeaders({
        body,
        headers: {
          ...(next !== undefined && { link: `<${path}?${parameters}>; rel="next"` }),
          ...(total !== undefined && { "x-total-count": total })
        }
      })
    }),
    create: once(Effect.fnUntraced(function* ({ payload }: { readonly payload: TaskCreate }) {
      const user = yield* CurrentUser
      const { created, task } = yield* tasks.create(user.id, payload)
      if (!created) return task
      return new CreatedTask({ task, location: `${(yield* target).path.replace(/\/+$/, "")}/${task.id}` })
    })),
    get: Effect.fnUntraced(function* ({ headers, params }: {
      readonly params: { readonly id: TaskId }
      readonly headers: { readonly "if-none-match"?: string }
    }) {
      const user = yield* CurrentUser
      const task = yield* tasks.get(user.id, params.id)
      if (headers["if-none-match"] === undefined) return task
      const { any, versions } = entityTags(headers["if-none-match"], "matches")
      return any || versions.includes(task.version) ? new NotModified({ etag: `"${task.version}"` }) : task
    }),
    patch: once((request: One & { readonly payload: TaskPatch }) => update(request, fromPatch(request.payload))),
    complete: once(
      Effect.fnUntraced(function* ({ headers, params, payload }: One & { readonly payload: SentCompletion }) {
        const user = yield* CurrentUser
        return yield* tasks.complete(user.id, params.id, payload, headers["if-match"])
      })
    ),
    restore: once(Effect.fnUntraced(function* ({ headers, params }: One) {
      const user = yield* CurrentUser
      return yield* tasks.restore(user.id, params.id, headers["if-match"])
    })),
    occurrences: Effect.fnUntraced(function* ({ params, query }: {
      readonly params: { readonly id: TaskId }
      readonly query: typeof OccurrencesQuery.Type
    }) {
      const user = yield* CurrentUser
      return yield* occurrences.of(user.id, params.id, query.next)
    }),
    reminders: Effect.fnUntraced(function* ({ query }: { readonly query: RemindersQuery }) {
      const user = yield* CurrentUser
      return yield* reminders.between(user.id, query)
    }),
    stats: () => Effect.flatMap(CurrentUser, (user) => statistics.of(user.id)),
    bulkComplete: once(Effect.fnUntraced(function* ({ payload }: { readonly payload: typeof BulkCompletion.Type }) {
      const user = yield* CurrentUser
      return yield* batches.complete(user.id, payload.ids, payload.completed ?? true)
    })),
    bulkDelete: once(Effect.fnUntraced(function* ({ payload }: { readonly payload: typeof BulkDeletion.Type }) {
      const user = yield* CurrentUser
      return yield* batches.remove(user.id, payload.ids)
    })),
    batch: (deleted: 200 | 204) =>
      once(Effect.fnUntraced(function* ({ payload }: { readonly payload: Batch }) {
        const user = yield* CurrentUser
        return { results: yield* batches.run(user.id, payload, deleted) }
      })),
    update,
    remove: Effect.fnUntraced(function* ({ headers, params }: One) {
      const user = yield* CurrentUser
      yield* tasks.remove(user.id, params.id, headers["if-match"])
    })
  }
})

const canonical = HttpApiBuilder.group(
  Api,
  "tasks",
  Effect.fnUntraced(function* (group) {
    const { batch, remove, update, ...shared } = yield* handlers
    return group.handleAll({
      ...shared,
      batch: batch(200),
      put: once((request: One & { readonly payload: TaskUpdate }) => update(request, fromWhole(request.payload))),
      delete: once((request: One) => Effect.as(remove(request), { message: "Task deleted successfully" }))
    })
  })
)

const userScoped = HttpApiBuilder.group(
  Api,
  "userTasks",
  Effect.fnUntraced(function* (group) {
    const { batch, remove, update, ...shared } = yield* handlers
    return group.handleAll({
      ...shared,
      batch: batch(204),
      put: once((request: One & { readonly payload: TaskReplace }) =>
        update(request, fromWhole({ ...defaults, ...request.payload }))
      ),
      delete: once(remove)
    })
  })
)

export const layer = Layer.mergeAll(canonical, userScoped)
