import { Schema } from "effect"
import { Instant } from "./Instant.ts"

/** One login. An access token names it (`sid`), a refresh token belongs to it; when it ends, both are refused. */
export const SessionId = Schema.String.check(Schema.isUUID()).pipe(Schema.brand("SessionId"))
export type SessionId = typeof SessionId.Type

/** A live session as its user sees it. */
export const Session = Schema.Struct({
  id: SessionId,
  current: Schema.Boolean.annotate({ description: "whether this request was made with it" }),
  created_at: Instant,
  // the login or the last refresh
  last_used_at: Instant,
  // unless it is refreshed before
  expires_at: Instant,
  user_agent: Schema.NullOr(Schema.String),
  ip: Schema.NullOr(Schema.String)
}).annotate({ identifier: "Session" })
export type Session = typeof Session.Type
