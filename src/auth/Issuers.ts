/** Who may issue tokens besides this server, and what their tokens say. */
import { Context, Effect, Layer, Option, Redacted, Schema } from "effect"
import type { ExternalToken } from "../domain/Identity.ts"
import { text } from "../domain/Text.ts"
import { Settings } from "../Settings.ts"
import { sessionIdOf, tokenHash } from "./IdentityHashes.ts"
import { issuerKeys } from "./IssuerKeys.ts"
import { secretKey, type VerificationKey } from "./JsonWebKeys.ts"
import type { HeaderRules, Times } from "./SignedTokens.ts"
import type { TrustedIssuer } from "./TrustedIssuers.ts"

/** What tokens of one issuer are checked with. */
export interface Verifier<Token> {
  /** the keys to trust at a time in milliseconds */
  readonly keys: (now: number) => ReadonlyArray<VerificationKey>
  /** what may help where a token names a key that is not among them */
  readonly refresh: Effect.Effect<void>
  readonly rules: HeaderRules
  /** difference between clocks that is forgiven, in seconds */
  readonly leeway: number
  /** what a token's claims say, or undefined where they are not what they have to be; time is checked elsewhere */
  readonly read: (claims: unknown, token: string) => { readonly token: Token; readonly times: Times } | undefined
}

/** Seconds: clocks of others may be worse than our own. */
export const leeway = 30

/** What PostgreSQL and an index can hold, and no OpenID provider exceeds (OpenID Connect Core 2). */
const subject = text().check(Schema.isMinLength(1), Schema.isMaxLength(255))

const seconds = Schema.Number.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 37 }))

const common = {
  sub: subject,
  exp: seconds,
  iat: Schema.optionalKey(seconds),
  nbf: Schema.optionalKey(seconds)
}
const audiences = Schema.Union([Schema.String, Schema.Array(Schema.String)])

const decodeClaims = Schema.decodeUnknownOption(Schema.Struct({ ...common, iss: Schema.String, aud: audiences }))

/** Claims that would make the token somebody else's must not be there. */
const absent = Schema.optionalKey(Schema.Never)
const decodeBareClaims = Schema.decodeUnknownOption(
  Schema.Struct({ ...common, iss: absent, sid: absent, aud: Schema.optionalKey(audiences) })
)

const isFor = (audience: string, aud: string | ReadonlyArray<string>) =>
  typeof aud === "string" ? aud === audience : aud.includes(audience)

const externalToken = (issuer: string, claims: Times & { readonly sub: string }, token: string) => {
  const hash = tokenHash(token)
  const external: ExternalToken = {
    issuer,
    subject: claims.sub,
    sessionId: sessionIdOf(hash),
    hash,
    issuedAt: claims.iat,
    expiresAt: claims.exp + leeway
  }
  return { token: external, times: claims }
}

const trusted = Effect.fnUntraced(function* ({ algorithms, audience, issuer, jwksUri }: TrustedIssuer) {
  const keys = yield* issuerKeys(issuer, jwksUri, algorithms)
  const verifier: Verifier<ExternalToken> = {
    keys: keys.at,
    refresh: keys.refresh,
    // Better Auth gives no type; a logout token or an event of the same issuer has one of its own
    rules: { types: [undefined, "jwt", "at+jwt"], namesKey: false },
    leeway,
    read: (sent, token) => {
      const claims = Option.getOrUndefined(decodeClaims(sent))
      return claims === undefined || claims.iss !== issuer || !isFor(audience, claims.aud)
        ? undefined
        : externalToken(issuer, claims, token)
    }
  }
  return [issuer, verifier] as const
})

/** What users of Better Auth's shared secret belong to: those tokens name no issuer. */
export const betterAuth = "better-auth"

const sharedSecret = async (secret: string, audience: string): Promise<Verifier<ExternalToken>> => {
  const keys = [await secretKey(undefined, new TextEncoder().encode(secret))]
  return {
    keys: () => keys,
    refresh: Effect.void,
    rules: { types: [undefined], namesKey: false },
    leeway,
    read: (sent, token) => {
      const claims = Option.getOrUndefined(decodeBareClaims(sent))
      return claims === undefined || claims.aud !== undefined && !isFor(audience, claims.aud)
        ? undefined
        : externalToken(betterAuth, claims, token)
    }
  }
}

export class Issuers extends Context.Service<Issuers, {
  /** By the exact `iss` of a token, or by none; undefined: nobody whom this server trusts. */
  readonly find: (iss: string | undefined) => Verifier<ExternalToken> | undefined
}>()("tasks-api/auth/Issuers") {
  static readonly layer = Layer.effect(
    Issuers,
    Effect.gen(function* () {
      const { betterAuthSecret, jwtAudience, trustedIssuers } = yield* Settings
      const byName = new Map(yield* Effect.forEach(trustedIssuers, trusted))
      const unnamed = betterAuthSecret === undefined
        ? undefined
        : yield* Effect.promise(() => sharedSecret(Redacted.value(betterAuthSecret), jwtAudience))
      return Issuers.of({ find: (iss) => iss === undefined ? unnamed : byName.get(iss) })
    })
  )
}
