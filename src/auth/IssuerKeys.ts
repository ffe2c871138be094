/** The keys that an issuer publishes, kept through the times when it can't be reached. */
import { Clock, Data, Deferred, Effect, Schedule, type Scope } from "effect"
import type { PublicAlgorithm, VerificationKey } from "./JsonWebKeys.ts"
import { verificationKeys } from "./PublishedKeys.ts"

/** Milliseconds that an issuer has for its answer. */
const patience = 3_000

/** Bytes of the longest set that is read. */
const maximumSize = 64 * 1024

/** Milliseconds between two times that tokens make us ask, so that nobody can make us flood an issuer. */
const cooldown = 30_000

/** How often the keys are asked for anyway. */
const interval = "5 minutes"

/** Milliseconds for which the last good set counts while none can be had. */
const lifetime = 24 * 60 * 60 * 1_000

export interface IssuerKeys {
  /** The keys to trust at this time, in milliseconds; none before the first good answer. */
  readonly at: (now: number) => ReadonlyArray<VerificationKey>
  /**
   * Asks for the keys again, because a token names one that is not known; does nothing within 30 seconds of the last
   * such time. Those who come while an answer is awaited wait for it, too.
   */
  readonly refresh: Effect.Effect<void>
}

class KeysUnavailable extends Data.TaggedError("KeysUnavailable")<{ readonly reason: string }> {}

/** fetch tells only in its cause what the network or TLS found. */
const reasonOf = (error: unknown): string =>
  error instanceof Error ? (error.cause instanceof Error ? error.cause.message : error.message) : "no answer"

const attempt = <A>(work: (signal: AbortSignal) => Promise<A>) =>
  Effect.tryPromise({
    try: work,
    catch: (error) => new KeysUnavailable({ reason: reasonOf(error) })
  })

/** Reads at most so many bytes; what is longer is not waited for. */
const bounded = async (body: ReadableStream<Uint8Array<ArrayBuffer>> | null): Promise<string> => {
  const chunks: Array<Uint8Array> = []
  let size = 0
  for await (const chunk of body ?? []) {
    size += chunk.length
    if (size > maximumSize) throw new Error(`more than ${maximumSize} bytes`)
    chunks.push(chunk)
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks))
}

const download = async (uri: string, signal: AbortSignal): Promise<string> => {
  const response = await fetch(uri, {
    // what another host says of itself is not what the setting says
    redirect: "manual",
    // Asked every 5 minutes, a connection is not worth keeping; on one that was kept, Deno would ask twice by itself.
    headers: { accept: "application/jwk-set+json, application/json", connection: "close" },
    signal
  })
  if (response.status !== 200) {
    await response.body?.cancel()
    throw new Error(`status ${response.status}`)
  }
  return await bounded(response.body)
}

/** Asks at once, and from then on as long as the scope lives. */
export const issuerKeys = Effect.fnUntraced(function* (
  issuer: string,
  uri: string,
  algorithms: ReadonlyArray<PublicAlgorithm>
): Effect.fn.Return<IssuerKeys, never, Scope.Scope> {
  const scope = yield* Effect.scope
  let text: string | undefined
  let keys: ReadonlyArray<VerificationKey> = []
  let readAt = Number.NEGATIVE_INFINITY
  let refreshedAt = Number.NEGATIVE_INFINITY
  let awaited: Deferred.Deferred<void> | undefined

  const load = Effect.gen(function* () {
    // not by a signal alone: Deno may forget that of a request that has the head of its answer (denoland/deno#29075)
    const answer = yield* attempt((signal) => download(uri, signal)).pipe(
      Effect.timeoutOrElse({
        duration: patience,
        orElse: () => Effect.fail(new KeysUnavailable({ reason: `no whole answer within ${patience} ms` }))
      })
    )
    // equal keys stay the same objects, so that what was verified with them needs not be verified again
    if (answer !== text) {
      const found = yield* attempt(async () => await verificationKeys(JSON.parse(answer), algorithms))
      if (typeof found === "string") return yield* new KeysUnavailable({ reason: found })
      text = answer
      keys = found
    }
    readAt = yield* Clock.currentTimeMillis
  }).pipe(
    Effect.catchTag(
      "KeysUnavailable",
      ({ reason }) =>
        Effect.logWarning("the keys of an issuer can't be read").pipe(Effect.annotateLogs({ issuer, reason }))
    )
  )

  /** One answer is awaited at a time; it belongs to nobody who may go away. */
  const loaded = Effect.suspend(() => {
    if (awaited !== undefined) return Deferred.await(awaited)
    const deferred = Deferred.makeUnsafe<void>()
    awaited = deferred
    return Effect.andThen(
      Effect.forkIn(
        Effect.ensuring(
          load,
          Effect.suspend(() => {
            awaited = undefined
            return Deferred.succeed(deferred, undefined)
          })
        ),
        scope
      ),
      Deferred.await(deferred)
    )
  })

  yield* Effect.forkScoped(Effect.repeat(loaded, Schedule.spaced(interval)), { startImmediately: true })

  return {
    at: (now) => now < readAt + lifetime ? keys : [],
    refresh: Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (awaited !== undefined) return Deferred.await(awaited)
      if (now < refreshedAt + cooldown) return Effect.void
      refreshedAt = now
      return loaded
    })
  }
})
