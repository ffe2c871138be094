/** Access tokens (JWTs signed with HS256) and refresh tokens (a session's row and generation with a MAC). */
import { createHmac } from "node:crypto"
import { createSigner, createVerifier, TokenError } from "fast-jwt"
import { v7 as uuidv7 } from "uuid"
import type { Keys } from "../keys.ts"
import { Problem } from "../problems.ts"

export interface Claims {
  readonly sub: string
  readonly sid: string
}

const issuer = "tasks-api"
const typ = "at+jwt"
const uuidBytes = (uuid: string) => Buffer.from(uuid.replaceAll("-", ""), "hex")

export const tokens = (secret: string, keys: Keys) => {
  const signToken = createSigner({ key: secret, algorithm: "HS256", kid: keys.kid, header: { alg: "HS256", typ } })
  const verifyToken = createVerifier({
    key: secret,
    algorithms: ["HS256"],
    allowedIss: issuer,
    allowedAud: issuer,
    checkTyp: typ,
    requiredClaims: ["iss", "aud", "sub", "sid", "jti", "iat", "exp"],
    clockTolerance: 5_000,
    cache: true
  })

  return {
    verify: (token: string): Claims => {
      try {
        return verifyToken(token)
      } catch (error) {
        const expired = error instanceof TokenError && error.code === TokenError.codes.expired
        throw new Problem(expired ? "token_expired" : "token_invalid")
      }
    },
    issue: ({ sid, sub }: Claims, salt: Buffer, expiresIn: number) => {
      const iat = Math.floor(Date.now() / 1000)
      const generation = Buffer.alloc(4)
      const named = Buffer.concat([uuidBytes(sub), uuidBytes(sid), generation])
      const mac = createHmac("sha256", keys.refreshToken).update("rt1").update(named).update(salt).digest()
      return {
        access_token: signToken({ iss: issuer, aud: issuer, sub, sid, jti: uuidv7(), iat, exp: iat + expiresIn }),
        refresh_token: Buffer.concat([Buffer.of(1, keys.refreshKeyId), named, mac]).toString("base64url"),
        token_type: "bearer",
        expires_in: expiresIn
      }
    }
  }
}
export type Tokens = ReturnType<typeof tokens>
