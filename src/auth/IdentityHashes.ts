/** What is stored of a token of another issuer, and of a user who was deleted: hashes, which tell nothing. */
import { createHash } from "node:crypto"
import type { Identity } from "../domain/Identity.ts"
import { SessionId } from "../domain/Session.ts"

/** The first 16 bytes of a hash as a UUID of version 8 (RFC 9562 5.8). */
export const hashUuid = (hash: Uint8Array): string => {
  const hex = Buffer.from(hash.subarray(0, 16)).toString("hex")
  const variant = (Number.parseInt(hex[16]!, 16) & 0x3 | 0x8).toString(16)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20)}`
}

/**
 * The hash that a token is known by. Its signature is left out, because some signatures have a second form that is as
 * good: a token that was ended must not come back in another spelling.
 */
export const tokenHash = (token: string): Uint8Array =>
  createHash("sha256").update(token.slice(0, token.lastIndexOf("."))).digest()

export const identityHash = ({ issuer, subject }: Identity): Uint8Array =>
  createHash("sha256").update(JSON.stringify([issuer, subject])).digest()

export const sessionIdOf = (hash: Uint8Array): SessionId => SessionId.make(hashUuid(hash), { disableChecks: true })
