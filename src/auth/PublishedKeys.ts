/** The keys that an issuer publishes: which of them may verify what. */
import type { JWK } from "jose"
import {
  allows,
  importFor,
  isFor,
  isKid,
  isMembers,
  keysOf,
  maximumKeys,
  type Members,
  type PublicAlgorithm,
  type VerificationKey
} from "./JsonWebKeys.ts"
import { isRoca } from "./Roca.ts"

const hasDuplicates = (names: ReadonlyArray<string | undefined>) => {
  const given = names.filter((name) => name !== undefined)
  return new Set(given).size < given.length
}

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
