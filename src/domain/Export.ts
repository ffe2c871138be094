/** Everything stored of one user, as the user may take it away (GDPR article 20). */
import { Schema } from "effect"
import { Instant } from "./Instant.ts"
import { SessionId } from "./Session.ts"
import { ChangedTask, TaskId } from "./Task.ts"
import { User } from "./User.ts"

const seriesStart = Schema.String.annotate({ format: "date", description: "the due date that the series began with" })
const seriesNumber = Schema.Int.annotate({ description: "of the occurrence in its series, from 1" })

/** A session as it is stored, live or ended, without what its refresh tokens are made with. */
export const StoredSession = Schema.Struct({
  id: SessionId,
  generation: Schema.Int.annotate({ description: "how often it was refreshed" }),
  rotated_at: Schema.NullOr(Instant),
  revoked_at: Schema.NullOr(Instant),
  revoked_reason: Schema.NullOr(Schema.String),
  created_at: Instant,
  last_used_at: Instant,
  expires_at: Instant,
  absolute_expires_at: Instant,
  user_agent: Schema.NullOr(Schema.String),
  ip: Schema.NullOr(Schema.String)
}).annotate({ identifier: "StoredSession" })

/** Where an account of an external issuer comes from. */
export const StoredIdentity = Schema.Struct({ issuer: Schema.String, subject: Schema.String, created_at: Instant })

/** A task as it is stored, live or deleted, with where it is in its series where it recurs. */
export const StoredTask = Schema.Struct({
  ...ChangedTask.fields,
  series_start: Schema.NullOr(seriesStart),
  series_number: Schema.NullOr(seriesNumber)
}).annotate({ identifier: "StoredTask" })
export type StoredTask = typeof StoredTask.Type

/** One completion of a recurring task. */
export const StoredOccurrence = Schema.Struct({
  task_id: TaskId,
  version: Schema.Int,
  occurrence: Schema.String.annotate({ format: "date" }),
  due_at: Instant,
  completed_at: Instant,
  series_start: seriesStart,
  series_number: seriesNumber
})

/** The answer that is kept for a retry with an `Idempotency-Key`. */
export const StoredAnswer = Schema.Struct({
  key: Schema.String,
  status: Schema.Int,
  headers: Schema.Record(Schema.String, Schema.String),
  body: Schema.String,
  created_at: Instant
})

/** All of it at one moment; `tasks` has the deleted ones too, as long as they are kept. */
export const Export = Schema.Struct({
  exported_at: Instant,
  user: User,
  identities: Schema.Array(StoredIdentity),
  sessions: Schema.Array(StoredSession),
  sequence: Schema.Struct({ last_version: Schema.Int, purged_version: Schema.Int }),
  tasks: Schema.Array(StoredTask),
  task_occurrences: Schema.Array(StoredOccurrence),
  idempotency_keys: Schema.Array(StoredAnswer)
}).annotate({ identifier: "Export" })
export type Export = typeof Export.Type
