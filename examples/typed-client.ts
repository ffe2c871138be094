/**
 * A client derived from the contract: every path, body and problem is typed, and nothing of the server is imported.
 * Run it beside a server: `node examples/typed-client.ts http://127.0.0.1:3000`
 */
import { Effect, Ref } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { HttpApiClient, HttpApiMiddleware } from "effect/http-api"
import process from "node:process"
import { Api } from "../src/api/Api.ts"
import { Authorization } from "../src/api/Authorization.ts"

const url = process.argv[2] ?? "http://127.0.0.1:3000"

const program = Effect.gen(function* () {
  const token = yield* Ref.make("")
  const authorization = HttpApiMiddleware.layerClient(
    Authorization,
    ({ next, request }) =>
      Effect.flatMap(Ref.get(token), (token) => next(HttpClientRequest.bearerToken(request, token)))
  )
  const api = yield* HttpApiClient.make(Api, {
    transformClient: HttpClient.mapRequest(HttpClientRequest.prependUrl(url))
  }).pipe(Effect.provide(authorization))

  const { access_token, user } = yield* api.auth.register({
    query: {},
    payload: { email: `ada-${crypto.randomUUID()}@example.com`, password: "correct horse battery staple" }
  })
  yield* Ref.set(token, access_token)
  yield* Effect.log(`registered as ${user.email}`)

  const created = yield* api.tasks.create({
    params: {},
    query: {},
    // the same request with the same key may be sent again: it is done once
    headers: { "idempotency-key": crypto.randomUUID() },
    payload: { title: "Water the plants", tags: ["home"] }
  })
  // 201 for a new task; 200 with the stored one, had this been a retry with an id of our own
  const task = "task" in created ? created.task : created
  yield* Effect.log(`created ${task.title}, version ${task.version}`)

  const completed = yield* api.tasks.complete({ params: { id: task.id }, query: {}, headers: {}, payload: {} })
  yield* Effect.log(`completed at ${completed.completed_at}, version ${completed.version}`)

  // problems are typed: the compiler knows which ones this endpoint can answer with
  const current = yield* api.tasks.patch({
    params: { id: task.id },
    query: {},
    headers: { "if-match": `"${task.version}"` },
    payload: { title: "Water all the plants" }
  }).pipe(Effect.catchTag("stale_version", ({ current }) => Effect.as(Effect.log("changed meanwhile"), current)))
  yield* Effect.log(`still called ${current.title}`)
})

await Effect.runPromise(program.pipe(Effect.provide(FetchHttpClient.layer)))
