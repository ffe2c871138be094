/** The middleware that api/Idempotency.ts declares. */
import { createHash } from "node:crypto"
import { Effect, Layer, Schema } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { SqlClient } from "effect/sql"
import { CurrentUser } from "../api/Authorization.ts"
import { IdempotencyKey, Idempotent, Replay } from "../api/Idempotency.ts"
import { IdempotencyInFlight, IdempotencyKeyReused, TokenInvalid } from "../api/Problems.ts"
import { lockWrites } from "../changes/WriteLock.ts"
import { classify } from "../database/Failures.ts"
import { transaction } from "../database/Transaction.ts"
import type { UserId } from "../domain/User.ts"
import { requestTarget } from "./RequestTarget.ts"

/** How long a key is kept. */
export const keyLifetime = "24 hours"

const isKey = Schema.is(IdempotencyKey)

interface StoredAnswer {
  readonly request_hash: Uint8Array
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const replayed = ({ body, headers, status }: StoredAnswer) => {
  const { "content-type": contentType, ...others } = headers
  const options = { status, headers: { ...others, "idempotent-replayed": "true" } }
  return contentType === undefined
    ? HttpServerResponse.empty(options)
    : HttpServerResponse.text(body, { ...options, contentType })
}

const textOf = ({ body }: HttpServerResponse.HttpServerResponse) =>
  body._tag === "Uint8Array" ? new TextDecoder().decode(body.body) : ""

export const layer = Layer.effect(
  Idempotent,
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const inTransaction = transaction(sql)

    const limitStatements = (limit: string) => sql`select set_config('statement_timeout', ${limit}, true)`

    /**
     * Puts this request behind every other write of the user, among them the first one with the same key. The limit of
     * locks is for each lock, and in a queue one waits for two: for the turn to wait, and then for the row.
     */
    const wait = Effect.fnUntraced(
      function* (userId: UserId) {
        yield* limitStatements("2s")
        const isLocked = yield* lockWrites(sql, userId)
        yield* limitStatements("5s")
        return isLocked
      },
      Effect.catch((error): Effect.Effect<never, IdempotencyInFlight> =>
        classify(error) === "busy" ? Effect.fail(new IdempotencyInFlight()) : Effect.die(error)
      )
    )

    const find = (userId: UserId, key: string) =>
      sql<StoredAnswer>`
      select request_hash, status, headers, body from idempotency_keys
      where user_id = ${userId} and key = ${key} and created_at > now() - ${keyLifetime}::interval`.pipe(
        Effect.map(([stored]) => stored),
        Effect.orDie
      )

    const store = (userId: UserId, key: string, answer: StoredAnswer) =>
      sql`
      insert into idempotency_keys (user_id, key, request_hash, status, headers, body)
      values (${userId}, ${key}, ${answer.request_hash}, ${answer.status}, ${
        JSON.stringify(answer.headers)
      }::text::jsonb,
        ${answer.body})
      on conflict (user_id, key) do update set request_hash = excluded.request_hash, status = excluded.status,
        headers = excluded.headers, body = excluded.body, created_at = excluded.created_at`.pipe(Effect.orDie)

    /** The answer to the first request with this key, where there was one. */
    const answered = Effect.fnUntraced(function* (userId: UserId, key: string, hash: Buffer) {
      // deleted since the token was checked
      if (!(yield* wait(userId))) return yield* new TokenInvalid()
      const stored = yield* find(userId, key)
      if (stored === undefined) return undefined
      if (!hash.equals(stored.request_hash)) return yield* new IdempotencyKeyReused()
      return replayed(stored)
    })

    /** Does what is behind once, and keeps its answer in the transaction of what it has done. */
    const once = Effect.fnUntraced(function* <E, R>(
      httpEffect: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
      userId: UserId,
      key: string,
      hash: Buffer
    ) {
      let isReplayed = false
      const answer = Effect.tap(answered(userId, key, hash), (stored) => {
        isReplayed = stored !== undefined
        return Effect.void
      })
      const response = yield* Effect.provideService(httpEffect, Replay, { answer })
      if (!isReplayed && response.status < 300) {
        yield* store(userId, key, {
          request_hash: hash,
          status: response.status,
          headers: response.headers,
          body: textOf(response)
        })
      }
      return response
    })

    return Idempotent.of(Effect.fnUntraced(function* (httpEffect, { endpoint }) {
      const request = yield* HttpServerRequest.HttpServerRequest
      const key = request.headers["idempotency-key"]
      // a malformed one is refused where the headers are decoded
      if (key === undefined || !isKey(key)) {
        return yield* Effect.provideService(httpEffect, Replay, { answer: Effect.undefined })
      }
      const user = yield* CurrentUser
      // the body was read before, by the middleware around this one
      const body = endpoint.payload.size > 0 ? yield* Effect.orDie(request.text) : ""
      const { path, query } = requestTarget(request)
      const hash = createHash("sha256").update(
        JSON.stringify([request.method, path, query, request.headers["if-match"] ?? null, body])
      ).digest()
      return yield* inTransaction(once(httpEffect, user.id, key, hash))
    }))
  })
)
