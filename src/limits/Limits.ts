/** Limits on how often something is asked for. */
import { createHmac } from "node:crypto"
import { Cause, Context, Duration, Effect, Exit, Layer, Option } from "effect"
import * as RateLimiter from "effect/persistence/RateLimiter"
import { LimitReached, policies, type PolicyName } from "../api/RateLimits.ts"
import { Keys } from "../auth/Keys.ts"
import { RequestInfo } from "../http/RequestInfo.ts"
import { Settings } from "../Settings.ts"
import { securityEvent } from "../telemetry/SecurityEvents.ts"
import { networkOf } from "./Network.ts"
import * as SharedStore from "./SharedStore.ts"

/** Who is charged, apart from the network, which the request tells: at least what the policy's key asks for. */
export interface Charged {
  /** in the log, wherever it is known */
  readonly user?: string
  readonly session?: string
  /** a login name in the form in which names are unique; whether it has an account makes no difference */
  readonly account?: string
}

export class Limits extends Context.Service<Limits, {
  /** Spends one unit, or fails where none is left; then nothing is spent. Whoever goes away meanwhile has spent it. */
  readonly charge: (policy: PolicyName, charged?: Charged) => Effect.Effect<void, LimitReached>
  /**
   * Limits failures: spends one unit before the work, so that many at once can't have more of them than one after the
   * other, and gives it back unless the work fails in this way or its client goes away.
   */
  readonly failures: <E>(
    policy: PolicyName,
    charged: Charged,
    isFailure: (error: E) => boolean
  ) => <A, R>(work: Effect.Effect<A, E, R>) => Effect.Effect<A, E | LimitReached, R>
}>()("tasks-api/limits/Limits") {
  static readonly layer = Layer.effect(
    Limits,
    Effect.gen(function* () {
      const { rateLimits } = yield* Settings
      if (!rateLimits) return Limits.of({ charge: () => Effect.void, failures: () => (work) => work })

      const limiter = yield* RateLimiter.RateLimiter
      const { current } = yield* Keys
      const windows = Object.fromEntries(
        Object.entries(policies).map(([name, { window }]) => [name, Duration.seconds(window)])
      )

      /** What a client typed is not kept anywhere, and its length is the client's choice. */
      const digest = (account: string) =>
        createHmac("sha256", current.limits).update(account).digest().subarray(0, 16).toString("base64url")

      const keyOf = (policy: PolicyName, charged: Charged, address: string | undefined) => {
        let key: string = policy
        for (const part of policies[policy].key) {
          key += ` ${
            part === "network"
              ? networkOf(address)
              : part === "account"
              ? digest(charged.account ?? "")
              : charged[part] ?? ""
          }`
        }
        return key
      }

      const consume = (policy: PolicyName, key: string, tokens: number) =>
        limiter.consume({ key, tokens, window: windows[policy]!, limit: policies[policy].limit })

      const refused = Effect.fnUntraced(function* (policy: PolicyName, charged: Charged, wait: Duration.Duration) {
        yield* Effect.annotateLogs(securityEvent("rate_limited", charged.user ?? null), { policy })
        return yield* new LimitReached({ policy, retryAfter: Math.max(1, Math.ceil(Duration.toSeconds(wait))) })
      })

      const spend = (policy: PolicyName, charged: Charged, key: string) =>
        Effect.matchEffect(consume(policy, key, 1), {
          onSuccess: () => Effect.void,
          onFailure: ({ reason }) =>
            // the store has an answer of its own where Redis has none
            reason._tag === "RateLimitExceeded" ? refused(policy, charged, reason.retryAfter) : Effect.die(reason)
        })

      const withKey = <A, E, R>(
        policy: PolicyName,
        charged: Charged,
        use: (key: string) => Effect.Effect<A, E, R>
      ) => Effect.flatMap(RequestInfo, ({ address }) => use(keyOf(policy, charged, address)))

      return Limits.of({
        charge: (policy, charged = {}) => withKey(policy, charged, (key) => spend(policy, charged, key)),
        failures: (policy, charged, isFailure) => (work) =>
          withKey(policy, charged, (key) =>
            Effect.andThen(
              spend(policy, charged, key),
              Effect.onExit(work, (exit) => {
                const isSpent = Exit.isFailure(exit) && (Cause.hasInterrupts(exit.cause) ||
                  Option.exists(Cause.findErrorOption(exit.cause), isFailure))
                return isSpent ? Effect.void : Effect.ignoreCause(consume(policy, key, -1))
              })
            ))
      })
    })
  ).pipe(Layer.provide(RateLimiter.layer.pipe(Layer.provide(SharedStore.layer))))
}
