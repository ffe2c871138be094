/** Access tokens: JWTs (RFC 7519) in the style of RFC 9068, signed with the first private key or with HS256. */
import { createHash } from "node:crypto"
import { Clock, Context, Effect, Layer, Option, Schema } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { SignJWT } from "jose"
import { TokenExpired, TokenInvalid } from "../api/Problems.ts"
import { SessionId } from "../domain/Session.ts"
import { UserId } from "../domain/User.ts"
import { Settings } from "../Settings.ts"
import { Keys } from "./Keys.ts"
import { checkTimes, claimsOf, type HeaderRules, verifySignature } from "./SignedTokens.ts"

/** What a token says: who, and by which login. Nothing personal is in it. */
export interface AccessTokenClaims {
  readonly userId: UserId
  readonly sessionId: SessionId
}

const seconds = Schema.Number.check(Schema.isInt(), Schema.isBetween({ minimum: 0, maximum: 2 ** 42 }))
const Claims = Schema.Struct({
  iss: Schema.String,
  aud: Schema.String,
  sub: UserId,
  sid: SessionId,
  jti: Schema.NonEmptyString,
  iat: seconds,
  exp: seconds,
  nbf: Schema.optionalKey(seconds)
})
const decodeClaims = Schema.decodeUnknownOption(Claims)

/** Longer ones are not parsed: ours have at most about 460 characters. */
const maximumLength = 4_096

/** Clock difference in seconds between instances that is forgiven. */
const leeway = 5

/** Tokens whose signature is remembered; the oldest are forgotten. */
const capacity = 10_000

const typ = "at+jwt"
const rules: HeaderRules = { types: [typ], namesKey: true }

export class AccessTokens extends Context.Service<AccessTokens, {
  /** A token that expires in `expiresIn` seconds. */
  readonly sign: (claims: AccessTokenClaims, expiresIn: number) => Effect.Effect<string>
  /** The claims of a token of ours; tells expiry (`token_expired`) from every other fault (`token_invalid`). */
  readonly verify: (token: string) => Effect.Effect<AccessTokenClaims, TokenInvalid | TokenExpired>
}>()("tasks-api/auth/AccessTokens") {
  static readonly layer = Layer.effect(
    AccessTokens,
    Effect.gen(function* () {
      const { jwtAudience, jwtIssuer } = yield* Settings
      const { signing, verification } = (yield* Keys).accessTokens

      const invalid = new TokenInvalid()

      /** What was verified, by the token's hash, with the second of its expiry: signatures do not change. */
      const verified = new Map<string, AccessTokenClaims & { readonly exp: number }>()
      const remember = (hash: string, claims: AccessTokenClaims & { readonly exp: number }) => {
        for (const oldest of verified.keys()) {
          if (verified.size < capacity) break
          verified.delete(oldest)
        }
        verified.set(hash, claims)
        return claims
      }

      const check = async (
        token: string,
        now: number
      ): Promise<(AccessTokenClaims & { readonly exp: number }) | "expired" | undefined> => {
        const signed = await verifySignature(token, verification, rules)
        if (typeof signed === "string") return undefined
        const claims = Option.getOrUndefined(decodeClaims(claimsOf(signed.payload)))
        if (claims === undefined || claims.iss !== jwtIssuer || claims.aud !== jwtAudience) return undefined
        switch (checkTimes(claims, now, leeway)) {
          case "good":
            return { userId: claims.sub, sessionId: claims.sid, exp: claims.exp }
          case "expired":
            return "expired"
          case "early":
            return undefined
        }
      }

      return AccessTokens.of({
        sign: (claims, expiresIn) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            const issuedAt = Math.floor(now / 1000)
            return Effect.promise(() =>
              new SignJWT({ sid: claims.sessionId })
                .setProtectedHeader({ alg: signing.alg, kid: signing.kid, typ })
                .setIssuer(jwtIssuer)
                .setAudience(jwtAudience)
                .setSubject(claims.userId)
                .setJti(SecureRandom.uuidV7Unsafe())
                .setIssuedAt(issuedAt)
                .setExpirationTime(issuedAt + expiresIn)
                .sign(signing.key)
            )
          }),
        verify: Effect.fnUntraced(function* (token) {
          if (token.length > maximumLength) return yield* invalid
          const now = yield* Clock.currentTimeMillis
          const hash = createHash("sha256").update(token).digest("base64url")
          const known = verified.get(hash)
          if (known !== undefined && now < (known.exp + leeway) * 1_000) return known
          const claims = yield* Effect.promise(() => check(token, now))
          if (claims === undefined) return yield* invalid
          if (claims === "expired") return yield* new TokenExpired()
          return remember(hash, claims)
        })
      })
    })
  )
}
