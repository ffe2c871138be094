/** The feed of a user's changes, in the canonical and in the user-scoped family of paths. */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { closed } from "../domain/Closed.ts"
import { ChangedTask } from "../domain/Task.ts"
import { text } from "../domain/Text.ts"
import { Authorization, NotReserved, OwnPath } from "./Authorization.ts"
import { Cursor, integerParameter, wholeNumber } from "./Pagination.ts"
import { CursorExpired, InvalidCursor } from "./Problems.ts"
import { UserLimit } from "./RateLimits.ts"
import { NoQuery } from "./Requests.ts"

export const ChangesQuery = closed({
  since: Schema.optionalKey(Cursor),
  limit: Schema.optionalKey(wholeNumber(1, 500))
})
export type ChangesQuery = typeof ChangesQuery.Type

/** Changes in the order of their versions, and where the next read goes on. */
export const ChangesPage = Schema.Struct({
  changes: Schema.Array(ChangedTask),
  cursor: Schema.String.annotate({ description: "`since` of the next read; worth keeping also when nothing changed" }),
  has_more: Schema.Boolean
}).annotate({ identifier: "ChangesPage" })
export type ChangesPage = typeof ChangesPage.Type

/** An event of the stream; its id is a cursor. After `resync` the client reads everything again. */
export const ChangeEvent = Schema.Union([
  Schema.Struct({
    event: Schema.tag("change"),
    id: Schema.optional(Schema.String),
    data: Schema.fromJsonString(ChangedTask).annotate({ identifier: undefined, description: "a task, as JSON" })
  }),
  Schema.Struct({
    event: Schema.tag("resync"),
    id: Schema.optional(Schema.String),
    data: Schema.fromJsonString(Schema.Struct({}))
  })
]).annotate({ identifier: "ChangeEvent" })

/** The endpoints that both families share, for a family whose paths have these parameters. */
const shared = <const Scope extends Schema.Struct.Fields>(scope: Scope) => ({
  list: HttpApiEndpoint.get("list", "/", {
    params: scope,
    query: ChangesQuery,
    success: ChangesPage,
    error: [InvalidCursor, CursorExpired]
  }).annotateMerge(integerParameter("limit", 1, 500, 100)).annotateMerge(OpenApi.annotations({
    summary: "Read what changed",
    description: "Each task that changed after the cursor `since`, once, in its latest state, in the order of " +
      "`version`; a deleted one has `deleted_at`. Without `since`: every live task."
  })),
  stream: HttpApiEndpoint.get("stream", "/stream", {
    params: scope,
    query: NoQuery,
    headers: {
      "last-event-id": Schema.optionalKey(Schema.String.annotate({
        description: "a cursor: the id of the last event that the client has; without it the stream begins now"
      }))
    },
    success: HttpApiSchema.StreamSse({ events: ChangeEvent }),
    error: InvalidCursor
  }).annotateMerge(OpenApi.annotations({
    summary: "Follow what changes",
    description: "Server-sent events: `change` with a task, `resync` where the client has to read everything again. " +
      "Silence is filled with a comment every 15 s. The stream ends with its session."
  }))
})

const canonical = shared({})
export class ChangesApi extends HttpApiGroup.make("changes").add(canonical.list, canonical.stream)
  .middleware(UserLimit).middleware(Authorization).prefix("/api/v1/changes").annotateMerge(OpenApi.annotations({
    title: "Changes",
    description: "What a client that keeps a copy of the tasks reads."
  })) {}

const scoped = shared({ user_id: text({ description: "the id of the user of the access token" }) })
export class UserChangesApi extends HttpApiGroup.make("userChanges").add(scoped.list, scoped.stream)
  .middleware(UserLimit).middleware(OwnPath).middleware(Authorization).middleware(NotReserved)
  .prefix("/api/:user_id/changes").annotateMerge(OpenApi.annotations({
    title: "Changes (user-scoped paths)",
    description: "The same changes, under the user's id."
  })) {}
