/** What clients of the OAuth 2.0 framework (RFC 6749) expect of a token endpoint. */
import { Schema } from "effect"
import { HttpApiMiddleware, OpenApi } from "effect/http-api"
import { problemCatalog, type ProblemCode } from "./ProblemCatalog.ts"

/** The grants that the token endpoint takes. */
export const grantTypes = ["password", "refresh_token"] as const

/**
 * A failure in the form of RFC 6749 5.2, always 400. 401 would mean that a client failed to authenticate: clients of
 * this server are not registered, so nothing that they send about themselves is looked at.
 */
export class OAuthError extends Schema.Error<OAuthError>("OAuthError")({
  error: Schema.Literals(["invalid_request", "invalid_grant", "unsupported_grant_type"]),
  error_description: Schema.String.annotate({ description: "words for a developer" }),
  error_uri: Schema.optionalKey(
    Schema.String.annotate({ description: "the page of the problem that another endpoint would answer with" })
  )
}, { httpApiStatus: 400, description: "A failure of RFC 6749 5.2" }) {}

/** The characters that RFC 6749 5.2 allows in `error_description`. */
const described = (text: string) => text.replaceAll('"', "'").replaceAll(/[^\x20-\x5b\x5d-\x7e]/g, "?")

export const invalidRequest = (detail: string) =>
  new OAuthError({ error: "invalid_request", error_description: described(detail) })

export const unsupportedGrantType = () =>
  new OAuthError({
    error: "unsupported_grant_type",
    error_description: `grant_type must be ${grantTypes.join(" or ")}`
  })

/** The name, password or refresh token is not good for anything, for the reason that this code tells. */
export const invalidGrant = (code: ProblemCode) =>
  new OAuthError({
    error: "invalid_grant",
    error_description: described(problemCatalog[code].meaning),
    error_uri: `/problems/${code}`
  })

/** Part of the token endpoint: what is wrong with a request is told in the form of RFC 6749 5.2. */
export class OAuthFaults extends HttpApiMiddleware.Service<OAuthFaults>()("tasks-api/api/OAuth/OAuthFaults", {
  error: OAuthError
}) {}

/** The documentation of the token endpoint, without the problems that OAuthFaults replaces. */
export const oauthResponses = OpenApi.annotations({
  transform: (operation) => {
    const { 400: malformed, 422: _, ...responses } = operation["responses"]
    const { "application/problem+json": __, ...content } = malformed.content
    return {
      ...operation,
      responses: { ...responses, 400: { ...malformed, description: "A failure of RFC 6749 5.2", content } }
    }
  }
})
