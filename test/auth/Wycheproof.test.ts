/** Test vectors of the Wycheproof project, run against the functions that every token of ours and of others passes. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import { describe, expect, it } from "vitest"
import { publicAlgorithms, secretKey, type VerificationKey } from "../../src/auth/JsonWebKeys.ts"
import { verificationKeys } from "../../src/auth/PublishedKeys.ts"
import { verifySignature } from "../../src/auth/SignedTokens.ts"

/** A folder with the vectors as they are published; they are no part of this project. */
const directory = process.env["WYCHEPROOF_DIR"] || undefined
if (directory === undefined) console.info("WYCHEPROOF_DIR is not set: the vectors of Wycheproof are not run")

type Jwk = Readonly<Record<string, string>>

interface Vector {
  readonly tcId: number
  readonly comment: string
  readonly result: "valid" | "invalid"
  readonly flags: ReadonlyArray<string>
  readonly jws?: unknown
  readonly jwe?: unknown
}

interface Group {
  readonly public?: Jwk | { readonly keys: ReadonlyArray<Jwk> }
  readonly private: Jwk | { readonly keys: ReadonlyArray<Jwk> }
  readonly tests: ReadonlyArray<Vector>
}

interface Case extends Vector {
  readonly keys: ReadonlyArray<Jwk>
}

/** Every vector with the keys of its group: the public ones, or the secrets, which have no public part. */
const vectorsOf = (name: string): ReadonlyArray<Case> => {
  const { testGroups }: { readonly testGroups: ReadonlyArray<Group> } = JSON.parse(
    readFileSync(join(directory ?? "", `json_web_${name}_test.json`), "utf8")
  )
  return testGroups.flatMap((group) => {
    const given = group.public ?? group.private
    const keys = Array.isArray(given["keys"]) ? given["keys"] as ReadonlyArray<Jwk> : [given as Jwk]
    return group.tests.map((test) => ({ ...test, keys }))
  })
}

/**
 * The vectors bring keys of their own. Where all are secrets, they stand for those of JWT_SECRET and JWT_SECRET_PREVIOUS,
 * which are for HS256 and nothing else; otherwise they are taken for the set that an issuer publishes, of which every
 * algorithm is trusted that can be.
 */
const keysOf = async (jwks: ReadonlyArray<Jwk>): Promise<ReadonlyArray<VerificationKey>> => {
  if (jwks.every(({ kty }) => kty === "oct")) {
    const secrets = jwks.filter(({ alg, use }) => alg === "HS256" && use === "sig")
    return await Promise.all(secrets.map(({ k, kid }) => secretKey(kid, Buffer.from(k ?? "", "base64url"))))
  }
  const keys = await verificationKeys({ keys: jwks }, publicAlgorithms)
  return typeof keys === "string" ? [] : keys
}

/** Whether our function takes the token for one that the keys signed. */
const accepts = async ({ jwe, jws, keys }: Case): Promise<boolean> => {
  const token = jws ?? jwe
  try {
    const signed = await verifySignature(
      typeof token === "string" ? token : JSON.stringify(token),
      await keysOf(keys),
      // tokens of others may be without these, and ours may not: what is left to check is the same
      { types: [undefined], namesKey: false }
    )
    return typeof signed !== "string"
  } catch (error) {
    // a secret that is too short stops the start
    if (error instanceof RangeError) return false
    throw error
  }
}

const headerOf = (token: unknown): Readonly<Record<string, unknown>> => {
  try {
    return JSON.parse(Buffer.from(String(token).split(".")[0] ?? "", "base64url").toString())
  } catch {
    return {}
  }
}

const isForeign = (text: unknown) => !/^[\w.-]*$/.test(String(text))

/** Why a vector that is valid by its standard is still none of ours: stricter than it has to be, and on purpose. */
const refusedOnPurpose = ({ jwe, jws, keys }: Case): string | undefined => {
  const { alg } = headerOf(jws)
  if (jwe !== undefined) return "nothing is encrypted"
  if (alg === "HS384" || alg === "HS512") return "secrets are for HS256"
  if (keys.some((key) => key["alg"] !== undefined && key["alg"] !== alg)) return "the key is for another algorithm"
  if (isForeign(keys[0]?.["key_ops"]?.[0] ?? "")) return "its key_ops are one text with a comma in it"
  return isForeign(jws) ? "letters that base64url does not have" : undefined
}

/**
 * 367 and 370 are about padding, but were published without it, as the same token that 357 calls valid
 * (github.com/C2SP/wycheproof/issues/236). They are run as they are meant.
 */
const meant: Readonly<Record<string, Readonly<Record<number, (token: string) => string>>>> = {
  signature: { 367: (token) => `${token}=`, 370: (token) => token.replace(".VGVzdA.", ".VGVzdA==.") }
}

const counts = { signature: [401, 46], crypto: [83, 6], key: [26, 5] } as const

describe.skipIf(directory === undefined).each(Object.entries(counts))("R34 json_web_%s", (name, [total, valid]) => {
  const vectors = directory === undefined ? [] : vectorsOf(name)

  it("is complete", () => {
    expect(vectors.length).toBe(total)
    expect(vectors.filter(({ result }) => result === "valid").length).toBe(valid)
  })

  it("has no invalid vector that is accepted", async () => {
    const accepted: Array<string> = []
    for (const published of vectors.filter(({ result }) => result === "invalid")) {
      const correct = meant[name]?.[published.tcId]
      const vector = correct === undefined ? published : { ...published, jws: correct(String(published.jws)) }
      expect(vector === published || vector.jws !== published.jws).toBe(true)
      if (await accepts(vector)) accepted.push(`${vector.tcId} ${vector.comment} ${vector.flags}`)
    }
    expect(accepted).toEqual([])
  })

  it("has no valid vector that is refused without a reason", async () => {
    const differing: Array<string> = []
    for (const vector of vectors.filter(({ result }) => result === "valid")) {
      const reason = refusedOnPurpose(vector)
      if (await accepts(vector) === (reason !== undefined)) {
        differing.push(`${vector.tcId} ${vector.comment} ${reason ?? "refused"}`)
      }
    }
    expect(differing).toEqual([])
  })
})

describe.skipIf(directory === undefined)("R34 the groups of known bugs", () => {
  const bugs = {
    signature: ["AlgIsNone", "ModifiedSignature", "ModifiedPadding", "WrongPrimitive", "JsonSerialization"],
    key: ["MixedKeySet", "DuplicateKid", "Ambiguous"]
  }
  const groups = Object.entries(bugs).flatMap(([name, flags]) => flags.map((flag) => ({ name, flag })))

  it.each(groups)("$flag has vectors, and none is accepted", async ({ flag, name }) => {
    const vectors = vectorsOf(name).filter(({ flags }) => flags.includes(flag))
    expect(vectors.length).toBeGreaterThan(0)
    for (const vector of vectors) expect(await accepts(vector), vector.comment).toBe(false)
  })
})
