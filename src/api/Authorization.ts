/** Who asks, and whether the path is theirs. */
import { Context } from "effect"
import { HttpApiMiddleware, HttpApiSecurity } from "effect/http-api"
import type { ExternalToken } from "../domain/Identity.ts"
import type { SessionId } from "../domain/Session.ts"
import type { UserId } from "../domain/User.ts"
import { AuthenticationProblem, Forbidden, NotFound } from "./Problems.ts"

/** The authenticated user of a request. */
export class CurrentUser extends Context.Service<CurrentUser, {
  readonly id: UserId
  /** what the token calls the user: the `sub` claim */
  readonly subject: string
  readonly sessionId: SessionId
  /** the token of another issuer; undefined: the user has an account here */
  readonly external: ExternalToken | undefined
}>()("tasks-api/api/Authorization/CurrentUser") {}

/** Requires an access token as bearer (RFC 6750) whose session is alive, and provides the CurrentUser. */
export class Authorization extends HttpApiMiddleware.Service<Authorization, { provides: CurrentUser }>()(
  "tasks-api/api/Authorization",
  {
    requiredForClient: true,
    security: { bearer: HttpApiSecurity.bearer },
    error: AuthenticationProblem
  }
) {}

/** Requires that the `{user_id}` of the path is the CurrentUser; decided before any data is read. */
export class OwnPath extends HttpApiMiddleware.Service<OwnPath, { requires: CurrentUser }>()(
  "tasks-api/api/Authorization/OwnPath",
  { error: Forbidden }
) {}

/** `v1` and `auth` are parts of paths, never a `{user_id}`: what they would match does not exist. */
export class NotReserved extends HttpApiMiddleware.Service<NotReserved>()(
  "tasks-api/api/Authorization/NotReserved",
  { error: NotFound }
) {}

/** Requires that this server has accounts of its own; where it has only those of other issuers, the path is none. */
export class LocalAccounts extends HttpApiMiddleware.Service<LocalAccounts>()(
  "tasks-api/api/Authorization/LocalAccounts",
  { error: NotFound }
) {}
