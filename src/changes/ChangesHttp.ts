/** The handlers of the feed of changes, written once for both families. */
import type { IncomingMessage } from "node:http"
import { Effect, Layer, Stream } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "../api/Api.ts"
import { CurrentUser } from "../api/Authorization.ts"
import type { ChangesQuery } from "../api/ChangesApi.ts"
import { Changes } from "./Changes.ts"

const handlers = Effect.gen(function* () {
  const changes = yield* Changes
  return {
    list: Effect.fnUntraced(function* ({ query }: { readonly query: ChangesQuery }) {
      const user = yield* CurrentUser
      return yield* changes.page(user.id, query)
    }),
    stream: Effect.fnUntraced(function* ({ headers }: { readonly headers: { readonly "last-event-id"?: string } }) {
      const user = yield* CurrentUser
      const { abandoned, text } = yield* changes.stream(user, headers["last-event-id"])
      const { source } = yield* HttpServerRequest.HttpServerRequest
      const cutOff = Effect.andThen(abandoned, Effect.sync(() => (source as IncomingMessage).socket.destroy()))
      const watched = Stream.unwrap(Effect.as(Effect.forkScoped(cutOff), text))
      return HttpServerResponse.stream(Stream.encodeText(watched), {
        contentType: "text/event-stream",
        // proxies that gather what they pass on would hold events back
        headers: { "x-accel-buffering": "no" }
      })
    })
  }
})

export const layer = Layer.mergeAll(
  HttpApiBuilder.group(
    Api,
    "changes",
    Effect.fnUntraced(function* (group) {
      return group.handleAll(yield* handlers)
    })
  ),
  HttpApiBuilder.group(
    Api,
    "userChanges",
    Effect.fnUntraced(function* (group) {
      return group.handleAll(yield* handlers)
    })
  )
)
