/** The handlers of the feed of changes, written once for both families. */
import { toServerResponse } from "@effect/platform-node/NodeHttpServerRequest"
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
      const response = toServerResponse(yield* HttpServerRequest.HttpServerRequest)
      const cutOff = Effect.sync(() => response.writableFinished || response.req.socket.destroy())
      const watched = Stream.unwrap(Effect.as(Effect.forkScoped(Effect.andThen(abandoned, cutOff)), text)).pipe(
        // also the end has to be taken
        Stream.ensuring(Effect.forkDetach(Effect.delay(cutOff, "1 second")))
      )
      return HttpServerResponse.stream(Stream.encodeText(watched), {
        contentType: "text/event-stream",
        // proxies that gather what they pass on would hold events back; the connection ends with the stream
        headers: { "x-accel-buffering": "no", connection: "close" }
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
