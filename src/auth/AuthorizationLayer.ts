/** The checks that api/Authorization.ts declares. */
import { toIncomingMessage } from "@effect/platform-node/NodeHttpServerRequest"
import { Effect, Layer, Redacted } from "effect"
import { HttpRouter, HttpServerRequest } from "effect/http"
import { Authorization, CurrentUser, LocalAccounts, NotReserved, OwnPath } from "../api/Authorization.ts"
import { Forbidden, NotFound, TokenMissing } from "../api/Problems.ts"
import { RequestInfo } from "../http/RequestInfo.ts"
import { Settings } from "../Settings.ts"
import { securityEvent } from "../telemetry/SecurityEvents.ts"
import { Sessions } from "./Sessions.ts"

/** node:http keeps the first of several Authorization headers: which one a proxy believed can't be known. */
export const hasSeveralAuthorizations = (request: HttpServerRequest.HttpServerRequest): boolean => {
  const raw = toIncomingMessage(request).rawHeaders
  let count = 0
  for (let i = 0; i < raw.length; i += 2) if (raw[i]!.toLowerCase() === "authorization") count++
  return count > 1
}

const authorization = Layer.effect(
  Authorization,
  Effect.gen(function* () {
    const sessions = yield* Sessions
    return Authorization.of({
      bearer: Effect.fnUntraced(function* (httpEffect, { credential }) {
        const token = Redacted.value(credential)
        if (token === "" || hasSeveralAuthorizations(yield* HttpServerRequest.HttpServerRequest)) {
          return yield* new TokenMissing()
        }
        const user = yield* sessions.authenticate(token)
        const info = yield* RequestInfo
        info.userId = user.id
        return yield* Effect.provideService(httpEffect, CurrentUser, user)
      })
    })
  })
)

const ownPath = Layer.succeed(
  OwnPath,
  Effect.fnUntraced(function* (httpEffect) {
    const user = yield* CurrentUser
    const { user_id } = yield* HttpRouter.params
    if (user_id !== user.id && user_id !== user.subject) {
      yield* securityEvent("forbidden", user.id, user.sessionId)
      return yield* new Forbidden()
    }
    return yield* httpEffect
  })
)

const reserved = new Set(["v1", "auth"])

const notReserved = Layer.succeed(
  NotReserved,
  Effect.fnUntraced(function* (httpEffect) {
    const { user_id } = yield* HttpRouter.params
    if (user_id !== undefined && reserved.has(user_id.toLowerCase())) return yield* new NotFound()
    return yield* httpEffect
  })
)

const localAccounts = Layer.effect(
  LocalAccounts,
  Effect.map(
    Settings,
    ({ localAccounts }) => (httpEffect) => localAccounts ? httpEffect : Effect.fail(new NotFound())
  )
)

export const layer = Layer.mergeAll(authorization, ownPath, notReserved, localAccounts)
