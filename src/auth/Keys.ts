/** The keys of the settings: given ones, and those that are derived from the secrets. */
import { hkdfSync } from "node:crypto"
import { Context, Effect, Layer, Redacted } from "effect"
import type { CryptoKey } from "jose"
import type { PublicJwk } from "../api/SystemApi.ts"
import { Settings } from "../Settings.ts"
import { importFor, secretKey, type VerificationKey } from "./JsonWebKeys.ts"
import type { SigningJwk } from "./SigningKeys.ts"

/** What is derived from one secret (HKDF-SHA-256, RFC 5869), so that no key is used for two purposes. */
export interface KeySet {
  /** the first byte of the secret's `kid`, which names it in refresh tokens */
  readonly refreshKeyId: number
  readonly refreshToken: Uint8Array
  readonly cursor: Uint8Array
  readonly limits: Uint8Array
}

const derive = (secret: string, purpose: string, bytes: number) =>
  new Uint8Array(hkdfSync("sha256", secret, "", `tasks-api/${purpose}`, bytes))

const keySet = (secret: string): KeySet => ({
  refreshKeyId: derive(secret, "key id", 8)[0]!,
  refreshToken: derive(secret, "refresh token", 32),
  cursor: derive(secret, "cursor", 32),
  limits: derive(secret, "limits", 32)
})

/** Names a secret in tokens without telling anything about it. */
const kidOf = (secret: string) => Buffer.from(derive(secret, "key id", 8)).toString("hex")

/** The HS256 key is the secret's own bytes: whoever has the secret must be able to verify. */
const accessTokenKey = (secret: string) => secretKey(kidOf(secret), new TextEncoder().encode(secret))

/** A key that signs, and what a token says of it. */
export interface SigningKey {
  readonly kid: string
  readonly alg: "EdDSA" | "ES256" | "HS256"
  readonly key: CryptoKey
}

const signingKey = async (secret: string, pair: SigningJwk | undefined): Promise<SigningKey> =>
  pair === undefined
    ? { kid: kidOf(secret), alg: "HS256", key: (await accessTokenKey(secret)).key }
    : { kid: pair.kid, alg: pair.alg, key: await importFor(pair.privateJwk, pair.alg) }

export class Keys extends Context.Service<Keys, {
  /** what refresh tokens and cursors are made with */
  readonly current: KeySet
  /** what they are checked with: the current one, then the one before it */
  readonly all: ReadonlyArray<KeySet>
  readonly accessTokens: {
    /** the first private key, else the secret */
    readonly signing: SigningKey
    /** every key of the settings: of all private keys the public part, and the secrets */
    readonly verification: ReadonlyArray<VerificationKey>
    /** what others verify with: public parts, and never a secret */
    readonly published: ReadonlyArray<PublicJwk>
  }
}>()("tasks-api/auth/Keys") {
  static readonly layer = Layer.effect(
    Keys,
    Effect.gen(function* () {
      const { jwtPrivateKeys, jwtSecret, jwtSecretPrevious } = yield* Settings
      const current = Redacted.value(jwtSecret)
      const previous = jwtSecretPrevious === undefined ? current : Redacted.value(jwtSecretPrevious)
      const secrets = previous === current ? [current] : [current, previous]
      const pairs = jwtPrivateKeys.map(Redacted.value)
      // imported once: importing a raw key costs more than checking a signature
      const [verification, signing] = yield* Effect.promise(() =>
        Promise.all([
          Promise.all([
            ...pairs.map(async ({ alg, kid, publicJwk }) => ({ kid, alg, key: await importFor(publicJwk, alg) })),
            ...secrets.map(accessTokenKey)
          ]),
          signingKey(current, pairs[0])
        ])
      )
      return Keys.of({
        current: keySet(current),
        all: secrets.map(keySet),
        accessTokens: {
          signing,
          verification,
          published: pairs.map(({ publicJwk }) => publicJwk)
        }
      })
    })
  )
}
