/** The form of refresh tokens. What one is worth is decided by its session's row alone. */
import { createHmac, timingSafeEqual } from "node:crypto"
import { Context, Effect, Layer } from "effect"
import { SessionId } from "../domain/Session.ts"
import { UserId } from "../domain/User.ts"
import { Keys, type KeySet } from "./Keys.ts"

/** What a refresh token names: a login, and how often it was refreshed when the token was made. */
export interface RefreshTokenParts {
  readonly userId: UserId
  readonly sessionId: SessionId
  readonly generation: number
}

/** A token as it was sent: its MAC can be checked only with the salt of the row that it names. */
export interface ParsedRefreshToken extends RefreshTokenParts {
  readonly bytes: Uint8Array
}

const format = 1
// format, key id, user id, session id, generation, MAC
const macStart = 1 + 1 + 16 + 16 + 4
const length = macStart + 32

const uuidBytes = (uuid: string) => Buffer.from(uuid.replaceAll("-", ""), "hex")
const uuidText = (bytes: Uint8Array) =>
  Buffer.from(bytes).toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5")

const mac = (keys: KeySet, named: Uint8Array, salt: Uint8Array) =>
  createHmac("sha256", keys.refreshToken).update("rt1").update(named).update(salt).digest()

export class RefreshTokens extends Context.Service<RefreshTokens, {
  /** The token of this generation: the same one whoever asks, so that a retry gets what the first answer lost. */
  readonly make: (parts: RefreshTokenParts, salt: Uint8Array) => string
  /** Reads a token; undefined where its form is not ours, without asking the database. */
  readonly parse: (token: string) => ParsedRefreshToken | undefined
  /** Whether this server made the token for the row with this salt; in constant time. */
  readonly isGenuine: (token: ParsedRefreshToken, salt: Uint8Array) => boolean
}>()("tasks-api/auth/RefreshTokens") {
  static readonly layer = Layer.effect(
    RefreshTokens,
    Effect.gen(function* () {
      const keys = yield* Keys
      return RefreshTokens.of({
        make: ({ generation, sessionId, userId }, salt) => {
          const bytes = Buffer.alloc(length)
          bytes[0] = format
          bytes[1] = keys.current.refreshKeyId
          uuidBytes(userId).copy(bytes, 2)
          uuidBytes(sessionId).copy(bytes, 18)
          bytes.writeUInt32BE(generation, 34)
          mac(keys.current, bytes.subarray(2, macStart), salt).copy(bytes, macStart)
          return bytes.toString("base64url")
        },
        parse: (token) => {
          if (token.length !== Math.ceil(length * 4 / 3)) return undefined
          const bytes = Buffer.from(token, "base64url")
          // only one spelling of a token: the decoder forgives padding bits and foreign characters
          if (bytes.length !== length || bytes[0] !== format || bytes.toString("base64url") !== token) return undefined
          return {
            bytes,
            userId: UserId.make(uuidText(bytes.subarray(2, 18)), { disableChecks: true }),
            sessionId: SessionId.make(uuidText(bytes.subarray(18, 34)), { disableChecks: true }),
            generation: bytes.readUInt32BE(34)
          }
        },
        isGenuine: ({ bytes }, salt) =>
          keys.all.some((set) =>
            set.refreshKeyId === bytes[1] &&
            timingSafeEqual(mac(set, bytes.subarray(2, macStart), salt), bytes.subarray(macStart))
          )
      })
    })
  )
}
