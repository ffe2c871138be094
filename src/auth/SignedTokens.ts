/**
 * Whether a token was signed by one of these keys, and whether its claims are good. Every token that this server
 * accepts, its own and those of other issuers, goes through the same functions; only keys and rules differ.
 */
import { compactVerify, decodeProtectedHeader, type ProtectedHeaderParameters } from "jose"
import type { VerificationKey } from "./JsonWebKeys.ts"

/** What the header of a token may be. */
export interface HeaderRules {
  /** the types that pass, in lower case; undefined: without one */
  readonly types: ReadonlyArray<string | undefined>
  /** whether a token has to name its key; otherwise the only key of its algorithm is meant */
  readonly namesKey: boolean
}

/** A payload that was signed, and by which key. */
export interface Signed {
  readonly payload: Uint8Array
  readonly key: VerificationKey
}

/** Keys are chosen by our own lists: whatever else a header may ask for (jku, jwk, crit, zip …) is refused. */
const headerMembers = new Set(["alg", "kid", "typ"])

const isText = (value: unknown): value is string | undefined => value === undefined || typeof value === "string"

/** `typ` without what RFC 7515 4.1.9 lets a token leave out. */
const typeOf = ({ typ }: ProtectedHeaderParameters) => typ?.toLowerCase().replace(/^application\//, "")

/** Three parts, each in the one spelling that base64url has for it: a decoder may forgive foreign characters or bits. */
const isCanonical = (token: string): boolean => {
  const parts = token.split(".", 4)
  return parts.length === 3 && parts.every((part) => Buffer.from(part, "base64url").toString("base64url") === part)
}

const headerOf = (token: string): ProtectedHeaderParameters | undefined => {
  try {
    const header = decodeProtectedHeader(token)
    const isKnown = Object.keys(header).every((member) => headerMembers.has(member))
    return isKnown && isText(header.alg) && isText(header.kid) && isText(header.typ) ? header : undefined
  } catch {
    return undefined
  }
}

/** The payload of a token (RFC 7515) that one of the keys signed; `unknown_key` where it may be a key that is not among them. */
export const verifySignature = async (
  token: string,
  keys: ReadonlyArray<VerificationKey>,
  rules: HeaderRules
): Promise<Signed | "unknown_key" | "invalid"> => {
  if (!isCanonical(token)) return "invalid"
  const header = headerOf(token)
  if (header === undefined || !rules.types.includes(typeOf(header))) return "invalid"
  if (rules.namesKey && header.kid === undefined) return "invalid"
  const meant = keys.filter(({ alg, kid }) => alg === header.alg && (header.kid === undefined || kid === header.kid))
  const [key] = meant
  if (key === undefined) return "unknown_key"
  if (meant.length > 1) return "invalid"
  try {
    const { payload } = await compactVerify(token, key.key, { algorithms: [key.alg] })
    return { payload, key }
  } catch {
    return "invalid"
  }
}

/** The claims of a payload, or undefined where it is not one JSON object in UTF-8. */
export const claimsOf = (payload: Uint8Array): Readonly<Record<string, unknown>> | undefined => {
  try {
    const claims: unknown = JSON.parse(utf8.decode(payload))
    return typeof claims === "object" && claims !== null && !Array.isArray(claims) ? { ...claims } : undefined
  } catch {
    return undefined
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** Claims about time (RFC 7519 4.1), in seconds since 1970. */
export interface Times {
  readonly exp: number
  readonly nbf?: number
  readonly iat?: number
}

/** Whether a token is good at a time in milliseconds, with so many seconds of difference between clocks forgiven. */
export const checkTimes = ({ exp, iat, nbf }: Times, now: number, leeway: number): "good" | "early" | "expired" => {
  const second = Math.floor(now / 1_000)
  if (Math.max(iat ?? 0, nbf ?? 0) > second + leeway) return "early"
  return exp <= second - leeway ? "expired" : "good"
}
