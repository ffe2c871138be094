import { generateKeyPairSync, type KeyObject } from "node:crypto"
import type { JWK } from "jose"

export interface KeyPair {
  readonly alg: "EdDSA" | "ES256"
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  readonly privateJwk: JWK
  readonly publicJwk: JWK
}

/** A new pair of keys of this name, or of none. */
export const newKeyPair = (alg: KeyPair["alg"], kid?: string): KeyPair => {
  const { privateKey, publicKey } = alg === "EdDSA"
    ? generateKeyPairSync("ed25519")
    : generateKeyPairSync("ec", { namedCurve: "P-256" })
  const name = kid === undefined ? {} : { kid }
  return {
    alg,
    privateKey,
    publicKey,
    privateJwk: { ...privateKey.export({ format: "jwk" }) as JWK, ...name },
    publicJwk: { ...publicKey.export({ format: "jwk" }) as JWK, ...name }
  }
}

/** JWT_PRIVATE_KEYS of these pairs, the first of which signs. */
export const privateKeys = (...pairs: ReadonlyArray<KeyPair>): { readonly JWT_PRIVATE_KEYS: string } => ({
  JWT_PRIVATE_KEYS: JSON.stringify({ keys: pairs.map(({ privateJwk }) => privateJwk) })
})
