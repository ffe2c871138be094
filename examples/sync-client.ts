/**
 * Keeps a copy of a user's tasks in a JSON file in step with the server, and sends what is written here from an outbox
 * in the same file. It may be killed at any moment, and so may the server: nothing is lost, and nothing is done twice.
 *
 *     API=http://127.0.0.1:3000 FILE=tasks.json TOKENS=tokens.json EMAIL=… PASSWORD=… node examples/sync-client.ts
 *
 * E-mail and password are needed where the file TOKENS does not exist yet, or where its session has ended. Lines on
 * standard input are writes: `add <title>` and `done <id>`. docs/sync.md explains each step.
 */
import { Cause, Effect, Exit, flow, Latch, Option, Schedule, Schema, Semaphore, Stream } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Sse from "effect/encoding/Sse"
import { FetchHttpClient, HttpClient, HttpClientError, HttpClientRequest } from "effect/http"
import { HttpApiClient, HttpApiMiddleware } from "effect/http-api"
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import process from "node:process"
import { createInterface } from "node:readline"
import { Api } from "../src/api/Api.ts"
import type { Tokens } from "../src/api/AuthApi.ts"
import { Authorization } from "../src/api/Authorization.ts"
import { CursorExpired } from "../src/api/Problems.ts"
import { ChangedTask, TaskId } from "../src/domain/Task.ts"

const { API = "http://127.0.0.1:3000", EMAIL, FILE = "tasks.json", PASSWORD, TOKENS = "tokens.json" } = process.env

/** A write that is not answered yet. Each time that it is sent, it is the same request with the same key. */
type Intent = { readonly key: string; readonly id: TaskId } & ({ readonly add: string } | Done)

interface Done {
  readonly ifMatch: string
  /** which one of a task that recurs: it may be completed elsewhere before this is sent */
  readonly occurrence?: string
}

interface State {
  cursor?: string | undefined
  tasks: Record<string, ChangedTask>
  readonly outbox: Array<Intent>
}

const load = <A>(path: string): A | undefined =>
  existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) as A : undefined

/** At any moment the file is the old one or the new one. */
const store = (path: string, value: unknown) => {
  writeFileSync(`${path}.new`, JSON.stringify(value), { mode: 0o600, flush: true })
  renameSync(`${path}.new`, path)
}

const state = load<State>(FILE) ?? { tasks: {}, outbox: [] }
let tokens = load<Pick<Tokens, "access_token" | "refresh_token">>(TOKENS)
const decodeTask = Schema.decodeSync(Schema.fromJsonString(ChangedTask))

const tooLate = (request: HttpClientRequest.HttpClientRequest) =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({ request, description: "no answer within 15 s" })
  })
/** Repeats each request until the server is back: after 0.25 s, then longer up to 10 s, never before Retry-After. */
const patient = flow(
  HttpClient.mapRequest(HttpClientRequest.prependUrl(API)),
  HttpClient.transform((answer, request) =>
    Effect.timeoutOrElse(answer, { duration: "15 seconds", orElse: () => Effect.fail(tooLate(request)) })
  ),
  HttpClient.retryTransient({
    schedule: Schedule.jittered(Schedule.min([Schedule.exponential("250 millis"), Schedule.spaced("10 seconds")]))
  })
)

const program = Effect.gen(function* () {
  const httpClient = patient(yield* HttpClient.HttpClient)
  const login = yield* HttpApiClient.endpoint(Api, { group: "auth", endpoint: "login", httpClient })
  const refresh = yield* HttpApiClient.endpoint(Api, { group: "auth", endpoint: "refresh", httpClient })

  /** Replaces tokens that were refused with this code; undefined where the session has ended. */
  const renew = Effect.fnUntraced(function* (refused: typeof tokens, code: unknown) {
    if (tokens !== refused) return tokens // by another fiber, while this one waited
    let renewed: Option.Option<Tokens> = Option.none()
    if (refused !== undefined && code === "token_expired") {
      renewed = yield* Effect.option(refresh({ query: {}, payload: { refresh_token: refused.refresh_token } }))
    }
    if (Option.isNone(renewed) && EMAIL !== undefined && PASSWORD !== undefined) {
      renewed = yield* Effect.option(login({ query: {}, payload: { email: EMAIL, password: PASSWORD } }))
    }
    if (Option.isNone(renewed)) return undefined
    const { access_token, refresh_token } = renewed.value
    store(TOKENS, { access_token, refresh_token }) // before they are used: the old ones are spent
    return tokens = { access_token, refresh_token }
  }, Semaphore.withPermit(Semaphore.makeUnsafe(1)))

  const authorization = HttpApiMiddleware.layerClient(
    Authorization,
    Effect.fnUntraced(function* ({ next, request }) {
      const used = tokens ?? (yield* renew(undefined, undefined))
      const response = yield* next(HttpClientRequest.bearerToken(request, used?.access_token ?? ""))
      if (response.status !== 401) return response
      const problem = (yield* response.json) as { readonly code?: string } | null
      const renewed = yield* renew(used, problem?.code)
      return renewed ? yield* next(HttpClientRequest.bearerToken(request, renewed.access_token)) : response
    })
  )
  const api = yield* HttpApiClient.makeWith(Api, { httpClient }).pipe(Effect.provide(authorization))

  /** Takes the copy to a cursor. Only the feed changes it: the answer to a repeated write may be an old one. */
  const apply = (changes: ReadonlyArray<ChangedTask>, cursor: string | undefined) => {
    for (const task of changes) {
      if (task.deleted_at === null) state.tasks[task.id] = task
      else delete state.tasks[task.id]
    }
    state.cursor = cursor
    store(FILE, state)
  }

  /** Reads what changed since the cursor; without a cursor, everything that there is. */
  const pull = Effect.gen(function* () {
    const changes: Array<ChangedTask> = []
    let since = state.cursor
    for (let more = true; more;) {
      const page = yield* api.changes.list({ params: {}, query: since === undefined ? {} : { since } })
      changes.push(...page.changes)
      since = page.cursor
      more = page.has_more
    }
    if (state.cursor === undefined) state.tasks = {}
    apply(changes, since)
  })

  /** Applies what changes after the cursor, until the stream ends. */
  const follow = Effect.gen(function* () {
    const headers = state.cursor === undefined ? {} : { "last-event-id": state.cursor }
    const response = yield* api.changes.stream({ params: {}, query: {}, headers, responseMode: "response-only" })
    if (response.status !== 200) return // the next pull finds out why
    yield* Effect.log("following")
    const events: Array<Sse.Event> = []
    const parser = Sse.makeParser((event) => event._tag === "Event" && events.push(event))
    yield* response.stream.pipe(
      Stream.timeout("45 seconds"), // a comment comes every 15 s: this connection died without a word
      Stream.decodeText,
      Stream.runForEach((text) => {
        parser.feed(text)
        const arrived = events.splice(0)
        const changes = arrived.filter(({ event }) => event === "change")
        if (changes.length > 0) apply(changes.map(({ data }) => decodeTask(data)), changes.at(-1)?.id)
        return arrived.some(({ event }) => event === "resync") ? Effect.fail(new CursorExpired()) : Effect.void
      })
    )
  })

  const keepInStep = Effect.andThen(pull, follow).pipe(
    Effect.catchTag(["cursor_expired", "invalid_cursor"], ({ title }) => {
      state.cursor = undefined
      return Effect.log(`beginning again: ${title}`)
    }),
    Effect.catchTag("HttpClientError", ({ message }) => Effect.log(message)),
    Effect.repeat(Schedule.jittered(Schedule.spaced("1 second")))
  )

  /** Sends a write, and returns what has to be sent in its place, if anything. */
  const send = (intent: Intent) =>
    Effect.gen(function* () {
      const headers = { "idempotency-key": intent.key }
      if ("add" in intent) {
        yield* api.tasks.create({ params: {}, query: {}, headers, payload: { id: intent.id, title: intent.add } })
      } else {
        const conditional = { ...headers, "if-match": intent.ifMatch }
        const payload = intent.occurrence === undefined ? {} : { occurrence: intent.occurrence }
        yield* api.tasks.complete({ params: { id: intent.id }, query: {}, headers: conditional, payload })
      }
      return []
    }).pipe(
      Effect.retry({ while: ({ _tag }) => _tag === "idempotency_in_flight", schedule: Schedule.spaced("1 second") }),
      // another If-Match is another request, so it has another key
      Effect.catchTag("stale_version", ({ current: { completed, version } }) =>
        Effect.succeed(completed ? [] : [{ ...intent, key: crypto.randomUUID(), ifMatch: `"${version}"` }])),
      // what the server will never do; a front end would tell its user
      Effect.catchTag(
        ["not_found", "id_reused", "occurrence_mismatch", "idempotency_key_reused", "too_large", "validation_failed"],
        ({ code, detail }) =>
          Effect.as(Effect.logError(`${intent.id} was refused: ${code}, ${detail}`), [])
      )
    )

  const queued = Latch.makeUnsafe()
  const sendOutbox = Effect.gen(function* () {
    while (true) {
      const [intent] = state.outbox
      queued.closeUnsafe()
      if (intent === undefined) yield* queued.await
      else {
        state.outbox.splice(0, 1, ...yield* send(intent))
        store(FILE, state)
      }
    }
  })

  const readLine = (line: string) => {
    const [, write, rest = ""] = /^(add|done) (.+)$/.exec(line) ?? []
    const key = crypto.randomUUID()
    if (write === "add") state.outbox.push({ key, id: TaskId.make(SecureRandom.uuidV7Unsafe()), add: rest })
    else if (write === "done" && Schema.is(TaskId)(rest)) {
      const known = state.tasks[rest] // what was added here and has not come back yet has no version
      state.outbox.push({
        key,
        id: rest,
        ifMatch: known === undefined ? "*" : `"${known.version}"`,
        ...(known?.recurrence && known.due && { occurrence: known.due.date })
      })
    } else return Effect.logError(`neither "add <title>" nor "done <id>": ${line}`)
    store(FILE, state)
    queued.openUnsafe()
    return Effect.log(`queued ${line}: ${state.outbox.at(-1)?.id}`)
  }
  const lines = Stream.fromAsyncIterable(createInterface({ input: process.stdin }), (e) => new Cause.UnknownError(e))

  yield* Effect.all([keepInStep, sendOutbox, Stream.runForEach(lines, readLine)], { concurrency: "unbounded" })
})

const stopped = Effect.callback<void>((resume) => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resume(Effect.void))
})
const exit = await Effect.runPromiseExit(
  program.pipe(
    Effect.raceFirst(stopped),
    Effect.tapCause((cause) => Effect.logError(cause)),
    Effect.provide(FetchHttpClient.layer)
  )
)
process.exit(Exit.isSuccess(exit) ? 0 : 1)
