import { randomUUID } from "node:crypto"
import { setTimeout as pause } from "node:timers/promises"
import { expect } from "vitest"
import type { Account, Answer, TestServer } from "../support/TestServer.ts"
import { expectProblem } from "../support/expect.ts"
import { having } from "../tasks/families.ts"

/** Where the same endpoints are served. */
export const bases = ["/api/v1/auth", "/api/auth"] as const

/** A password that every rule allows. */
export const goodPassword = "lantern orbit 47 velvet"

/** An address that nobody has registered. */
export const newEmail = (): string => `${randomUUID()}@example.com`

/** A user name that nobody has taken. */
export const newUsername = (): string => `u${randomUUID().replaceAll("-", "").slice(0, 20)}`

/** Exactly the members of a user in an answer, in alphabetical order. */
export const userMembers = ["created_at", "email", "id", "name", "time_zone", "updated_at", "username"]

/** Exactly the members of a session in an answer, in alphabetical order. */
export const sessionMembers = ["created_at", "current", "expires_at", "id", "ip", "last_used_at", "user_agent"]

/** UUIDv7, as every id that the application makes. */
export const uuid7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** The two tokens of a session. */
export interface Tokens {
  readonly access_token: string
  readonly refresh_token: string
}

/** What sends requests to a server: one of this process, or a program of its own. */
export type Asked = Pick<TestServer, "request">

/** Logs this account in again and returns the new session's tokens. */
export const login = async (
  server: Asked,
  account: Pick<Account, "email" | "password">,
  headers: Record<string, string> = {}
): Promise<Tokens> => {
  const body = { email: account.email, password: account.password }
  return having(200, await server.request("POST", "/api/v1/auth/login", { body, headers })).json
}

/** Reads one's own user: the shortest request that needs a token. */
export const me = (server: Asked, token: string): Promise<Answer> => server.request("GET", "/api/v1/auth/me", { token })

/** Reads what one's session alone decides about: not even the account has to be there for it. */
export const sessions = (server: Asked, token: string): Promise<Answer> =>
  server.request("GET", "/api/v1/auth/sessions", { token })

/** Spends a refresh token. */
export const refresh = (server: Asked, refresh_token: string): Promise<Answer> =>
  server.request("POST", "/api/v1/auth/refresh", { body: { refresh_token } })

/** How often the session had been refreshed when this token was made. */
export const generationOf = (refresh_token: string): number => Buffer.from(refresh_token, "base64url").readUInt32BE(34)

/** The same refresh token with another last letter, of which a decoder takes two bits only. */
export const respelled = (refresh_token: string): string => {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
  return refresh_token.slice(0, -1) + letters[letters.indexOf(refresh_token.at(-1)!) + 1]!
}

/** The session that an access token belongs to. */
export const sessionOf = ({ access_token }: Pick<Tokens, "access_token">): string =>
  JSON.parse(Buffer.from(access_token.split(".")[1] ?? "", "base64url").toString()).sid

/** How many hashes and verifications of passwords the server has run. */
export const hashes = async (server: Pick<TestServer, "request">): Promise<number> => {
  const { text } = having(200, await server.request("GET", "/metrics"))
  const samples = [...text.matchAll(/^password_hashes_total(?:\{[^}]*\})? (\S+)/gm)].map((match) => Number(match[1]))
  if (samples.length === 0) throw new Error("no password_hashes_total in /metrics")
  return samples.reduce((sum, sample) => sum + sample, 0)
}

/** Asks again while the server is too busy to hash, as its answer invites to. */
export const patiently = async (ask: () => Promise<Answer>): Promise<Answer> => {
  for (let tries = 0; tries < 100; tries++) {
    const answer = await ask()
    if (answer.status !== 503) return answer
    expectProblem(answer, 503, "overloaded")
    expect(answer.headers.get("retry-after")).toMatch(/^\d+$/)
    await pause(50)
  }
  throw new Error("always overloaded")
}

/** Checks that the answer refuses the access token that was sent; its code is left to the caller. */
export const expectRefused = (answer: Answer, code?: string): void => {
  expectProblem(answer, 401, code ?? answer.json?.code)
  const challenge = answer.headers.get("www-authenticate") ?? ""
  expect(challenge).toMatch(/^Bearer\b.*\brealm="[^"]+"/)
  expect(challenge).toContain('error="invalid_token"')
}

/** Checks that neither token of a revoked session works. */
export const expectRevoked = async (server: Asked, tokens: Tokens): Promise<void> => {
  expectRefused(await me(server, tokens.access_token), "session_revoked")
  expectProblem(await refresh(server, tokens.refresh_token), 401, "session_revoked")
}

/**
 * Checks that the end of a session, of which the caller has just been told, is noticed: a request that is sent a second
 * later is refused, and so is every one after the first that is.
 */
export const expectNoticed = async (server: Asked, access_token: string, code: string): Promise<void> => {
  const begin = performance.now()
  for (;;) {
    const sent = performance.now() - begin
    const answer = await sessions(server, access_token)
    if (answer.status === 401) break
    having(200, answer)
    expect(sent).toBeLessThan(1_000)
    await pause(10)
  }
  for (const ask of [me, sessions, me, sessions]) expectRefused(await ask(server, access_token), code)
}

/** Checks that the session lives, and returns the tokens that follow. */
export const expectAlive = async (server: Asked, tokens: Tokens): Promise<Tokens> => {
  having(200, await me(server, tokens.access_token))
  return having(200, await refresh(server, tokens.refresh_token)).json
}
