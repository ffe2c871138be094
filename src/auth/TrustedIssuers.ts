/** The setting that names other issuers. */
import { Option, Schema } from "effect"
import { type PublicAlgorithm, publicAlgorithms } from "./JsonWebKeys.ts"

/** An issuer of tokens that is trusted to say who somebody is. */
export interface TrustedIssuer {
  readonly issuer: string
  readonly jwksUri: string
  readonly audience: string
  readonly algorithms: ReadonlyArray<PublicAlgorithm>
}

const isLoopback = (host: string) => host === "localhost" || host === "[::1]" || /^127(?:\.\d+){3}$/.test(host)

/** Keys decide who is who: they come by https, or from this machine where somebody develops. */
const isKeysUri = (uri: string, production: boolean): boolean => {
  const url = URL.parse(uri)
  return url !== null && url.username === "" && url.password === "" &&
    (url.protocol === "https:" || !production && url.protocol === "http:" && isLoopback(url.hostname))
}

const IssuersSchema = Schema.fromJsonString(
  Schema.Array(Schema.Record(Schema.String, Schema.Unknown)).check(Schema.isMaxLength(20))
)

const isPublicAlgorithm = (alg: unknown): alg is PublicAlgorithm => publicAlgorithms.some((known) => known === alg)

/** The issuers of a setting, or every fault of it. `taken` are names that are none of theirs. */
export const readIssuers = (
  text: string,
  { production, taken }: { readonly production: boolean; readonly taken: ReadonlyArray<string> }
): { readonly issuers: ReadonlyArray<TrustedIssuer>; readonly faults: ReadonlyArray<string> } => {
  const entries = Schema.decodeUnknownOption(IssuersSchema)(text)
  if (Option.isNone(entries)) {
    return { issuers: [], faults: ["must be a JSON array of at most 20 {issuer, jwks_uri, audience, algorithms}"] }
  }
  const faults: Array<string> = []
  const names = new Set(taken)
  const isText = (value: unknown): value is string => typeof value === "string" && value !== "" && value.length <= 2_048
  const issuers = entries.value.map(({ algorithms, audience, issuer, jwks_uri, ...others }, i): TrustedIssuer => {
    const check = (isGood: boolean, fault: string) => void (isGood || faults.push(`[${i}]: ${fault}`))
    check(Object.keys(others).length === 0, "knows only issuer, jwks_uri, audience and algorithms")
    check(isText(issuer), "issuer must be the exact `iss` of its tokens")
    check(!names.has(String(issuer)), "issuer must be none that is used already, and not JWT_ISSUER or better-auth")
    check(isText(audience), "audience must be the `aud` of tokens for this server")
    check(
      isText(jwks_uri) && isKeysUri(jwks_uri, production),
      `jwks_uri must be https${production ? "" : ", or http to a loopback address"}`
    )
    const isList = Array.isArray(algorithms) && algorithms.length > 0
    check(isList && algorithms.every(isPublicAlgorithm), `algorithms must be some of ${publicAlgorithms.join(", ")}`)
    names.add(String(issuer))
    return {
      issuer: String(issuer),
      jwksUri: String(jwks_uri),
      audience: String(audience),
      algorithms: isList ? algorithms.filter(isPublicAlgorithm) : []
    }
  })
  return { issuers, faults }
}
