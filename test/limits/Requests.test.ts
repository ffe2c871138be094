/** Limits on everything else: registrations, refreshes, and whatever a user asks for. */
import { beforeAll, describe, expect, it } from "vitest"
import { me, newEmail, refresh } from "../auth/accounts.ts"
import { send } from "../http/exchange.ts"
import { endpoints } from "../support/endpoints.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { having, newId } from "../tasks/families.ts"
import { expectLimited, expectLoginLimited, logIn, newAddress, statuses, times, wrongPassword } from "./clients.ts"

const server = useServer({
  RATE_LIMITS: "on",
  TRUSTED_PROXIES: "127.0.0.1",
  CORS_ORIGINS: "https://front.example"
})

const register = (headers: Record<string, string>, body: unknown = undefined) =>
  server.request("POST", "/api/v1/auth/register", {
    headers,
    body: body ?? { email: newEmail(), password: "lantern orbit 47 velvet" }
  })
const newAccount = async (): Promise<Account> => {
  const { access_token, refresh_token, user } = having(201, await register({ "x-forwarded-for": newAddress() })).json
  return { id: user.id, email: user.email, password: "lantern orbit 47 velvet", access_token, refresh_token }
}

describe("registrations", () => {
  it("are limited to 10 for a network, before the body is looked at", async () => {
    const headers = { "x-forwarded-for": newAddress() }
    expect(statuses(await times(9, () => register(headers)))).toEqual(Array.from({ length: 9 }, () => 201))
    expect((await register(headers, {})).status).toBe(422)
    expectLimited(await register(headers), "register", 10, 3_600)
    expectLimited(await register(headers, {}), "register", 10, 3_600)
    const signup = { headers, body: {} }
    expectLimited(await server.request("POST", "/api/auth/signup", signup), "register", 10, 3_600)
    having(201, await register({ "x-forwarded-for": newAddress() }))
  })
})

describe("R49 refreshes", () => {
  it("are limited to 30 for a session, which lives on", async () => {
    const account = await newAccount()
    let tokens: { readonly access_token: string; readonly refresh_token: string } = account
    // what somebody else sends in the session's name does not count
    const forged = `${account.refresh_token.slice(0, -4)}AAAA`
    await times(40, () => refresh(server, forged))
    for (let i = 0; i < 30; i++) tokens = having(200, await refresh(server, tokens.refresh_token)).json
    for (const answer of await times(3, () => refresh(server, tokens.refresh_token))) {
      expectLimited(answer, "refresh", 30, 60)
    }
    const events = server.logs().split("\n").map((line) => JSON.parse(line).annotations)
      .filter(({ event, policy }) => event === "rate_limited" && policy === "refresh")
    expect(events.map(({ user_id }) => user_id)).toEqual([account.id, account.id, account.id])
    having(200, await me(server, tokens.access_token))
    // nothing was spent for them
    const rows = await server.sql("select generation from sessions where user_id = $1", [account.id])
    expect(rows).toEqual([{ generation: 30 }])
    const sessions = await server.request("GET", "/api/v1/auth/sessions", { token: tokens.access_token })
    expect(having(200, sessions).json).toHaveLength(1)
    // another session of the same user is not limited
    const { json } = having(
      200,
      await logIn(server, newAddress(), { email: account.email, password: account.password })
    )
    having(200, await refresh(server, json.refresh_token))
  })
})

describe("requests with a token", () => {
  let user: Account
  let other: Account
  const limited = (answer: Parameters<typeof expectLimited>[0]) => expectLimited(answer, "requests", 600, 60)
  const bearer = () => ({ authorization: `Bearer ${user.access_token}` })
  const json = { "content-type": "application/json" }
  beforeAll(async () => {
    user = await newAccount()
    other = await newAccount()
  })

  /** Leaves nothing of the limit for now: what comes back within a moment is spent as well. */
  const exhaust = async () => {
    for (let status = 200; status === 200;) {
      const answers = await Promise.all(Array.from({ length: 50 }, () => me(server, user.access_token)))
      status = Math.max(...statuses(answers))
    }
  }

  it("are limited to 600 for a user, whichever endpoints and networks they are asked of", async () => {
    /** How many are accepted at once; undefined where this machine was so slow that some came back meanwhile. */
    const accepted = async (account: Account): Promise<number | undefined> => {
      const { email, password } = account
      const { json: login } = having(200, await logIn(server, newAddress(), { email, password }))
      const begin = performance.now()
      let [sum, isFast] = [0, true]
      for (let [status, round] = [200, 0]; status === 200; round++) {
        const token = round % 2 === 0 ? login.access_token : account.access_token
        const answers = await Promise.all(
          Array.from(
            { length: round === 0 ? 10 : 50 },
            (_, index) =>
              index % 2 === 0
                ? server.request("GET", "/api/v1/tasks", { token, headers: { "x-forwarded-for": newAddress() } })
                : me(server, token)
          )
        )
        // one comes back in 100 ms, and when all have, the count begins anew
        isFast &&= performance.now() - begin < 100 * Math.max(sum, 1)
        sum += statuses(answers).filter((one) => one === 200).length
        status = Math.max(...statuses(answers))
      }
      expect(status429(await me(server, account.access_token))).toBe(true)
      return isFast ? sum : undefined
    }
    let sum: number | undefined
    for (let tries = 0; sum === undefined && tries < 8; tries++) sum = await accepted(await newAccount())
    expect(sum).toBe(600)
  })

  it("are limited on every endpoint that asks for a token, after its 401", async () => {
    await exhaust()
    const open = ["register", "signup", "login", "token", "refresh", "logout"]
    const guarded = endpoints.filter(({ path }) => path.startsWith("/api/") && !open.includes(path.split("/").at(-1)!))
    expect(guarded.length).toBeGreaterThan(25)
    for (const { body, method, path } of guarded) {
      const real = path.replace(":user_id", user.id).replace(":id", newId())
      const options = body === undefined ? {} : { body: JSON.stringify(body) }
      const answer = await send(server, method, real, { headers: { ...bearer(), ...json }, ...options })
      expect({ method, path, status: answer.status }).toEqual({ method, path, status: 429 })
      limited(answer)
      expectProblem(await send(server, method, real, { headers: json, ...options }), 401, "token_missing")
    }
  })

  it("are limited after 401, 403, 404 and 405, and before anything of the request is looked at", async () => {
    await exhaust()
    const post = (path: string, headers: Record<string, string>, body: string) =>
      send(server, "POST", path, { headers, body })
    expectProblem(await post("/api/v1/tasks", { ...json, authorization: "Bearer x" }, "{"), 401, "token_invalid")
    expectProblem(await post(`/api/${other.id}/tasks`, { ...json, ...bearer() }, "{"), 403, "forbidden")
    expectProblem(await post("/api/v1/nothing", { ...json, ...bearer() }, "{"), 404, "not_found")
    expectProblem(await send(server, "PUT", "/api/v1/tasks", { headers: bearer() }), 405, "method_not_allowed")
    limited(await post("/api/v1/tasks", { ...json, ...bearer() }, " ".repeat(128 * 1024 + 1)))
    limited(await post("/api/v1/tasks", { "content-type": "text/plain", ...bearer() }, "a"))
    limited(await post("/api/v1/tasks", { ...json, ...bearer() }, "{"))
    limited(await post("/api/v1/tasks?bogus=1", { ...json, ...bearer() }, "{}"))
    limited(await send(server, "GET", "/api/v1/tasks?limit=0", { headers: bearer() }))
    limited(await send(server, "GET", "/API/v1//tasks/", { headers: bearer() }))
    // what was refused before it could count has taken nothing from the other user
    having(200, await me(server, other.access_token))
  })

  it("R70 tell what is left, also to a page of another origin", async () => {
    await exhaust()
    const answer = await send(server, "GET", "/api/v1/auth/me", {
      headers: { ...bearer(), origin: "https://front.example" }
    })
    limited(answer)
    expect(answer.headers.get("access-control-allow-origin")).toBe("https://front.example")
    const exposed = (answer.headers.get("access-control-expose-headers") ?? "").toLowerCase().split(/\s*,\s*/)
    expect(exposed).toEqual(expect.arrayContaining(["ratelimit", "ratelimit-policy", "retry-after"]))
  })

  it("leave a line in the log that says who and what", async () => {
    await exhaust()
    const answer = await me(server, user.access_token)
    const line = server.logs().split("\n").map((text) => JSON.parse(text)).find(({ annotations }) =>
      annotations.event === "rate_limited" && annotations.request_id === answer.headers.get("x-request-id")
    )
    expect(line?.annotations).toMatchObject({ policy: "requests", user_id: user.id, address: expect.any(String) })

    const address = newAddress()
    const email = newEmail()
    const attempts = await times(11, () => logIn(server, address, { email, password: wrongPassword }))
    expectLoginLimited(attempts.at(-1)!)
    const login = server.logs().split("\n").map((text) => JSON.parse(text)).findLast(({ annotations }) =>
      annotations.event === "rate_limited"
    )
    expect(login?.annotations).toMatchObject({ policy: "login", user_id: null, address })
    expect(server.logs()).not.toContain(wrongPassword)
  })

  it("do not keep their user from logging out", async () => {
    await exhaust()
    expect((await server.request("POST", "/api/v1/auth/logout", { token: user.access_token })).status).toBe(204)
    expectProblem(await me(server, user.access_token), 401, "session_revoked")
  })
})

describe("requests for many tasks", () => {
  it("are limited to 60 for a user, as requests besides", async () => {
    const user = await newAccount()
    const ask = (index: number) =>
      server.request(
        "POST",
        `/api/v1/tasks/${["bulk/complete", "bulk/delete", "batch"][index % 3]}`,
        {
          token: user.access_token,
          headers: { "x-forwarded-for": newAddress() },
          body: index % 3 === 2 ? { mode: "partial", operations: [{ op: "delete", id: newId() }] } : { ids: [newId()] }
        }
      )
    // one comes back each second
    const answers = await Promise.all(Array.from({ length: 75 }, (_, index) => ask(index)))
    const accepted = answers.filter(({ status }) => status === 200).length
    expect(accepted).toBeGreaterThanOrEqual(60)
    expect(accepted).toBeLessThan(75)
    for (const answer of answers) if (answer.status !== 200) expectLimited(answer, "bulk", 60, 60)
    // every other request goes on
    having(200, await me(server, user.access_token))
  })
})

const status429 = ({ status }: { readonly status: number }) => status === 429
