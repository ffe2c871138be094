/** A real Better Auth server whose JWT plugin says who the users are, as a front end would use it. */
import { randomUUID } from "node:crypto"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { memoryAdapter } from "better-auth/adapters/memory"
import { betterAuth } from "better-auth"
import { toNodeHandler } from "better-auth/node"
import { jwt } from "better-auth/plugins"
import { decodeJwt, decodeProtectedHeader } from "jose"
import { afterAll, describe, expect, it } from "vitest"
import { useServer } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import { expectRefused, me } from "./accounts.ts"

const ends: Array<() => unknown> = []
afterAll(async () => {
  for (const end of ends.reverse()) await end()
})

const listen = async (): Promise<{ readonly server: Server; readonly origin: string }> => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  ends.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return { server, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

const { origin, server: authServer } = await listen()
const auth = betterAuth({
  baseURL: origin,
  secret: "the secret of a Better Auth server, 32 bytes or more",
  database: memoryAdapter({ user: [], session: [], account: [], verification: [], jwks: [] }),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  plugins: [jwt()]
})
authServer.on("request", toNodeHandler(auth))

const tasks = useServer({
  TRUSTED_ISSUERS: JSON.stringify([
    { issuer: origin, jwks_uri: `${origin}/api/auth/jwks`, audience: origin, algorithms: ["EdDSA"] }
  ])
})

interface Session {
  readonly userId: string
  readonly cookie: string
}

const ask = (path: string, init: RequestInit = {}) =>
  fetch(`${origin}/api/auth${path}`, {
    ...init,
    headers: { "content-type": "application/json", origin, ...init.headers }
  })

const signUp = async (email = `${randomUUID()}@example.com`): Promise<Session> => {
  const body = JSON.stringify({ email, password: "lantern orbit 47 velvet", name: "Ada" })
  const response = await ask("/sign-up/email", { method: "POST", body })
  expect(response.status).toBe(200)
  const { user } = await response.json() as { readonly user: { readonly id: string } }
  return { userId: user.id, cookie: response.headers.getSetCookie().map((value) => value.split(";")[0]).join("; ") }
}

const tokenOf = async ({ cookie }: Session): Promise<string> => {
  const response = await ask("/token", { headers: { cookie } })
  expect(response.status).toBe(200)
  return (await response.json() as { readonly token: string }).token
}

describe("R73 Better Auth", () => {
  it("gives tokens without type, jti and sid, whose sub is no UUID, and they work", async () => {
    const session = await signUp()
    const token = await tokenOf(session)
    expect(decodeProtectedHeader(token)).toEqual({ alg: "EdDSA", kid: expect.any(String) })
    const claims = decodeJwt(token)
    expect(claims).toMatchObject({ iss: origin, aud: origin, sub: session.userId })
    expect([claims.jti, claims["sid"]]).toEqual([undefined, undefined])
    const user = having(200, await me(tasks, token)).json
    expect(user).toMatchObject({ email: null, name: null })

    const path = `/api/${encodeURIComponent(session.userId)}/tasks`
    const body = { title: "Water the plants" }
    const task = having(201, await tasks.request("POST", path, { token, body })).json
    expect(task.user_id).toBe(user.id)
    expect(having(200, await tasks.request("GET", "/api/v1/tasks", { token })).json).toEqual([task])

    // another second, another token: the same user
    const second = decodeJwt(token).iat
    while (Math.floor(Date.now() / 1000) === second) await new Promise((resolve) => setTimeout(resolve, 50))
    const later = await tokenOf(session)
    expect(later).not.toBe(token)
    expect(having(200, await me(tasks, later)).json.id).toBe(user.id)

    having(204, await tasks.request("POST", "/api/v1/auth/logout", { token }))
    expectRefused(await me(tasks, token), "session_revoked")
    having(200, await me(tasks, later))
    having(204, await tasks.request("DELETE", "/api/v1/auth/me", { token: later }))
    expectRefused(await me(tasks, later), "token_invalid")
  })

  it("is not believed about e-mail addresses", async () => {
    const account = await tasks.register()
    const token = await tokenOf(await signUp(account.email))
    expect(decodeJwt(token)["email"]).toBe(account.email)
    expect(having(200, await me(tasks, token)).json.id).not.toBe(account.id)
  })

  it("keeps its users apart", async () => {
    const [ada, eve] = [await signUp(), await signUp()]
    const [mine, theirs] = [await tokenOf(ada), await tokenOf(eve)]
    const path = `/api/${ada.userId}/tasks`
    having(201, await tasks.request("POST", path, { token: mine, body: { title: "mine" } }))
    having(403, await tasks.request("GET", path, { token: theirs }))
    expect(having(200, await tasks.request("GET", "/api/v1/tasks", { token: theirs })).json).toEqual([])
  })
})
