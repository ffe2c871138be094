/** Access tokens: JWTs (RFC 7519) in the style of RFC 9068, signed with the first private key or with HS256. */
import { createHash } from "node:crypto"
import { Clock, Context, Effect, Layer, Option, Schema } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { SignJWT } from "jose"
import { TokenExpired, TokenInvalid } from "../api/Problems.ts"
import type { ExternalToken } from "../domain/Identity.ts"
import { SessionId } from "../domain/Session.ts"
import { UserId } from "../domain/User.ts"
import { Settings } from "../Settings.ts"
import { Keys } from "./Keys.ts"
import { Issuers, type Verifier } from "./Issuers.ts"
import type { VerificationKey } from "./JsonWebKeys.ts"
import { checkTimes, claimsOf, verifySignature } from "./SignedTokens.ts"

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

/** A token that was verified, until when in milliseconds, and with which of its issuer's keys. */
interface Verified {
  readonly token: AccessTokenClaims | ExternalToken
  readonly until: number
  readonly key: VerificationKey
  readonly verifier: Verifier<AccessTokenClaims | ExternalToken>
}

/** The issuer that a token says it is from, before anything of it can be believed; null: it says nothing that could be. */
const issuerOf = (token: string): string | undefined | null => {
  const claims = claimsOf(Buffer.from(token.split(".", 2)[1] ?? "", "base64url"))
  const iss = claims?.["iss"]
  return claims !== undefined && (iss === undefined || typeof iss === "string") ? iss : null
}

export class AccessTokens extends Context.Service<AccessTokens, {
  /** A token that expires in `expiresIn` seconds. */
  readonly sign: (claims: AccessTokenClaims, expiresIn: number) => Effect.Effect<string>
  /**
   * What a token says, be it of ours or of another issuer that this server trusts. Tells expiry (`token_expired`) from
   * every other fault (`token_invalid`).
   */
  readonly verify: (token: string) => Effect.Effect<AccessTokenClaims | ExternalToken, TokenInvalid | TokenExpired>
}>()("tasks-api/auth/AccessTokens") {
  static readonly layer = Layer.effect(
    AccessTokens,
    Effect.gen(function* () {
      const { jwtAudience, jwtIssuer, localAccounts } = yield* Settings
      const { signing, verification } = (yield* Keys).accessTokens
      const issuers = yield* Issuers

      const own: Verifier<AccessTokenClaims> = {
        keys: () => verification,
        refresh: Effect.void,
        rules: { types: [typ], namesKey: true },
        leeway,
        read: (sent) => {
          const claims = Option.getOrUndefined(decodeClaims(sent))
          return claims === undefined || claims.iss !== jwtIssuer || claims.aud !== jwtAudience
            ? undefined
            : { token: { userId: claims.sub, sessionId: claims.sid }, times: claims }
        }
      }
      /** The rules are chosen by the exact issuer; whatever else a token says is then held against them. */
      const verifierOf = (token: string) => {
        const issuer = issuerOf(token)
        if (issuer === null) return undefined
        return issuer === jwtIssuer ? (localAccounts ? own : undefined) : issuers.find(issuer)
      }

      const invalid = new TokenInvalid()

      /** What was verified, by the token's hash: signatures do not change, but keys may be withdrawn. */
      const verified = new Map<string, Verified>()
      const remember = (hash: string, entry: Verified) => {
        for (const oldest of verified.keys()) {
          if (verified.size < capacity) break
          verified.delete(oldest)
        }
        verified.set(hash, entry)
      }

      const signatureOf = Effect.fnUntraced(function* (token: string, verifier: Verifier<unknown>, now: number) {
        const verify = Effect.suspend(() =>
          Effect.promise(() => verifySignature(token, verifier.keys(now), verifier.rules))
        )
        const signed = yield* verify
        return signed === "unknown_key" ? yield* Effect.andThen(verifier.refresh, verify) : signed
      })

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
          if (known !== undefined && now < known.until && known.verifier.keys(now).includes(known.key)) {
            return known.token
          }
          const verifier: Verifier<AccessTokenClaims | ExternalToken> | undefined = verifierOf(token)
          if (verifier === undefined) return yield* invalid
          const signed = yield* signatureOf(token, verifier, now)
          if (typeof signed === "string") return yield* invalid
          const read = verifier.read(claimsOf(signed.payload), token)
          if (read === undefined) return yield* invalid
          const goodness = checkTimes(read.times, now, verifier.leeway)
          if (goodness === "early") return yield* invalid
          if (goodness === "expired") return yield* new TokenExpired()
          const until = (read.times.exp + verifier.leeway) * 1_000
          remember(hash, { token: read.token, until, key: signed.key, verifier })
          return read.token
        })
      })
    })
  )
}
