/**
 * Every problem this API can answer with: its status, its title, what it means and what a client should do.
 * `GET /problems/{code}` shows this page; the classes in Problems.ts are made from it.
 */
export interface ProblemEntry {
  readonly status: number
  readonly title: string
  readonly meaning: string
  readonly remedy: string
}

export const problemCatalog = {
  malformed_body: {
    status: 400,
    title: "The body can't be read",
    meaning: "The request's body is empty where one is required, is not valid JSON (RFC 8259), or is not valid UTF-8.",
    remedy: "Send one JSON value in UTF-8, without a byte order mark."
  },
  malformed_request: {
    status: 400,
    title: "The request can't be read",
    meaning: "What arrived is not a request of HTTP/1.1 (RFC 9112), for example with two lengths or without a host.",
    remedy: "Use an HTTP client, and look for a proxy that changes requests."
  },
  malformed_header: {
    status: 400,
    title: "A header can't be read",
    meaning: "A header of the request does not have the form that its specification gives.",
    remedy: "Send entity tags as they came in ETag, in double quotes, or *."
  },
  invalid_cursor: {
    status: 400,
    title: "The cursor is not valid here",
    meaning: "The cursor was cut or changed, belongs to another user, or was made for another filter or sort.",
    remedy: "Follow the Link header as it is, or start again without a cursor."
  },
  token_missing: {
    status: 401,
    title: "Authentication is required",
    meaning: "The request carries no bearer token, or more than one Authorization header.",
    remedy: "Log in and send the access token as `Authorization: Bearer <access_token>`."
  },
  token_invalid: {
    status: 401,
    title: "The access token is not valid",
    meaning:
      "The token was not issued for this API by this server or an issuer that it trusts, was changed, or its user " +
      "no longer exists.",
    remedy: "Log in again."
  },
  token_expired: {
    status: 401,
    title: "The access token has expired",
    meaning: "The token was valid until its `exp`.",
    remedy: "Exchange the refresh token for new tokens at /api/v1/auth/refresh, or get a new one where it comes from."
  },
  token_too_old: {
    status: 401,
    title: "The access token is too old for this",
    meaning: "What can't be undone wants a token of your identity provider that was issued in the last 5 minutes.",
    remedy: "Let the user log in again where the token comes from, and send the new token."
  },
  session_revoked: {
    status: 401,
    title: "The session was ended",
    meaning: "The session was ended by a logout, a password change, its owner, a newer login, or a restored backup.",
    remedy: "Log in again."
  },
  session_expired: {
    status: 401,
    title: "The session has expired",
    meaning: "The session was not refreshed in time, or has reached its absolute end.",
    remedy: "Log in again."
  },
  invalid_credentials: {
    status: 401,
    title: "The credentials are not valid",
    meaning: "There is no such account, or the password is another.",
    remedy: "Ask the user for both again. The answer never tells which of the two was wrong."
  },
  invalid_refresh_token: {
    status: 401,
    title: "The refresh token is not valid",
    meaning: "The token was not issued by this server, was changed, or its session no longer exists.",
    remedy: "Log in again."
  },
  refresh_token_reused: {
    status: 401,
    title: "The refresh token was used before",
    meaning:
      "The token was already exchanged, and not just now by a retry: it may have been stolen, so its session was ended.",
    remedy: "Log in again, and store the newest refresh token after each refresh."
  },
  forbidden: {
    status: 403,
    title: "Not allowed",
    meaning: "The user in the path is not the user of the access token.",
    remedy: "Use your own id in the path."
  },
  https_required: {
    status: 403,
    title: "HTTPS is required",
    meaning: "The request came by plain HTTP. What it carried may have been read on its way.",
    remedy: "Use https, and regard a token or password sent by http as known to others."
  },
  not_found: {
    status: 404,
    title: "Not found",
    meaning: "There is nothing at this path, or nothing that is yours.",
    remedy: "Check the path and the id."
  },
  method_not_allowed: {
    status: 405,
    title: "Method not allowed",
    meaning: "The path exists, but not with this method.",
    remedy: "Use one of the methods of the Allow header."
  },
  request_timeout: {
    status: 408,
    title: "The request came too slowly",
    meaning: "The headers did not arrive within 10 seconds, or the whole request not within 30.",
    remedy: "Send the request again."
  },
  email_taken: {
    status: 409,
    title: "The e-mail address is taken",
    meaning: "An account with this address exists.",
    remedy: "Log in, or register with another address."
  },
  username_taken: {
    status: 409,
    title: "The username is taken",
    meaning: "An account with this username exists.",
    remedy: "Choose another username."
  },
  external_account: {
    status: 409,
    title: "The account has no password here",
    meaning: "The user logs in at another issuer of tokens, which alone knows how.",
    remedy: "Change the password where the user logs in."
  },
  id_reused: {
    status: 409,
    title: "The id is in use",
    meaning: "A task of yours with this id exists and differs from the one sent.",
    remedy: "Make a new UUIDv7 for a new task; use PATCH to change the existing one."
  },
  idempotency_in_flight: {
    status: 409,
    title: "The first request with this key is still under way",
    meaning: "Another request of this user, perhaps with the same Idempotency-Key, has not ended within 2 seconds.",
    remedy: "Send the same request with the same key again after a moment."
  },
  batch_failed: {
    status: 409,
    title: "The batch was not done",
    meaning: "An operation of an atomic batch could not be done, so none was; `results` tells which, and why.",
    remedy: "Mend the operations that have a problem, or send the batch with the mode `partial`."
  },
  occurrence_mismatch: {
    status: 409,
    title: "The task is at another occurrence",
    meaning: "The occurrence that was named is neither the current one of the task nor one that was completed.",
    remedy: "Read the task and name the date of its `due`, or name no occurrence to complete the current one."
  },
  cursor_expired: {
    status: 410,
    title: "The cursor is of no use any more",
    meaning: "Deletions that this client would need to know of are no longer kept, or the server was set back to an " +
      "earlier state.",
    remedy: "Read the changes without `since` and replace the local copy by them."
  },
  stale_version: {
    status: 412,
    title: "The task has changed",
    meaning: "The task is no longer at the version that If-Match names. The current task is the member `current`.",
    remedy: "Apply the change to the current task and send it with the current ETag."
  },
  too_large: {
    status: 413,
    title: "The body is too large",
    meaning: "The request's body is longer than this endpoint accepts.",
    remedy: "Send less: 16 KiB for authentication, 1 MiB for bulk requests and batches, 128 KiB elsewhere."
  },
  unsupported_media_type: {
    status: 415,
    title: "The media type is not supported",
    meaning: "The body's Content-Type or Content-Encoding is not one that this endpoint reads.",
    remedy: "Send application/json, without a content encoding."
  },
  validation_failed: {
    status: 422,
    title: "The request is not valid",
    meaning:
      "The request could be read, but some of its values are not allowed. `errors` has an entry for each, up to 100.",
    remedy:
      "Correct what each entry of `errors` points at: a JSON Pointer into the body, or ?name for a query parameter."
  },
  wrong_password: {
    status: 422,
    title: "The current password is another",
    meaning: "The password sent to confirm this change is not the account's password.",
    remedy: "Ask the user for the current password again."
  },
  password_compromised: {
    status: 422,
    title: "The password is too easy to guess",
    meaning:
      "The password is among the first that an attacker tries: common, or derived from the account or this product.",
    remedy: "Ask the user for another password, for example several unrelated words."
  },
  idempotency_key_reused: {
    status: 422,
    title: "The Idempotency-Key belongs to another request",
    meaning: "A request with this key was done in the last 24 hours, but with another method, path, If-Match or body.",
    remedy: "Use a new key for each new request; send the same bytes again where the first answer got lost."
  },
  if_match_required: {
    status: 428,
    title: "If-Match is required",
    meaning: "This server changes a task only when the request names the version it means to change.",
    remedy: "Send the task's ETag in If-Match."
  },
  rate_limited: {
    status: 429,
    title: "Too many requests",
    meaning:
      "A limit is used up: RateLimit-Policy tells which one, how much it allows (q) and in how many seconds (w).",
    remedy: "Try again after the seconds in Retry-After; until then every request under this limit is refused."
  },
  headers_too_large: {
    status: 431,
    title: "The headers are too large",
    meaning: "The request line and the headers together are longer than 16 KiB.",
    remedy: "Send fewer or shorter headers."
  },
  internal: {
    status: 500,
    title: "Something went wrong here",
    meaning: "The server failed in a way that it did not foresee. The log has the cause under the request's id.",
    remedy: "Try again later; report the request_id if it stays so."
  },
  overloaded: {
    status: 503,
    title: "The server is busy",
    meaning: "The request took longer than it may, or waited longer than it may for a shared resource.",
    remedy: "Try again after the seconds in Retry-After. A write was done wholly or not at all: with the same " +
      "Idempotency-Key, or with an id of the client's own, it is safe to send it again."
  },
  database_unavailable: {
    status: 503,
    title: "The database does not answer",
    meaning: "The database can't be reached, or is starting or stopping.",
    remedy: "Try again after the seconds in Retry-After."
  }
} as const satisfies Record<string, ProblemEntry>

export type ProblemCode = keyof typeof problemCatalog
