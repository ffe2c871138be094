/** The checks that api/RateLimits.ts declares: for each endpoint the policies that it names, whatever its URL looks like. */
import { Context, Effect, Layer } from "effect"
import { CurrentUser } from "../api/Authorization.ts"
import { NetworkLimit, NetworkPolicy, UserLimit, UserPolicies } from "../api/RateLimits.ts"
import { Limits } from "./Limits.ts"

const networkLimit = Layer.effect(
  NetworkLimit,
  Effect.map(
    Limits,
    ({ charge }) =>
      NetworkLimit.of((httpEffect, { endpoint }) =>
        Effect.andThen(charge(Context.get(endpoint.annotations, NetworkPolicy)), httpEffect)
      )
  )
)

const userLimit = Layer.effect(
  UserLimit,
  Effect.map(
    Limits,
    ({ charge }) =>
      UserLimit.of((httpEffect, { endpoint }) =>
        Effect.flatMap(CurrentUser, ({ id }) =>
          Effect.andThen(
            Effect.forEach(Context.get(endpoint.annotations, UserPolicies), (policy) => charge(policy, { user: id }), {
              discard: true
            }),
            httpEffect
          ))
      )
  )
)

export const layer = Layer.mergeAll(networkLimit, userLimit)
