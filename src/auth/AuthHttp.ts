/** The handlers of the auth endpoints, written once for both families of paths. */
import { toServerResponse } from "@effect/platform-node/NodeHttpServerRequest"
import { Effect, Layer } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "../api/Api.ts"
import type { Registration, TokenRequest } from "../api/AuthApi.ts"
import { CurrentUser } from "../api/Authorization.ts"
import { invalidGrant } from "../api/OAuth.ts"
import { TokenMissing } from "../api/Problems.ts"
import type { SessionId } from "../domain/Session.ts"
import type { UserPatch } from "../domain/User.ts"
import { Accounts } from "./Accounts.ts"
import { Limits } from "../limits/Limits.ts"
import { hasSeveralAuthorizations } from "./AuthorizationLayer.ts"
import { Exports } from "./Exports.ts"
import { Sessions } from "./Sessions.ts"

/** The longest that a download may take: as long its file is kept. */
const downloadLimit = "10 minutes"

const handlers = Effect.gen(function* () {
  const accounts = yield* Accounts
  const exports = yield* Exports
  const sessions = yield* Sessions
  const limits = yield* Limits

  const register = ({ payload }: { readonly payload: Registration }) =>
    Effect.map(accounts.register(payload), (login) => ({ message: "User created successfully" as const, ...login }))

  return {
    register,
    signup: register,
    login: ({ payload }: { readonly payload: Parameters<typeof accounts.login>[0] }) => accounts.login(payload),
    refresh: ({ payload }: { readonly payload: { readonly refresh_token: string } }) =>
      sessions.refresh(payload.refresh_token),
    token: Effect.fnUntraced(function* ({ payload }: { readonly payload: TokenRequest }) {
      if (payload.grant_type === "refresh_token") {
        return yield* Effect.mapError(
          sessions.refresh(payload.refresh_token),
          (error) => error._tag === "rate_limited" ? error : invalidGrant(error.code)
        )
      }
      // only now is it known that this is a login
      yield* limits.charge("login_attempts")
      const credentials = { username_or_email: payload.username, password: payload.password }
      return yield* Effect.catchTag(
        accounts.login(credentials),
        "invalid_credentials",
        ({ code }) => Effect.fail(invalidGrant(code))
      )
    }),
    logout: Effect.fnUntraced(function* ({ headers, payload, query }: {
      readonly headers: { readonly authorization?: string }
      readonly payload: { readonly refresh_token?: string }
      readonly query: { readonly scope?: "local" | "others" | "global" }
    }) {
      const isAmbiguous = hasSeveralAuthorizations(yield* HttpServerRequest.HttpServerRequest)
      const bearer = isAmbiguous ? undefined : /^bearer +(.+)$/i.exec(headers.authorization ?? "")?.[1]
      if (bearer === undefined && payload.refresh_token === undefined) return yield* new TokenMissing()
      const user = payload.refresh_token !== undefined
        ? yield* sessions.ofRefreshToken(payload.refresh_token)
        : yield* sessions.ofAccessToken(bearer ?? "")
      yield* limits.charge("logout", { user: user.id })
      yield* sessions.logout(user, query.scope ?? "local")
    }),
    me: () => Effect.flatMap(CurrentUser, (user) => accounts.get(user.id)),
    updateMe: ({ payload }: { readonly payload: UserPatch }) =>
      Effect.flatMap(CurrentUser, (user) => accounts.update(user.id, payload)),
    deleteMe: ({ payload }: { readonly payload: { readonly password?: string } }) =>
      Effect.flatMap(CurrentUser, (user) => accounts.remove(user, payload.password)),
    password: (
      { payload }: { readonly payload: { readonly current_password: string; readonly new_password: string } }
    ) =>
      Effect.flatMap(
        CurrentUser,
        (user) => accounts.changePassword(user, payload.current_password, payload.new_password)
      ),
    export: Effect.fnUntraced(function* () {
      const { content, exportedAt, size } = yield* exports.make(yield* CurrentUser)
      const response = toServerResponse(yield* HttpServerRequest.HttpServerRequest)
      yield* Effect.forkScoped(Effect.delay(Effect.sync(() => response.destroy()), downloadLimit))
      return HttpServerResponse.raw(content, {
        contentType: "application/json",
        contentLength: size,
        headers: { "content-disposition": `attachment; filename="tasks-api-${exportedAt.slice(0, 10)}.json"` }
      })
    }),
    sessions: () => Effect.flatMap(CurrentUser, sessions.list),
    endSession: ({ params }: { readonly params: { readonly id: SessionId } }) =>
      Effect.flatMap(CurrentUser, (user) => sessions.end(user, params.id))
  }
})

export const layer = Layer.mergeAll(
  HttpApiBuilder.group(
    Api,
    "auth",
    Effect.fnUntraced(function* (group) {
      return group.handleAll(yield* handlers)
    })
  ),
  HttpApiBuilder.group(
    Api,
    "unversionedAuth",
    Effect.fnUntraced(function* (group) {
      return group.handleAll(yield* handlers)
    })
  )
)
