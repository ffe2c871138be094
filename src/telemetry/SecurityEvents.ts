import { Effect } from "effect"
import { RequestInfo } from "../http/RequestInfo.ts"

/** What an operator wants to find again (ASVS 16.3): who did what, or failed to. */
export type SecurityEvent =
  | "registered"
  | "logged_in"
  | "login_failed"
  | "logged_out"
  | "logged_out_others"
  | "logged_out_everywhere"
  | "session_ended"
  | "refresh_token_reused"
  | "password_changed"
  | "confirmation_failed"
  | "account_deleted"
  | "exported"
  | "forbidden"
  | "rate_limited"

/**
 * One log line with who, what, and from where; the time and the request's id come with every line. `userId` is null
 * where the account does not exist. Never give it what was typed: a password is easily typed into the wrong field.
 */
export const securityEvent = (event: SecurityEvent, userId: string | null, sessionId?: string) =>
  Effect.flatMap(RequestInfo, ({ address, userAgent }) =>
    Effect.logInfo("security event").pipe(Effect.annotateLogs({
      event,
      user_id: userId,
      address: address ?? null,
      user_agent: userAgent ?? null,
      ...(sessionId !== undefined && { session_id: sessionId })
    })))
