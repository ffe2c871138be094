/** The keys that are derived from the secrets of the settings. */
import { Context, Effect, Layer, Redacted } from "effect"
import { hkdfSync } from "node:crypto"
import { Settings } from "../Settings.ts"

/** One secret and what is derived from it (HKDF-SHA-256, RFC 5869), so that no key is used for two purposes. */
export interface KeySet {
  /** names the secret in tokens without telling anything about it */
  readonly kid: string
  /** the secret's own bytes: HS256 tokens must be verifiable by whoever has the secret */
  readonly accessToken: Uint8Array
  /** the first byte of `kid`, which names the secret in refresh tokens */
  readonly refreshKeyId: number
  readonly refreshToken: Uint8Array
  readonly cursor: Uint8Array
}

const derive = (secret: string, purpose: string, bytes: number) =>
  new Uint8Array(hkdfSync("sha256", secret, "", `tasks-api/${purpose}`, bytes))

const keySet = (secret: Redacted.Redacted): KeySet => {
  const value = Redacted.value(secret)
  const id = derive(value, "key id", 8)
  return {
    kid: Buffer.from(id).toString("hex"),
    accessToken: new TextEncoder().encode(value),
    refreshKeyId: id[0]!,
    refreshToken: derive(value, "refresh token", 32),
    cursor: derive(value, "cursor", 32)
  }
}

export class Keys extends Context.Service<Keys, {
  /** signs */
  readonly current: KeySet
  /** verify: the current one, then the one before it */
  readonly all: ReadonlyArray<KeySet>
}>()("tasks-api/auth/Keys") {
  static readonly layer = Layer.effect(
    Keys,
    Effect.gen(function* () {
      const { jwtSecret, jwtSecretPrevious } = yield* Settings
      const current = keySet(jwtSecret)
      return Keys.of({
        current,
        all: jwtSecretPrevious === undefined ? [current] : [current, keySet(jwtSecretPrevious)]
      })
    })
  )
}
