/**
 * What wraps every request: its id, its address, its limits, the problem that any failure becomes, the headers of every
 * answer, and the line it leaves in the log.
 */
import { randomUUID } from "node:crypto"
import { toIncomingMessage } from "@effect/platform-node/NodeHttpServerRequest"
import { Cause, Clock, Effect, Layer, Metric, Option, type Types } from "effect"
import {
  Headers,
  HttpMiddleware,
  HttpRouter,
  HttpServerError,
  HttpServerRequest,
  HttpServerRespondable,
  HttpServerResponse
} from "effect/http"
import {
  DatabaseUnavailable,
  HttpsRequired,
  Internal,
  MethodNotAllowed,
  NotFound,
  Overloaded,
  RequestId
} from "../api/Problems.ts"
import { TimeLimit } from "../api/Requests.ts"
import { classify } from "../database/Failures.ts"
import { Settings } from "../Settings.ts"
import { allowedMethods } from "./AllowedMethods.ts"
import { Draining } from "./Draining.ts"
import { RequestInfo } from "./RequestInfo.ts"
import { securityHeaders } from "./SecurityHeaders.ts"
import { within } from "./Within.ts"

/** Milliseconds that a request may take until its endpoint says how long. */
const timeLimit = TimeLimit.defaultValue()

/** A body that arrives slowly has a limit of its own, at the socket. */
const isArriving = (request: HttpServerRequest.HttpServerRequest) => !toIncomingMessage(request).complete

/** Seconds after which a busy or recovering server should be asked again. */
const retryAfter = "1"

// an error takes its stack when it is made: not for each request
const outOfTime = Effect.suspend(() => HttpServerRespondable.toResponse(new Overloaded()))

type Problem = HttpServerRespondable.Respondable

type App<E, R> = Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>

const defect = (cause: Cause.Cause<unknown>): Effect.Effect<Problem> => {
  const kind = cause.reasons.map((reason) =>
    Cause.isDieReason(reason)
      ? classify(reason.defect)
      : Cause.isFailReason(reason)
      ? classify(reason.error)
      : undefined
  ).find((kind) => kind !== undefined)
  if (kind === "busy") return Effect.as(Effect.logWarning("the database is busy", cause), new Overloaded())
  if (kind === "unavailable") {
    return Effect.as(Effect.logError("the database is not available", cause), new DatabaseUnavailable())
  }
  return Effect.as(Effect.logError("defect", cause), new Internal())
}

/** The answer to whatever went wrong without one. */
const recover = (cause: Cause.Cause<unknown>, request: HttpServerRequest.HttpServerRequest) => {
  const error = Cause.squash(cause)
  if (HttpServerResponse.isHttpServerResponse(error)) return Effect.succeed(error)
  if (HttpServerError.isHttpServerError(error) && error.reason._tag === "RouteNotFound") {
    const methods = allowedMethods(request.url)
    return methods.length === 0 ? HttpServerRespondable.toResponse(new NotFound()) : Effect.map(
      HttpServerRespondable.toResponse(new MethodNotAllowed()),
      HttpServerResponse.setHeader("allow", methods.join(", "))
    )
  }
  if (HttpServerRespondable.isRespondable(error)) return HttpServerRespondable.toResponse(error)
  return Effect.flatMap(defect(cause), HttpServerRespondable.toResponse)
}

/** Ids that a proxy or a client gives are kept where they are harmless in a log. */
const givenId = /^[\w.:-]{1,100}$/

const duration = Metric.histogram("http_request_duration_seconds", {
  description: "Time from a request's headers to its answer, by matched route",
  boundaries: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
})
const metrics = new Map<string, Metric.Histogram<number>>()

/** One metric for each method, route and status; routes are few, URLs are not. */
const measure = (method: string, route: string, status: number, seconds: number) => {
  const key = `${method} ${route} ${status}`
  let metric = metrics.get(key)
  if (metric === undefined) {
    metric = Metric.withAttributes(duration, { method, route, status: String(status) })
    metrics.set(key, metric)
  }
  return Metric.update(metric, seconds)
}

/** What a trace says of a request beside what HTTP does. */
const trace = ({ id, userId }: RequestInfo) =>
  Effect.annotateCurrentSpan({ request_id: id, ...(userId !== undefined && { "user.id": userId }) })

const knownMethods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])

const exposedHeaders = [
  "ETag",
  "Link",
  "Location",
  "RateLimit",
  "RateLimit-Policy",
  "Retry-After",
  "X-Request-Id",
  "X-Total-Count"
]

const edge = HttpRouter.middleware(
  Effect.gen(function* () {
    const settings = yield* Settings
    const draining = yield* Draining
    const traced = settings.otlpEndpoint !== undefined

    // These generator functions are made once, not for each request: V8 gives each one that is called a hidden class,
    // which keeps all that it closes over, such as the request, from being collected while it is young.
    const answer = Effect.fnUntraced(
      function* <E, R>(app: App<E, R>, request: HttpServerRequest.HttpServerRequest, info: RequestInfo) {
        const secure = request.protocol === "https"
        let given = timeLimit
        const admitted = settings.requireHttps && !secure && !request.url.startsWith("/health")
          ? HttpServerRespondable.toResponse(new HttpsRequired())
          // the router makes only its handlers interruptible: a client that goes away ends this too
          : Effect.interruptible(within(timeLimit, app, outOfTime, () => {
            if (isArriving(request)) return draining.started.isOpen() ? 0 : timeLimit
            const more = info.timeLimit - given
            given = info.timeLimit
            return more
          }))
        const response = yield* Effect.catchCause(
          admitted,
          (cause) => Cause.hasInterruptsOnly(cause) ? Effect.interrupt : recover(cause, request)
        )
        return HttpServerResponse.setHeaders(response, {
          ...securityHeaders,
          ...(secure && { "strict-transport-security": "max-age=31536000; includeSubDomains" }),
          ...response.headers,
          "x-request-id": info.id,
          ...(response.status === 503 && { "retry-after": retryAfter }),
          ...((draining.started.isOpen() || response.status === 413 ||
            response.status === 503 && isArriving(request)) && { connection: "close" })
        })
      }
    )

    const logged = Effect.fnUntraced(
      function* <E, R>(app: App<E, R>, request: HttpServerRequest.HttpServerRequest, info: RequestInfo) {
        const clock = yield* Clock.Clock
        const begin = clock.currentTimeNanosUnsafe()
        const finish = (status: number) => {
          const seconds = Number(clock.currentTimeNanosUnsafe() - begin) / 1e9
          const method = knownMethods.has(request.method) ? request.method : "other"
          const route = info.route ?? "none"
          const measured = measure(method, route, status, seconds)
          return Effect.andThen(
            traced ? Effect.andThen(trace(info), measured) : measured,
            Effect.logInfo("request").pipe(Effect.annotateLogs({
              event: "request",
              method,
              route,
              status,
              duration_ms: Math.round(seconds * 1e5) / 100,
              user_id: info.userId ?? null,
              address: info.address ?? null
            }))
          )
        }
        return yield* app.pipe(
          Effect.tap((response) => finish(response.status)),
          // nginx's number for a client that went away
          Effect.onInterrupt(() => finish(499))
        )
      }
    )

    const identified = Effect.fnUntraced(
      function* <E, R>(app: App<E, R>) {
        const request = yield* HttpServerRequest.HttpServerRequest
        const given = request.headers["x-request-id"]
        const id = given !== undefined && givenId.test(given) ? given : randomUUID()
        const info: RequestInfo = {
          id,
          address: request.remoteAddress._tag === "Some" ? request.remoteAddress.value : undefined,
          userAgent: request.headers["user-agent"]?.replace(/[^\x20-\x7e]/g, "?").slice(0, 300),
          route: undefined,
          userId: undefined,
          timeLimit
        }
        return yield* logged(answer(app, request, info), request, info).pipe(
          Effect.provideService(RequestInfo, info),
          Effect.provideService(RequestId, id),
          Effect.annotateLogs("request_id", id)
        )
      }
    )

    const cors = HttpMiddleware.cors({
      allowedOrigins: (origin) => settings.corsOrigins.includes(origin),
      allowedHeaders: [
        "Authorization",
        "Content-Type",
        "Idempotency-Key",
        "If-Match",
        "If-None-Match",
        "Last-Event-ID",
        "X-Request-Id"
      ],
      exposedHeaders,
      maxAge: 600
    })
    /** OPTIONS is a method like any other unless it asks what the other methods may do (Fetch 4.8). */
    const isCrossOrigin = ({ headers, method }: HttpServerRequest.HttpServerRequest) =>
      settings.corsOrigins.length > 0 && headers["origin"] !== undefined &&
      (method !== "OPTIONS" || headers["access-control-request-method"] !== undefined)

    const believed = HttpMiddleware.xForwardedHeaders({ trustedProxies: settings.trustedProxies })

    /**
     * What trusted proxies say of their client. Most append to X-Forwarded-For and set one X-Forwarded-Proto, that of
     * their own client; what decides whether they are believed wants one for each address.
     */
    const forwarded = <E, R>(app: App<E, R | HttpServerRequest.HttpServerRequest>) =>
      settings.trustedProxies.length === 0
        ? app
        : Effect.updateService(believed(app), HttpServerRequest.HttpServerRequest, (request) => {
          const protocol = request.headers["x-forwarded-proto"]
          if (protocol === undefined || protocol.includes(",")) return request
          const addresses = request.headers["x-forwarded-for"] ?? Option.getOrElse(request.peerAddress, () => "")
          return request.modify({
            headers: Headers.setAll(request.headers, {
              "x-forwarded-for": addresses,
              "x-forwarded-proto": addresses.split(",").fill(protocol).join(",")
            }),
            peerAddress: request.peerAddress,
            remoteAddress: request.remoteAddress
          })
        })

    // nothing is left unhandled; the type says otherwise because a router asks middleware to let its failures through
    return (app: Effect.Effect<HttpServerResponse.HttpServerResponse, Types.unhandled>): Effect.Effect<
      HttpServerResponse.HttpServerResponse,
      Types.unhandled,
      HttpServerRequest.HttpServerRequest
    > => {
      const crossOrigin = cors(app)
      return forwarded(identified(Effect.flatMap(
        HttpServerRequest.HttpServerRequest,
        (request) => isCrossOrigin(request) ? crossOrigin : app
      )))
    }
  }),
  { global: true }
)

export const layer: Layer.Layer<never, never, HttpRouter.HttpRouter | Settings | Draining> = edge
