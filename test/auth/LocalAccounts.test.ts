import { afterAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { useServer } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import { bases, expectRefused, goodPassword, me, newEmail } from "./accounts.ts"
import { startIssuer, trusting } from "./issuer.ts"

const ends: Array<() => unknown> = []
afterAll(async () => {
  for (const end of ends.reverse()) await end()
})
const issuer = await startIssuer((end) => void ends.push(end))
const TRUSTED_ISSUERS = JSON.stringify([trusting(issuer)])
const server = useServer({ TRUSTED_ISSUERS })

describe.each(bases)("LOCAL_ACCOUNTS=false: %s", (base) => {
  it("has no endpoint that needs a password, whatever is sent to it", async () => {
    await server.restart({ LOCAL_ACCOUNTS: "true" })
    const account = await server.register()
    await server.restart({ LOCAL_ACCOUNTS: "false" })
    const token = await issuer.token()
    for (const path of ["/register", "/signup", "/login", "/refresh", "/token", "/password"]) {
      for (const options of [{}, { body: {} }, { raw: "{" }, { token, body: { bogus: 1 } }, { token: "rubbish" }]) {
        expectProblem(await server.request("POST", base + path, options), 404, "not_found")
      }
    }
    const body = { email: account.email, password: account.password }
    expectProblem(await server.request("POST", `${base}/login`, { body }), 404, "not_found")
    expectProblem(
      await server.request("POST", `${base}/register`, { body: { email: newEmail(), password: goodPassword } }),
      404,
      "not_found"
    )
    expectRefused(await me(server, account.access_token), "token_invalid")
    const id = having(200, await server.request("GET", `${base}/me`, { token })).json.id
    expect(having(201, await server.request("POST", "/api/v1/tasks", { token, body: { title: "a" } })).json.user_id)
      .toBe(id)
    const { json } = having(200, await server.request("GET", `${base}/export`, { token }))
    expect(json).toMatchObject({ user: { id, email: null }, identities: [{ issuer: issuer.origin }], sessions: [] })
    having(204, await server.request("POST", `${base}/logout`, { token }))
    expectRefused(await me(server, token), "session_revoked")
  })
})
