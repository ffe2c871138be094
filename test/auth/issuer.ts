/** Another issuer of tokens: a real HTTP server that publishes keys, well or badly. */
import { createServer, type RequestListener } from "node:http"
import type { AddressInfo } from "node:net"
import { randomUUID } from "node:crypto"
import { type JWK, SignJWT } from "jose"
import type { Finished } from "../operation/program.ts"
import { type KeyPair, newKeyPair } from "./keys.ts"

export interface Issuer {
  readonly origin: string
  /** how often its keys were asked for */
  readonly asked: () => number
  /** What it publishes from now on. */
  readonly publish: (...keys: ReadonlyArray<KeyPair | JWK>) => void
  /** How it answers from now on, instead of publishing. */
  readonly answer: (listener: RequestListener) => void
  /** A token of this issuer for this server, unless claims (undefined takes one away) or header say otherwise. */
  readonly token: (claims?: Record<string, unknown>, options?: {
    readonly key?: KeyPair
    readonly header?: Record<string, unknown>
  }) => Promise<string>
}

export const audience = "https://tasks.example.com"

const seconds = () => Math.floor(Date.now() / 1000)

const json = (body: unknown): RequestListener => (_, response) =>
  void response.setHeader("content-type", "application/json").end(JSON.stringify(body))

/** Starts an issuer with one key, which its tokens are signed with. */
export const startIssuer = async (finished: Finished): Promise<Issuer & { readonly key: KeyPair }> => {
  const key = newKeyPair("EdDSA", "first")
  let asked = 0
  let listener: RequestListener = json({ keys: [] })
  const server = createServer((request, response) => {
    asked++
    listener(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  finished(() => {
    server.closeAllConnections()
    server.close()
  })
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const issuer: Issuer & { readonly key: KeyPair } = {
    key,
    origin,
    asked: () => asked,
    publish: (...keys) => {
      listener = json({ keys: keys.map((key) => "publicJwk" in key ? key.publicJwk : key) })
    },
    answer: (next) => {
      listener = next
    },
    token: (claims = {}, options = {}) => {
      const signer = options.key ?? key
      const all = { iss: origin, aud: audience, sub: randomUUID(), iat: seconds(), exp: seconds() + 900, ...claims }
      return new SignJWT(Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)))
        .setProtectedHeader({ alg: signer.alg, kid: signer.publicJwk.kid!, ...options.header })
        .sign(signer.privateKey)
    }
  }
  issuer.publish(key)
  return issuer
}

/** What TRUSTED_ISSUERS says of this issuer. */
export const trusting = ({ origin }: Pick<Issuer, "origin">, more: Record<string, unknown> = {}) => ({
  issuer: origin,
  jwks_uri: `${origin}/jwks`,
  audience,
  algorithms: ["EdDSA", "ES256"],
  ...more
})
