/** The checks that api/Requests.ts declares: bodies within their limits, and faults told one by one. */
import { toIncomingMessage } from "@effect/platform-node/NodeHttpServerRequest"
import { Context, Data, Effect, Layer, Option, type Types } from "effect"
import { HttpServerRequest, UrlParams } from "effect/http"
import { type HttpApiEndpoint, HttpApiError } from "effect/http-api"
import { CurrentUser } from "../api/Authorization.ts"
import { MalformedBody, MalformedHeader, TooLarge, UnsupportedMediaType, ValidationFailed } from "../api/Problems.ts"
import { BodyLimit, BodyOptional, Faults, FormedHeaders, RequestBody, TimeLimit } from "../api/Requests.ts"
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

class Unreadable extends Data.TaggedError("Unreadable")<{ readonly problem: TooLarge | MalformedBody }> {}

const tooLarge = new Unreadable({ problem: new TooLarge() })
const malformed = (detail: string) => new Unreadable({ problem: new MalformedBody({ detail }) })

// a byte order mark stays, so that JSON refuses it
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/**
 * Reads a body of at most `limit` bytes. The socket of a longer one is left alone, so that the 413 arrives before the
 * connection is closed.
 */
const readText = (request: HttpServerRequest.HttpServerRequest, limit: number): Effect.Effect<string, Unreadable> =>
  Effect.callback((resume) => {
    const source = toIncomingMessage(request)
    if (Number(source.headers["content-length"] ?? 0) > limit) return resume(Effect.fail(tooLarge))
    const chunks: Array<Uint8Array> = []
    let size = 0
    const stop = () => {
      source.off("data", onData).off("end", onEnd).off("error", onError).off("close", onError)
    }
    const onData = (chunk: Uint8Array) => {
      size += chunk.length
      if (size <= limit) return void chunks.push(chunk)
      stop()
      source.pause()
      resume(Effect.fail(tooLarge))
    }
    const onEnd = () => {
      stop()
      try {
        resume(Effect.succeed(utf8.decode(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks))))
      } catch {
        resume(Effect.fail(malformed("The body is not valid UTF-8.")))
      }
    }
    const onError = () => {
      stop()
      resume(Effect.fail(malformed("The body ended early.")))
    }
    source.on("data", onData).once("end", onEnd).once("error", onError).once("close", onError)
    return Effect.sync(stop)
  })

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

const requestBody = Layer.succeed(
  RequestBody,
  Effect.fnUntraced(function* (httpEffect, { endpoint }) {
    const request = yield* HttpServerRequest.HttpServerRequest
    if (!isSupported(request, endpoint)) return yield* new UnsupportedMediaType()
    const sent = yield* Effect.catchTag(
      readText(request, Context.get(endpoint.annotations, BodyLimit)),
      "Unreadable",
      ({ problem }) => Effect.fail(problem)
    )
    const text = sent === "" && (yield* mayBeEmpty(endpoint)) ? "{}" : sent
    if (text === "") return yield* notJson(text)
    if (mediaType(request.headers["content-type"]).endsWith("form-urlencoded") && !isForm(text)) {
      return yield* new MalformedBody({ detail: "The body is not a form in UTF-8." })
    }
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
)

export const layer = Layer.mergeAll(faults, formedHeaders, requestBody)
