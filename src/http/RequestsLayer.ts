/** The checks that api/Requests.ts declares: bodies within their limits, and faults told one by one. */
import { Context, Effect, Layer, Option, type Types } from "effect"
import { HttpServerRequest, type HttpServerResponse, UrlParams } from "effect/http"
import { type HttpApiEndpoint, HttpApiError } from "effect/http-api"
import { CurrentUser } from "../api/Authorization.ts"
import { MalformedBody, MalformedHeader, UnsupportedMediaType, ValidationFailed } from "../api/Problems.ts"
import { BodyLimit, BodyOptional, Faults, FormedHeaders, RequestBody, TimeLimit } from "../api/Requests.ts"
import { makeRoom, readText, type Share } from "./Bodies.ts"
import { tooWide } from "./BodyWidths.ts"
import { RequestInfo } from "./RequestInfo.ts"
import { faultsOf } from "./ValidationFaults.ts"

const faults = Layer.succeed(Faults, (httpEffect, { endpoint }) =>
  Effect.flatMap(RequestInfo, (info) => {
    info.route = endpoint.path
    info.timeLimit = Context.get(endpoint.annotations, TimeLimit)
    return Effect.catch(
      httpEffect,
      (error): Effect.Effect<never, ValidationFailed | Types.unhandled> => {
        if (!HttpApiError.HttpApiSchemaError.is(error)) return Effect.fail(error)
        return error.kind === "Body" || error.kind === "ResponseHeaders"
          ? Effect.die(error.cause)
          : Effect.fail(new ValidationFailed({ errors: faultsOf(error) }))
      }
    )
  }))

const formedHeaders = Layer.succeed(
  FormedHeaders,
  (httpEffect) =>
    Effect.catch(httpEffect, (error): Effect.Effect<never, MalformedHeader | Types.unhandled> => {
      if (!HttpApiError.HttpApiSchemaError.is(error) || error.kind !== "Headers") return Effect.fail(error)
      const faults = faultsOf(error).map(({ detail, pointer }) => `${pointer} ${detail}`)
      return Effect.fail(new MalformedHeader({ detail: faults.join("; ") }))
    })
)

/** The media type of a request without its parameters; a missing one counts as JSON. */
const mediaType = (header: string | undefined) => (header ?? "application/json").split(";", 1)[0]!.trim().toLowerCase()

const charset = (header: string | undefined) => /;\s*charset="?([^";\s]*)/i.exec(header ?? "")?.[1]?.toLowerCase()

const isSupported = ({ headers }: HttpServerRequest.HttpServerRequest, endpoint: HttpApiEndpoint.Top): boolean =>
  endpoint.payload.has(mediaType(headers["content-type"])) &&
  ["utf-8", "utf8", undefined].includes(charset(headers["content-type"])) &&
  [undefined, "", "identity"].includes(headers["content-encoding"]?.toLowerCase())

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** Every escape in a form is that of a byte of UTF-8: the decoder would take others as they are, or for U+FFFD. */
const isForm = (text: string): boolean => {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

const notJson = (text: string) =>
  new MalformedBody({ detail: text === "" ? "A body is required." : "The body is not valid JSON." })

const mayBeEmpty = (endpoint: HttpApiEndpoint.Top) =>
  Effect.map(Effect.serviceOption(CurrentUser), (user) => {
    const optional = Context.get(endpoint.annotations, BodyOptional)
    return optional === "yes" ||
      optional === "for external users" && Option.isSome(user) && user.value.external !== undefined
  })

/** Runs what is behind with a body that was read. */
const withBody = Effect.fnUntraced(function* <E, R>(
  httpEffect: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
  request: HttpServerRequest.HttpServerRequest,
  endpoint: HttpApiEndpoint.Top,
  share: Share
) {
  const sent = yield* Effect.catchTag(
    readText(request, Context.get(endpoint.annotations, BodyLimit), share),
    "Unreadable",
    ({ problem }) => Effect.fail(problem)
  )
  const text = sent === "" && (yield* mayBeEmpty(endpoint)) ? "{}" : sent
  if (text === "") return yield* notJson(text)
  if (mediaType(request.headers["content-type"]).endsWith("form-urlencoded") && !isForm(text)) {
    return yield* new MalformedBody({ detail: "The body is not a form in UTF-8." })
  }
  const fault = tooWide(text)
  if (fault !== undefined) return yield* new ValidationFailed({ errors: [fault] })
  // on the request itself: an object derived from it would make all its members slow to reach
  Object.defineProperties(request, {
    text: { value: Effect.succeed(text) },
    urlParamsBody: { value: Effect.sync(() => UrlParams.fromInput(new URLSearchParams(text))) }
  })
  return yield* Effect.mapError(
    httpEffect,
    // the path and the query are decoded first, but a body that is no JSON comes before their faults
    (error) =>
      HttpApiError.HttpApiSchemaError.is(error) && mediaType(request.headers["content-type"]).endsWith("json") &&
        !isJson(text)
        ? notJson(text)
        : error
  )
})

const requestBody = Layer.sync(RequestBody, () => {
  const shareOfRoom = makeRoom()
  return Effect.fnUntraced(function* (httpEffect, { endpoint }) {
    const request = yield* HttpServerRequest.HttpServerRequest
    if (!isSupported(request, endpoint)) return yield* new UnsupportedMediaType()
    const share = shareOfRoom()
    return yield* Effect.ensuring(withBody(httpEffect, request, endpoint, share), share.giveBack)
  })
})

export const layer = Layer.mergeAll(faults, formedHeaders, requestBody)
