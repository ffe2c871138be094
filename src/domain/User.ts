import { Schema, SchemaTransformation } from "effect"
import { closed } from "./Closed.ts"
import { Instant } from "./Instant.ts"
import { codePoints, nfc, text } from "./Text.ts"
import { TimeZone } from "./TimeZone.ts"

/** A user of this server: a UUIDv7. Repositories take it as their first argument, so no query can forget the owner. */
export const UserId = Schema.String.check(Schema.isUUID(7)).pipe(Schema.brand("UserId"))
export type UserId = typeof UserId.Type

/** `domain` in lower-case ASCII (RFC 5891), or undefined where it is not a host name. */
const asciiDomain = (domain: string): string | undefined => {
  // the URL parser also takes ports, paths and numbers for hosts: only letters, digits, marks, hyphens and dots pass
  if (!/^[\p{L}\p{N}\p{M}.-]+$/u.test(domain)) return undefined
  const ascii = URL.parse(`http://${domain}/`)?.hostname
  return ascii !== undefined && /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$/.test(ascii)
    ? ascii
    : undefined
}

const canonicalEmail = (text: string): string => {
  const compatible = text.normalize("NFKC")
  const at = compatible.lastIndexOf("@")
  const domain = at < 0 ? undefined : asciiDomain(compatible.slice(at + 1))
  return domain === undefined ? compatible : `${compatible.slice(0, at)}@${domain}`
}

const isEmail = (email: string): boolean => {
  const at = email.lastIndexOf("@")
  const local = email.slice(0, at)
  return at > 0 && local.length <= 64 && asciiDomain(email.slice(at + 1)) !== undefined &&
    /^[^\s\p{Cc}\p{Cf}@"(),:;<>[\]\\]+$/u.test(local) && !/^\.|\.\.|\.$/.test(local)
}

/**
 * An e-mail address: normalised first (NFKC, the domain in lower-case ASCII), then checked (RFC 5321: at most 254
 * characters, a local part of at most 64, a dotted domain), so that no two spellings of one address pass as two.
 */
export const Email = text({ format: "email", maxLength: 254, examples: ["ada@example.com"] }).pipe(
  Schema.decodeTo(
    Schema.String.check(
      Schema.makeFilter((email) =>
        email.length <= 254 && isEmail(email) || "must be an e-mail address of at most 254 characters"
      )
    ),
    SchemaTransformation.transform({ decode: canonicalEmail, encode: (email: string) => email })
  )
)

/** 3 to 30 ASCII letters, digits, `_` and `.`: never an `@`, so a login name is never ambiguous. */
export const Username = Schema.String.check(Schema.isPattern(/^[A-Za-z0-9_.]{3,30}$/u, {
  expected: "3 to 30 of the characters A-Z a-z 0-9 _ ."
})).annotate({ examples: ["ada"] })

/** What a user is called; shown, never used to find the user. */
export const Name = nfc(1, 100, { examples: ["Ada Lovelace"] })

/** What is shown of a user. The password's hash is not a member of any schema, so it can't be sent. */
export const User = Schema.Struct({
  id: UserId,
  email: Schema.NullOr(Schema.String),
  username: Schema.NullOr(Schema.String),
  name: Schema.NullOr(Schema.String),
  time_zone: Schema.String,
  created_at: Instant,
  updated_at: Instant
}).annotate({ identifier: "User" })
export type User = typeof User.Type

/** What a user may change of the account. `null` takes the username or the name away. */
export const UserPatch = closed({
  name: Schema.optionalKey(Schema.NullOr(Name)),
  username: Schema.optionalKey(Schema.NullOr(Username)),
  time_zone: Schema.optionalKey(TimeZone)
}).annotate({ identifier: "UserPatch" })
export type UserPatch = typeof UserPatch.Type

/**
 * A password as it is sent: in NFC (NIST SP 800-63B-4 3.1.1.2), at most 256 code points, so that hashing has a bound.
 * Its least length is a setting and is checked where passwords are set, never where they are compared.
 */
export const Password = nfc(1, 256, { format: "password", examples: ["correct horse battery staple"] })

/**
 * A password that is to be set. 8 code points are the least that any server accepts (ASVS 6.2.1); a server's setting
 * may ask for more. What is easy to guess is refused later, as `password_compromised`.
 */
export const NewPassword = nfc(0, 256, {
  format: "password",
  minLength: 8,
  examples: ["correct horse battery staple"]
}).check(Schema.makeFilter<string>(
  (text) => codePoints(text) >= 8 || "must have at least 8 characters",
  { faultCode: "password_too_short" }
))
