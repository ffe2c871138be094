/** The middleware that api/OAuth.ts declares. */
import { Effect, Layer, type Types } from "effect"
import { HttpServerRequest, HttpServerResponse, UrlParams } from "effect/http"
import { HttpApiError } from "effect/http-api"
import { grantTypes, invalidRequest, type OAuthError, OAuthFaults, unsupportedGrantType } from "../api/OAuth.ts"
import { MalformedBody } from "../api/Problems.ts"
import { faultsOf } from "../http/ValidationFaults.ts"

/** Whether the grant is the only thing that a request can't be read for. */
const hasOtherGrant = (members: UrlParams.UrlParams): boolean => {
  const [grant, ...others] = UrlParams.getAll(members, "grant_type")
  // a member without a value counts as absent (RFC 6749 3.2)
  return grant !== undefined && grant !== "" && others.length === 0 && grantTypes.every((known) => known !== grant)
}

export const layer = Layer.succeed(
  OAuthFaults,
  (httpEffect) =>
    // RFC 6749 5.1
    Effect.catch(Effect.map(httpEffect, HttpServerResponse.setHeader("pragma", "no-cache")), (error): Effect.Effect<
      never,
      OAuthError | Types.unhandled,
      HttpServerRequest.HttpServerRequest
    > => {
      const problem: unknown = error
      if (problem instanceof MalformedBody) return Effect.fail(invalidRequest(problem.detail))
      if (!HttpApiError.HttpApiSchemaError.is(error)) return Effect.fail(error)
      const faults = faultsOf(error).map(({ detail, pointer }) => `${pointer} ${detail}`)
      if (error.kind !== "Payload") return Effect.fail(invalidRequest(faults.join("; ")))
      return HttpServerRequest.HttpServerRequest.pipe(
        Effect.flatMap(({ urlParamsBody }) => Effect.orDie(urlParamsBody)),
        Effect.flatMap((members) =>
          Effect.fail(hasOtherGrant(members) ? unsupportedGrantType() : invalidRequest(faults.join("; ")))
        )
      )
    })
)
