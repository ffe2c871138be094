/** How often something may be done, and the 429 of who does it more often (RFC 6585 4). */
import { Context, Schema } from "effect"
import { HttpApiMiddleware, HttpApiSchema } from "effect/http-api"
import { CurrentUser } from "./Authorization.ts"
import { RateLimited } from "./Problems.ts"

interface Policy {
  /** who has the limit for themselves; the network is the IPv4 address or the IPv6 /64 of a request */
  readonly key: ReadonlyArray<"account" | "network" | "user" | "session">
  readonly limit: number
  /** seconds */
  readonly window: number
}

/**
 * Every limit, under the name that answers give it. Each unit that is spent keeps the count for another `window / limit`
 * seconds; then the count begins anew. So `limit` may be spent at once, and on average no more than that in `window`
 * seconds; what is left once nothing is left is 0 until the count begins anew, and all of it from then on.
 */
export const policies = {
  /** Failed attempts to tell an account's password. An attacker elsewhere does not lock out the account's owner. */
  login: { key: ["account", "network"], limit: 10, window: 900 },
  login_attempts: { key: ["network"], limit: 100, window: 900 },
  register: { key: ["network"], limit: 10, window: 3_600 },
  refresh: { key: ["session"], limit: 30, window: 60 },
  /** Everything with a token. */
  requests: { key: ["user"], limit: 600, window: 60 },
  /** Bulk and batch, which count as `requests` too. */
  bulk: { key: ["user"], limit: 60, window: 60 },
  /** Apart from the other requests, and for each network: a thief with many requests does not keep the owner from it. */
  logout: { key: ["user", "network"], limit: 600, window: 60 }
} as const satisfies Record<string, Policy>

export type PolicyName = keyof typeof policies

/** The policies whose key is one of these. */
type KeyedBy<Key extends Policy["key"][number]> = {
  readonly [Name in PolicyName]: (typeof policies)[Name]["key"] extends readonly [Key] ? Name : never
}[PolicyName]

const names = Object.keys(policies) as [PolicyName, ...Array<PolicyName>]

/** A policy has nothing left for whoever asks. */
export class LimitReached extends Schema.Error<LimitReached>("LimitReached")({
  _tag: Schema.tag("rate_limited"),
  policy: Schema.Literals(names),
  /** seconds until the whole limit may be spent again */
  retryAfter: Schema.Int
}) {}

/** How it is sent (draft-ietf-httpapi-ratelimit-headers-11). */
export const RateLimitProblem = LimitReached.pipe(HttpApiSchema.encodeToWithHeaders({
  body: RateLimited.annotate({ description: "A limit is used up" }),
  headers: {
    "retry-after": Schema.Int.annotate({ description: "seconds" }),
    "ratelimit-policy": Schema.String.annotate({
      description: 'the limit: its name, and what it allows (`q`) in how many seconds (`w`): `"login";q=10;w=900`'
    }),
    "ratelimit": Schema.String.annotate({
      description: 'what is left of it (`r`), and in how many seconds it may be spent anew (`t`): `"login";r=0;t=840`'
    })
  }
}, {
  decode: ({ headers }) =>
    new LimitReached({
      policy: names.find((name) => headers.ratelimit.startsWith(`"${name}"`)) ?? "requests",
      retryAfter: headers["retry-after"]
    }),
  encode: ({ policy, retryAfter }) => ({
    body: new RateLimited(),
    headers: {
      "retry-after": retryAfter,
      "ratelimit-policy": `"${policy}";q=${policies[policy].limit};w=${policies[policy].window}`,
      "ratelimit": `"${policy}";r=0;t=${retryAfter}`
    }
  })
}))

/** The policy that NetworkLimit applies to an endpoint. */
export const NetworkPolicy = Context.Reference<KeyedBy<"network">>("tasks-api/api/RateLimits/NetworkPolicy", {
  defaultValue: () => "login_attempts"
})

/** Limits what a network may ask of endpoints without a token; decided before the body is read. */
export class NetworkLimit extends HttpApiMiddleware.Service<NetworkLimit>()("tasks-api/api/RateLimits/NetworkLimit", {
  error: RateLimitProblem
}) {}

/** The policies that UserLimit applies to an endpoint. */
export const UserPolicies = Context.Reference<ReadonlyArray<KeyedBy<"user">>>(
  "tasks-api/api/RateLimits/UserPolicies",
  { defaultValue: () => ["requests"] }
)

/** Limits what a user may ask; decided once it is known that the user may ask at all, before the body is read. */
export class UserLimit extends HttpApiMiddleware.Service<UserLimit, { requires: CurrentUser }>()(
  "tasks-api/api/RateLimits/UserLimit",
  { error: RateLimitProblem }
) {}
