/** The keys of JWT_PRIVATE_KEYS, which sign access tokens. */
import { calculateJwkThumbprint, CompactSign, compactVerify, type JWK } from "jose"
import type { PublicJwk } from "../api/SystemApi.ts"
import {
  allows,
  importFor,
  isFor,
  isKid,
  isMembers,
  keysOf,
  maximumKeys,
  maximumKidLength,
  type Members
} from "./JsonWebKeys.ts"

/** A private key that a setting gives, and what others may know of it. */
export interface SigningJwk {
  readonly kid: string
  readonly alg: "EdDSA" | "ES256"
  readonly publicJwk: PublicJwk
  readonly privateJwk: JWK
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const text = (value: unknown): string => typeof value === "string" ? value : ""

/** The one algorithm that a key of these members can sign with. */
const signingAlgorithm = ({ crv, kty }: Members): SigningJwk["alg"] | undefined =>
  kty === "OKP" && crv === "Ed25519" ? "EdDSA" : kty === "EC" && crv === "P-256" ? "ES256" : undefined

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
