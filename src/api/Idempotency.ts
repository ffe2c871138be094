/** Writes that may be sent again without being done again (draft-ietf-httpapi-idempotency-key-header-07). */
import { Context, type Effect, Schema } from "effect"
import type { HttpServerResponse } from "effect/http"
import { HttpApiMiddleware } from "effect/http-api"
import { CurrentUser } from "./Authorization.ts"
import { IdempotencyInFlight, IdempotencyKeyReused, type TokenInvalid } from "./Problems.ts"

/** 1 to 255 visible ASCII characters and spaces, as every proxy passes them on. */
export const IdempotencyKey = Schema.String.check(
  Schema.makeFilter((key) => /^[\x20-\x7e]{1,255}$/.test(key) || "must have 1 to 255 visible ASCII characters", {
    toJsonSchema: () => ({ minLength: 1, maxLength: 255, pattern: "^[ -~]*$" })
  })
)

/** The headers of an endpoint with the Idempotent middleware. */
export const idempotencyKey = {
  "idempotency-key": Schema.optionalKey(IdempotencyKey.annotate({
    description: "1 to 255 characters of the client's choice, new for each new request: within 24 hours the same " +
      "request with the same key is answered with what was answered first (with `Idempotent-Replayed: true`) and not " +
      "done again"
  }))
}

/** What a handler asks once its request is found valid, before it looks anything up. */
export class Replay extends Context.Service<Replay, {
  /** The answer that the same request got before; undefined where it was not made yet, or came without a key. */
  readonly answer: Effect.Effect<
    HttpServerResponse.HttpServerResponse | undefined,
    IdempotencyInFlight | IdempotencyKeyReused | TokenInvalid
  >
}>()("tasks-api/api/Idempotency/Replay") {}

/** Where the request has an `Idempotency-Key`, its effect and its answer are stored in one transaction. */
export class Idempotent extends HttpApiMiddleware.Service<Idempotent, { requires: CurrentUser; provides: Replay }>()(
  "tasks-api/api/Idempotency",
  { error: [IdempotencyInFlight, IdempotencyKeyReused] }
) {}
