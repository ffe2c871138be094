/** The token endpoint as clients of OAuth 2 use it, in both families of paths. */
import { beforeAll, describe, expect, it } from "vitest"
import { invalidRequest } from "../../src/api/OAuth.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, type Answer, useServer } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import { bases, expectAlive, expectRevoked, goodPassword, login, me, newUsername, refresh } from "./accounts.ts"

const server = useServer()
let user: Account & { readonly username: string }
beforeAll(async () => {
  const username = newUsername()
  user = { ...await server.register({ username, password: goodPassword }), username }
})

const form = { "content-type": "application/x-www-form-urlencoded" }
const send = (base: string, raw: string, headers: Record<string, string> = {}) =>
  server.request("POST", `${base}/token`, { raw, headers: { ...form, ...headers } })
const token = (base: string, members: Record<string, string>, headers?: Record<string, string>) =>
  send(base, new URLSearchParams(members).toString(), headers)
const passwordOf = (username: string, password = goodPassword) => ({ grant_type: "password", username, password })

/** RFC 6749 5.2. */
const expectError = (answer: Answer, error: string, uri?: string) => {
  expect({ status: answer.status, error: answer.json?.error, uri: answer.json?.error_uri }, answer.text)
    .toEqual({ status: 400, error, uri })
  expect(answer.headers.get("content-type")).toBe("application/json")
  expect(answer.headers.get("cache-control")).toBe("no-store")
  expect(answer.headers.get("www-authenticate")).toBeNull()
  expect(answer.json.error_description).toMatch(/^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/)
  expect(Object.keys(answer.json).sort()).toEqual([
    "error",
    "error_description",
    ...uri === undefined ? [] : [
      "error_uri"
    ]
  ])
}

describe.each(bases)("POST %s/token", (base) => {
  it("logs in with the e-mail address and with the username, and answers what RFC 6749 5.1 has", async () => {
    for (const name of [user.email, user.email.toUpperCase(), user.username, user.username.toUpperCase()]) {
      const answer = having(200, await token(base, passwordOf(name)))
      expect(answer.headers.get("content-type")).toBe("application/json")
      expect(answer.headers.get("cache-control")).toBe("no-store")
      expect(answer.headers.get("pragma")).toBe("no-cache")
      expect(answer.json).toEqual({
        access_token: expect.any(String),
        refresh_token: expect.any(String),
        token_type: "bearer",
        expires_in: 86_400
      })
      expect(having(200, await me(server, answer.json.access_token)).json.id).toBe(user.id)
    }
  })

  it("refreshes, with the rotation, the retries and the reuse of /refresh", async () => {
    const first = having(200, await token(base, passwordOf(user.email))).json
    const ask = (refresh_token: string) => token(base, { grant_type: "refresh_token", refresh_token })
    const second = having(200, await ask(first.refresh_token)).json
    expect(Object.keys(second).sort()).toEqual(["access_token", "expires_in", "refresh_token", "token_type"])
    expect(second.refresh_token).not.toBe(first.refresh_token)
    // the same successor, by whichever endpoint
    expect(having(200, await ask(first.refresh_token)).json.refresh_token).toBe(second.refresh_token)
    expect(having(200, await refresh(server, first.refresh_token)).json.refresh_token).toBe(second.refresh_token)
    const third = having(200, await ask(second.refresh_token)).json
    expectError(await ask(first.refresh_token), "invalid_grant", "/problems/refresh_token_reused")
    await expectRevoked(server, third)
    expectError(await ask(third.refresh_token), "invalid_grant", "/problems/session_revoked")
    expectError(await ask("nonsense"), "invalid_grant", "/problems/invalid_refresh_token")
  })

  it("takes the sessions of /login, and /refresh takes its", async () => {
    const from = await login(server, user)
    const { refresh_token } =
      having(200, await token(base, { grant_type: "refresh_token", refresh_token: from.refresh_token })).json
    await expectAlive(server, having(200, await refresh(server, refresh_token)).json)
  })

  it("R12 answers an unknown name like a wrong password", async () => {
    const [unknown, wrong] = [
      await token(base, passwordOf("nobody@example.com")),
      await token(base, passwordOf(user.email, "wrong horse battery"))
    ]
    expectError(unknown, "invalid_grant", "/problems/invalid_credentials")
    expect(wrong.text).toBe(unknown.text)
    const headers = ({ headers }: Answer) => [...headers.keys()].filter((name) => name !== "date").sort()
    expect(headers(wrong)).toEqual(headers(unknown))
  })

  it("ignores members that it does not know, and what clients send to authenticate themselves", async () => {
    const extra = { scope: "", client_id: "some", client_secret: "thing", __proto__x: "1", constructor: "2" }
    having(200, await token(base, { ...passwordOf(user.email), ...extra }))
    having(200, await send(base, `${new URLSearchParams(passwordOf(user.email))}&__proto__=1&x=1&x=2`))
    having(200, await token(base, { ...passwordOf(user.email), refresh_token: "" }))
    const basic = { authorization: `Basic ${Buffer.from("client:secret").toString("base64")}` }
    having(200, await token(base, passwordOf(user.email), basic))
    having(200, await token(base, passwordOf(user.email), { authorization: "Bearer dead" }))
    having(200, await token(base, passwordOf(user.email), { "content-type": `${form["content-type"]}; charset=UTF-8` }))
  })

  const good = () => new URLSearchParams(passwordOf(user.email)).toString()
  const invalid: ReadonlyArray<readonly [string, () => string]> = [
    ["nothing", () => ""],
    ["no grant type", () => good().replace("grant_type", "type")],
    ["an empty grant type", () => good().replace("grant_type=password", "grant_type=")],
    ["no username", () => good().replace("username", "user")],
    ["an empty username", () => good().replace(/username=[^&]+/, "username=")],
    ["no password", () => good().replace("&password", "&pass")],
    ["an empty password", () => good().replace(/&password=.+/, "&password=")],
    ["a password of 257 characters", () => good().replace(/&password=.+/, `&password=${"a".repeat(257)}`)],
    ["a grant type twice", () => `${good()}&grant_type=password`],
    ["another grant type twice", () => "grant_type=other&grant_type=another"],
    ["a username twice", () => `${good()}&username=x`],
    ["a password twice", () => `${good()}&password=x`],
    ["a refresh token twice", () => "grant_type=refresh_token&refresh_token=a&refresh_token=a"],
    ["what the grant does not need twice", () => `${good()}&refresh_token=a&refresh_token=b`],
    ["no refresh token", () => "grant_type=refresh_token"],
    ["NUL in the username", () => good().replace(/username=[^&]+/, "username=a%00b")],
    ["an escape that is no UTF-8", () => good().replace(/&password=.+/, "&password=%ff%fe")],
    ["a broken escape", () => good().replace(/&password=.+/, "&password=100%")],
    ["JSON", () => JSON.stringify(passwordOf(user.email))]
  ]
  it.each(invalid)("refuses %s as invalid_request", async (_, body) => {
    expectError(await send(base, body()), "invalid_request")
  })

  it("refuses bytes that are no UTF-8, and a query, as invalid_request", async () => {
    const bytes = Buffer.from([...Buffer.from(`${good()}&x=`), 0xff])
    expectError(await server.request("POST", `${base}/token`, { raw: bytes, headers: form }), "invalid_request")
    const query = await server.request("POST", `${base}/token?${good()}`, { raw: good(), headers: form })
    expectError(query, "invalid_request")
  })

  it("refuses other grants as unsupported_grant_type", async () => {
    for (const grant_type of ["client_credentials", "authorization_code", "PASSWORD", "toString", '"\\\u00e9']) {
      expectError(await token(base, { ...passwordOf(user.email), grant_type }), "unsupported_grant_type")
    }
  })

  it("never tells what was sent", async () => {
    const secret = "s3cret-".repeat(40)
    for (const member of ["username", "password", "grant_type", "refresh_token"]) {
      for (const grant of [passwordOf(user.email), { grant_type: "refresh_token", refresh_token: "x" }]) {
        const { text } = await token(base, { ...grant, [member]: secret })
        expect(text).not.toContain("s3cret")
      }
    }
  })

  it("leaves what is no matter of OAuth to the problems of every endpoint", async () => {
    const json = await server.request("POST", `${base}/token`, { body: passwordOf(user.email) })
    expectProblem(json, 415, "unsupported_media_type")
    expectProblem(await send(base, `${good()}&x=${"a".repeat(16 * 1024)}`), 413, "too_large")
    expectProblem(await server.request("GET", `${base}/token`), 405, "method_not_allowed")
  })
})

it("tells its errors in the characters of RFC 6749 5.2", () => {
  expect(invalidRequest('a "b" \\ \u00e9\n').error_description).toBe("a 'b' ? ??")
})

it("is documented with its errors and without those it can't answer with", async () => {
  const { json } = having(200, await server.request("GET", "/openapi.json"))
  for (const base of bases) {
    const { requestBody, responses } = json.paths[`${base}/token`].post
    expect(Object.keys(requestBody.content)).toEqual([form["content-type"]])
    expect(Object.keys(responses).sort()).toEqual(["200", "400", "403", "404", "413", "415", "429", "500", "503"])
    expect(responses[400].content).toEqual({
      "application/json": { schema: { $ref: "#/components/schemas/OAuthError" } }
    })
  }
  expect(json.components.securitySchemes.oauth2).toMatchObject({
    type: "oauth2",
    flows: { password: { tokenUrl: "/api/v1/auth/token", scopes: {} } }
  })
  expect(json.paths["/api/v1/tasks"].get.security).toEqual([{ bearer: [] }, { oauth2: [] }])
})
