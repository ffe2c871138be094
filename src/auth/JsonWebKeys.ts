/** Keys as JSON (RFC 7517), whoever they are from. */
import { type CryptoKey, importJWK, type JWK } from "jose"

/** What keys of a set may be for (RFC 7518 3.1, RFC 8037): never a secret, which a set would tell everybody. */
export const publicAlgorithms = [
  "EdDSA",
  // RFC 9864's name of the same
  "Ed25519",
  "ES256",
  "ES384",
  "ES512",
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512"
] as const
export type PublicAlgorithm = typeof publicAlgorithms[number]

/** A key with the one algorithm that it is used with: what a token says of itself decides nothing (RFC 8725 3.1). */
export interface VerificationKey {
  readonly kid: string | undefined
  readonly alg: PublicAlgorithm | "HS256"
  readonly key: CryptoKey
}

/** More keys than this are no set of one issuer. */
export const maximumKeys = 20

/** Key ids are for programs, and logs show them. */
export const maximumKidLength = 256

/** What a key, or a set of them, says of itself. */
export type Members = Readonly<Record<string, unknown>>

/** Whether this is an object, as a key and a set are. */
export const isMembers = (value: unknown): value is Members =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** A name that a key may have. */
export const isKid = (kid: unknown): kid is string =>
  typeof kid === "string" && kid !== "" && kid.length <= maximumKidLength

/** The members of a JWK set's keys, or undefined where it is none. */
export const keysOf = (set: unknown): ReadonlyArray<unknown> | undefined =>
  isMembers(set) && Array.isArray(set["keys"]) && set["keys"].length <= maximumKeys ? set["keys"] : undefined

/** An HS256 key, which needs at least 32 bytes (RFC 7518 3.2). */
export const secretKey = async (kid: string | undefined, bytes: Uint8Array): Promise<VerificationKey> => {
  if (bytes.length < 32) throw new RangeError("a key for HS256 needs at least 32 bytes")
  const key = await crypto.subtle.importKey("raw", Uint8Array.from(bytes), { name: "HMAC", hash: "SHA-256" }, false, [
    "sign",
    "verify"
  ])
  return { kid, alg: "HS256", key }
}

/** Imports a key for one algorithm; fails where its numbers are not those of a key. */
export const importFor = async (jwk: JWK, alg: string): Promise<CryptoKey> => {
  const key = await importJWK(jwk, alg)
  if (key instanceof Uint8Array) throw new TypeError("a secret is no key of a set")
  return key
}

/** Whether a key that says this of itself, or nothing, may be used so. */
export const isFor = (alg: PublicAlgorithm, said: unknown) => {
  const names: ReadonlyArray<unknown> = alg === "EdDSA" || alg === "Ed25519" ? ["EdDSA", "Ed25519"] : [alg]
  return said === undefined || names.includes(said)
}

/** Whether a key that says what it is for may be used so. */
export const allows = (jwk: Members, operation: "sign" | "verify") =>
  jwk["key_ops"] === undefined || Array.isArray(jwk["key_ops"]) && jwk["key_ops"].includes(operation)
