/** Counters of this process, whose memory is bounded. */
import { Clock, Duration, Effect } from "effect"
import * as RateLimiter from "effect/persistence/RateLimiter"

/** Keys that are remembered at most; about 10 MB. */
export const capacity = 50_000

/** What is left of them when there are more: not so many that the next key would bring the same work again. */
const kept = capacity * 0.75

/** Milliseconds after which keys that have expired are taken away, if any others come. */
const sweepInterval = 60_000

export interface Counter {
  count: number
  /** milliseconds of the monotonic clock */
  expiresAt: number
}

/**
 * Counts as the store in Redis does: each token keeps the count for as long as it takes to refill one.
 *
 * With more than `capacity` keys, those that would expire first are forgotten. They are the ones of which least was
 * spent, so a key at its limit stays for as long as others come that have spent less.
 */
export const makeMemoryStore = Effect.fnUntraced(function* (counters: Map<string, Counter>) {
  // of its other algorithms, none is used
  const { adaptiveConsume, adaptiveFeedback, tokenBucket } = yield* RateLimiter.RateLimiterStore
  const clock = yield* Clock.Clock
  let sweepAt = 0

  // a jump of the wall clock must neither freeze a limit nor lift it
  const monotonicMillis = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

  const sweep = (now: number) => {
    for (const [key, { expiresAt }] of counters) if (expiresAt <= now) counters.delete(key)
    sweepAt = now + sweepInterval
    if (counters.size < capacity) return
    const byExpiry = [...counters].sort(([, a], [, b]) => a.expiresAt - b.expiresAt)
    for (const [key] of byExpiry.slice(0, counters.size - kept)) counters.delete(key)
  }

  return RateLimiter.RateLimiterStore.of({
    adaptiveConsume,
    adaptiveFeedback,
    tokenBucket,
    fixedWindow: ({ key, limit, refillRate, tokens }) =>
      Effect.sync(() => {
        const now = monotonicMillis()
        let counter = counters.get(key)
        if (counter === undefined || counter.expiresAt <= now) {
          // what is given back to a count that has started anew is no credit
          if (tokens <= 0) return [0, 0] as const
          if (counter === undefined && (counters.size >= capacity || now >= sweepAt)) sweep(now)
          counter = { count: 0, expiresAt: now }
          counters.set(key, counter)
        }
        const count = counter.count + tokens
        if (limit === undefined || count <= limit) {
          counter.count = count
          counter.expiresAt += Duration.toMillis(refillRate) * tokens
        }
        return [count, counter.expiresAt - now] as const
      })
  })
}, Effect.provide(RateLimiter.layerStoreMemory))
