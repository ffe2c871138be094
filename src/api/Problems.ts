/** Every failure as a typed RFC 9457 problem: one class, one code, one status. */
import { Context, Effect, Schema, SchemaGetter } from "effect"
import { HttpApiError, HttpApiSchema } from "effect/http-api"
import { Task } from "../domain/Task.ts"
import { problemCatalog, type ProblemCode } from "./ProblemCatalog.ts"

/** The id that the request's answer and its log lines carry. */
export const RequestId = Context.Reference<string>("tasks-api/api/Problems/RequestId", { defaultValue: () => "-" })

/** Absent while a problem travels through the code, set when it is encoded, so that no failure can forget it. */
const requestId = Schema.String.pipe(
  Schema.decodeTo(Schema.UndefinedOr(Schema.String), {
    decode: SchemaGetter.passthroughSupertype(),
    encode: SchemaGetter.withDefault(Effect.map(RequestId, (id) => id))
  }),
  Schema.withConstructorDefault(Effect.succeed(undefined))
)

/** Makes the class of a problem, with members of its own. */
export const problem =
  <Self>() =>
  <const Code extends ProblemCode, const Fields extends Schema.Struct.Fields = Record<never, never>>(
    code: Code,
    fields?: Fields
  ) => {
    const entry: (typeof problemCatalog)[Code] = problemCatalog[code]
    return HttpApiError.Problem<Self>()(code, {
      type: `/problems/${code}` as const,
      status: entry.status as (typeof problemCatalog)[Code]["status"],
      title: entry.title as string
    }, {
      code: Schema.Literal(code).pipe(Schema.withConstructorDefault(Effect.succeed(code))),
      request_id: requestId,
      detail: Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed(entry.meaning))),
      ...fields as Fields
    })
  }

/** One fault of a request: where it is, a stable code, and words for a developer. */
export const Fault = Schema.Struct({
  pointer: Schema.String.annotate({
    description:
      "a JSON Pointer into the body (RFC 6901), ?name for a query parameter, or {name} for a part of the path"
  }),
  code: Schema.String,
  detail: Schema.String
}).annotate({ identifier: "Fault" })
export type Fault = typeof Fault.Type

export class MalformedBody extends problem<MalformedBody>()("malformed_body") {}
export class MalformedHeader extends problem<MalformedHeader>()("malformed_header") {}
export class InvalidCursor extends problem<InvalidCursor>()("invalid_cursor") {}
export class TokenMissing extends problem<TokenMissing>()("token_missing") {}
export class TokenInvalid extends problem<TokenInvalid>()("token_invalid") {}
export class TokenExpired extends problem<TokenExpired>()("token_expired") {}
export class TokenTooOld extends problem<TokenTooOld>()("token_too_old") {}
export class SessionRevoked extends problem<SessionRevoked>()("session_revoked") {}
export class SessionExpired extends problem<SessionExpired>()("session_expired") {}
export class InvalidCredentials extends problem<InvalidCredentials>()("invalid_credentials") {}
export class InvalidRefreshToken extends problem<InvalidRefreshToken>()("invalid_refresh_token") {}
export class RefreshTokenReused extends problem<RefreshTokenReused>()("refresh_token_reused") {}
export class Forbidden extends problem<Forbidden>()("forbidden") {}
export class HttpsRequired extends problem<HttpsRequired>()("https_required") {}
export class NotFound extends problem<NotFound>()("not_found") {}
export class MethodNotAllowed extends problem<MethodNotAllowed>()("method_not_allowed") {}
export class EmailTaken extends problem<EmailTaken>()("email_taken") {}
export class UsernameTaken extends problem<UsernameTaken>()("username_taken") {}
export class ExternalAccount extends problem<ExternalAccount>()("external_account") {}
export class OccurrenceMismatch extends problem<OccurrenceMismatch>()("occurrence_mismatch") {}
export class IdReused extends problem<IdReused>()("id_reused") {}
export class IdempotencyInFlight extends problem<IdempotencyInFlight>()("idempotency_in_flight") {}
export class CursorExpired extends problem<CursorExpired>()("cursor_expired") {}
export class StaleVersion extends problem<StaleVersion>()("stale_version", { current: Task }) {}
export class TooLarge extends problem<TooLarge>()("too_large") {}
export class UnsupportedMediaType extends problem<UnsupportedMediaType>()("unsupported_media_type") {}
export class ValidationFailed
  extends problem<ValidationFailed>()("validation_failed", { errors: Schema.Array(Fault) }) {}
export class WrongPassword extends problem<WrongPassword>()("wrong_password") {}
export class PasswordCompromised
  extends problem<PasswordCompromised>()("password_compromised", { errors: Schema.Array(Fault) }) {}
export class IdempotencyKeyReused extends problem<IdempotencyKeyReused>()("idempotency_key_reused") {}
export class IfMatchRequired extends problem<IfMatchRequired>()("if_match_required") {}
export class RateLimited extends problem<RateLimited>()("rate_limited") {}
export class Internal extends problem<Internal>()("internal") {}
export class Overloaded extends problem<Overloaded>()("overloaded") {}
export class DatabaseUnavailable extends problem<DatabaseUnavailable>()("database_unavailable") {}

/** What the challenge of a 401 says of the token that was sent, if one was. */
const challenge = (code: ProblemCode): ReadonlyArray<string> => {
  if (code === "token_missing" || code === "invalid_credentials") return []
  // RFC 9470: the user has to log in again, and how many seconds ago that may be
  return code === "token_too_old"
    ? [`error="insufficient_user_authentication"`, "max_age=300"]
    : [`error="invalid_token"`]
}

/**
 * 401s as they are sent: with `WWW-Authenticate` (RFC 9110 11.6.1), which carries `error="invalid_token"` only when a
 * token came with the request (RFC 6750 3.1).
 */
const unauthorized = <
  const Problems extends ReadonlyArray<Schema.Top & { readonly Type: { readonly code: ProblemCode } }>
>(
  problems: Problems
) => {
  const body = Schema.Union(problems).pipe(
    HttpApiSchema.status(401),
    HttpApiSchema.asJson({ contentType: "application/problem+json" })
  ).annotate({ description: "Not authenticated" })
  return body.pipe(HttpApiSchema.encodeToWithHeaders({ body, headers: { "www-authenticate": Schema.String } }, {
    decode: (value) => (value as { readonly body: Problems[number]["Type"] }).body,
    encode: (problem) => ({
      body: problem,
      headers: {
        "www-authenticate": [`Bearer realm="tasks-api"`, ...challenge(problem.code)].join(", ")
      }
    })
  }))
}

/** What the check of an access token can fail with. */
export const AuthenticationProblem = unauthorized([
  TokenMissing,
  TokenInvalid,
  TokenExpired,
  SessionRevoked,
  SessionExpired
])

export const LoginProblem = unauthorized([InvalidCredentials])

/** What an exchange of a refresh token can fail with. */
export const RefreshProblem = unauthorized([InvalidRefreshToken, RefreshTokenReused, SessionRevoked, SessionExpired])

export const LogoutProblem = unauthorized([TokenMissing, TokenInvalid, TokenExpired, InvalidRefreshToken])

export const MetricsProblem = unauthorized([TokenMissing, TokenInvalid])

export const AccountDeletionProblem = unauthorized([TokenTooOld])
