/** Keys as JSON (RFC 7517): which of them may sign, and which may verify what. */
import { calculateJwkThumbprint, CompactSign, compactVerify, type CryptoKey, importJWK, type JWK } from "jose"
import type { PublicJwk } from "../api/SystemApi.ts"
import { isRoca } from "./Roca.ts"

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

/** A private key that a setting gives, and what others may know of it. */
export interface SigningJwk {
  readonly kid: string
  readonly alg: "EdDSA" | "ES256"
  readonly publicJwk: PublicJwk
  readonly privateJwk: JWK
}

/** More keys than this are no set of one issuer. */
export const maximumKeys = 20

/** Key ids are for programs, and logs show them. */
const maximumKidLength = 256

type Members = Readonly<Record<string, unknown>>

const isMembers = (value: unknown): value is Members =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const isKid = (kid: unknown): kid is string => typeof kid === "string" && kid !== "" && kid.length <= maximumKidLength

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The members of a JWK set's keys, or undefined where it is none. */
const keysOf = (set: unknown): ReadonlyArray<unknown> | undefined =>
  isMembers(set) && Array.isArray(set["keys"]) && set["keys"].length <= maximumKeys ? set["keys"] : undefined

const hasDuplicates = (names: ReadonlyArray<string | undefined>) => {
  const given = names.filter((name) => name !== undefined)
  return new Set(given).size < given.length
}

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

// ---- keys that sign

const text = (value: unknown): string => typeof value === "string" ? value : ""

/** The one algorithm that a key of these members can sign with. */
const signingAlgorithm = ({ crv, kty }: Members): SigningJwk["alg"] | undefined =>
  kty === "OKP" && crv === "Ed25519" ? "EdDSA" : kty === "EC" && crv === "P-256" ? "ES256" : undefined

/** Whether a key that says this of itself, or nothing, may be used so. */
const isFor = (alg: PublicAlgorithm, said: unknown) => {
  const names: ReadonlyArray<unknown> = alg === "EdDSA" || alg === "Ed25519" ? ["EdDSA", "Ed25519"] : [alg]
  return said === undefined || names.includes(said)
}

const allows = (jwk: Members, operation: "sign" | "verify") =>
  jwk["key_ops"] === undefined || Array.isArray(jwk["key_ops"]) && jwk["key_ops"].includes(operation)

const signingFaults = (jwk: Members, alg: SigningJwk["alg"]): ReadonlyArray<string> => [
  ...isFor(alg, jwk["alg"]) ? [] : [`alg must be ${alg}`],
  ...jwk["d"] === undefined ? ["its private part, d, is missing"] : [],
  ...jwk["use"] === undefined || jwk["use"] === "sig" ? [] : ["use must be sig"],
  ...allows(jwk, "sign") ? [] : ["key_ops must allow sign"],
  ...jwk["kid"] === undefined || isKid(jwk["kid"]) ? [] : [`kid must be a text of 1 to ${maximumKidLength} characters`]
]

/** Whether the public part is that of the private one: otherwise nobody could verify what it signs. */
const isPair = async ({ alg, privateJwk, publicJwk }: SigningJwk): Promise<boolean> => {
  try {
    const signed = await new CompactSign(new Uint8Array(1)).setProtectedHeader({ alg })
      .sign(await importFor(privateJwk, alg))
    await compactVerify(signed, await importFor(publicJwk, alg), { algorithms: [alg] })
    return true
  } catch {
    return false
  }
}

const signingJwk = async (jwk: unknown): Promise<SigningJwk | ReadonlyArray<string>> => {
  if (!isMembers(jwk)) return ["must be an object"]
  const alg = signingAlgorithm(jwk)
  if (alg === undefined) return ["kty and crv must be OKP with Ed25519, or EC with P-256"]
  const faults = signingFaults(jwk, alg)
  if (faults.length > 0) return faults
  const [x, y, d, kid] = [text(jwk["x"]), text(jwk["y"]), text(jwk["d"]), text(jwk["kid"])]
  const numbers = alg === "EdDSA"
    ? { kty: "OKP", crv: "Ed25519", x } as const
    : { kty: "EC", crv: "P-256", x, y } as const
  const key = (name: string): SigningJwk => ({
    kid: name,
    alg,
    publicJwk: { ...numbers, kid: name, alg, use: "sig" },
    privateJwk: { ...numbers, d }
  })
  if (!await isPair(key(""))) return ["its numbers are not those of one pair of keys"]
  return key(kid === "" ? await calculateJwkThumbprint(numbers) : kid)
}

/**
 * The keys of a setting, the first of which signs, or every fault of it. A key without a name gets its thumbprint
 * (RFC 7638).
 */
export const readSigningKeys = async (
  text: string
): Promise<{ readonly keys: ReadonlyArray<SigningJwk>; readonly faults: ReadonlyArray<string> }> => {
  const members = keysOf(parsed(text))
  if (members === undefined || members.length === 0) {
    return { keys: [], faults: [`must be a JWK set (RFC 7517) of 1 to ${maximumKeys} keys`] }
  }
  const read = await Promise.all(members.map(signingJwk))
  const keys: Array<SigningJwk> = []
  const faults: Array<string> = []
  for (const [i, outcome] of read.entries()) {
    if (!("kid" in outcome)) faults.push(...outcome.map((fault) => `keys[${i}]: ${fault}`))
    else if (keys.some(({ kid }) => kid === outcome.kid)) faults.push(`keys[${i}]: kid is that of an earlier key`)
    else keys.push(outcome)
  }
  return { keys, faults }
}

// ---- keys that an issuer publishes

const curves: Readonly<Record<string, PublicAlgorithm>> = { "P-256": "ES256", "P-384": "ES384", "P-521": "ES512" }

const rsaAlgorithms: ReadonlyArray<PublicAlgorithm> = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]

/** A number as RFC 7518 2 writes it. */
const integer = (text: unknown): bigint =>
  typeof text === "string" && text !== "" ? BigInt(`0x${Buffer.from(text, "base64url").toString("hex") || "0"}`) : 0n

/** At least 2048 bits and at most 8192, an exponent that does something, and none of the keys of CVE-2017-15361. */
const isSoundRsa = (jwk: Members): boolean => {
  const [modulus, exponent] = [integer(jwk["n"]), integer(jwk["e"])]
  const bits = modulus.toString(2).length
  return bits >= 2_048 && bits <= 8_192 && exponent >= 3n && exponent < 2n ** 64n && exponent % 2n === 1n &&
    !isRoca(modulus)
}

/** What a key can verify by its kind, whatever it says of itself. */
const algorithmsOf = (jwk: Members): ReadonlyArray<PublicAlgorithm> => {
  switch (jwk["kty"]) {
    case "OKP":
      return jwk["crv"] === "Ed25519" ? ["EdDSA", "Ed25519"] : []
    case "EC": {
      const alg = Object.hasOwn(curves, String(jwk["crv"])) ? curves[String(jwk["crv"])] : undefined
      return alg === undefined ? [] : [alg]
    }
    case "RSA":
      return isSoundRsa(jwk) ? rsaAlgorithms : []
    default:
      return []
  }
}

/**
 * The keys of a published set that may verify signatures of these algorithms, or why the whole set is refused. Keys for
 * another purpose, of another kind, or too weak are left out; a set that tells a secret, or has two keys of one name, is
 * not one to trust.
 */
export const verificationKeys = async (
  set: unknown,
  algorithms: ReadonlyArray<PublicAlgorithm>
): Promise<ReadonlyArray<VerificationKey> | string> => {
  const members = keysOf(set)
  if (members === undefined) return `no JWK set of at most ${maximumKeys} keys`
  if (!members.every(isMembers)) return "a key is no object"
  if (members.some(({ kty }) => kty === "oct")) return "it has a symmetric key"
  if (hasDuplicates(members.map(({ kid }) => typeof kid === "string" ? kid : undefined))) return "two keys have one kid"
  const usable = members.filter((jwk) =>
    (jwk["use"] === undefined || jwk["use"] === "sig") && allows(jwk, "verify") &&
    (jwk["kid"] === undefined || isKid(jwk["kid"]))
  )
  const imported = await Promise.all(
    usable.flatMap((jwk) =>
      algorithmsOf(jwk).filter((alg) => algorithms.includes(alg) && isFor(alg, jwk["alg"])).map(async (alg) => {
        const { crv, e, kid, kty, n, x, y } = jwk as JWK
        // its numbers alone: a private part has no business here
        const numbers = kty === "RSA"
          ? { kty, n: n!, e: e! }
          : { kty: kty!, crv: crv!, x: x!, ...(y !== undefined && { y }) }
        try {
          return [{ kid, alg, key: await importFor(numbers, alg) }]
        } catch {
          // a point that is not on its curve, for example
          return []
        }
      })
    )
  )
  return imported.flat()
}
