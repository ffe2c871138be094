/** Limits on logins and on whatever else a password can be guessed by. */
import { setTimeout as pause } from "node:timers/promises"
import { describe, expect, it } from "vitest"
import { hashes, newEmail, newUsername } from "../auth/accounts.ts"
import { converse, head, send } from "../http/exchange.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import {
  expectLimited,
  expectLoginLimited,
  logIn,
  newAddress,
  newPrefix,
  right,
  statuses,
  times,
  wrongPassword
} from "./clients.ts"

const server = useServer({ RATE_LIMITS: "on", TRUSTED_PROXIES: "127.0.0.1" })

const register = async (overrides: Record<string, string> = {}): Promise<Account> => {
  const body = { email: newEmail(), password: "lantern orbit 47 velvet", ...overrides }
  const headers = { "x-forwarded-for": newAddress() }
  const { json } = having(201, await server.request("POST", "/api/v1/auth/register", { body, headers }))
  return { ...body, id: json.user.id, access_token: json.access_token, refresh_token: json.refresh_token }
}
const wrong = (email: string) => ({ email, password: wrongPassword })
const ten = Array.from({ length: 10 }, () => 401)

describe("R15 failed logins", () => {
  it("are limited to 10 for an account and a network, whether there is such an account or not", async () => {
    const account = await register()
    const eleventh = async (email: string) => {
      const address = newAddress()
      expect(statuses(await times(10, () => logIn(server, address, wrong(email))))).toEqual(ten)
      const answer = await logIn(server, address, wrong(email))
      expectLoginLimited(answer)
      // ten at once take the whole window to come back
      expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(880)
      return { answer, address }
    }
    const known = await eleventh(account.email)
    const unknown = await eleventh(newEmail())
    const seen = ({ headers, json }: typeof known.answer) => ({
      body: { ...json, request_id: "" },
      headers: [...headers].map(([name, value]) =>
        ["date", "x-request-id", "retry-after", "ratelimit"].includes(name) ? [name] : [name, value]
      )
    })
    expect(seen(unknown.answer)).toEqual(seen(known.answer))
    // the right password neither
    expectLoginLimited(await logIn(server, known.address, right(account)))
  })

  it("count together for every spelling of one address, and for both families of paths", async () => {
    const email = `ada.${newEmail()}`
    await register({ email })
    const spellings = [
      { email },
      { email: email.toUpperCase() },
      { username_or_email: email },
      { username_or_email: email.replace("ada", "ＡＤＡ") },
      { email: email.replace("ada", "Ada") }
    ]
    const address = newAddress()
    const ask = (index: number) =>
      logIn(
        server,
        address,
        { ...spellings[index % spellings.length], password: wrongPassword },
        index % 2 === 0 ? "/api/v1/auth/login" : "/api/auth/login"
      )
    expect(statuses(await times(10, ask))).toEqual(ten)
    for (const answer of await times(10, ask)) expectLoginLimited(answer)
  })

  it("count together for every spelling of one username, and not with another name's", async () => {
    const username = newUsername()
    const account = await register({ username })
    const address = newAddress()
    const spellings = [{ username }, { username: username.toUpperCase() }, { username_or_email: username }]
    const ask = (index: number) => logIn(server, address, { ...spellings[index % 3], password: wrongPassword })
    expect(statuses(await times(10, ask))).toEqual(ten)
    for (const answer of await times(3, ask)) expectLoginLimited(answer)
    // the address of the same account tells nothing of the name
    expect((await logIn(server, address, wrong(account.email))).status).toBe(401)
    expect((await logIn(server, address, wrong(newEmail()))).status).toBe(401)
  })

  it("are counted with wrong passwords of /password and DELETE /me", async () => {
    const account = await register()
    const headers = { "x-forwarded-for": newAddress() }
    const { access_token: token, email, password } = account
    const change = (current_password: string) =>
      server.request("POST", "/api/v1/auth/password", {
        token,
        headers,
        body: { current_password, new_password: "seven unrelated tiny words" }
      })
    const remove = (password: string) =>
      server.request("DELETE", "/api/v1/auth/me", { token, headers, body: { password } })
    for (let i = 0; i < 4; i++) expect((await change(wrongPassword)).json.code).toBe("wrong_password")
    for (let i = 0; i < 3; i++) expect((await remove(wrongPassword)).json.code).toBe("wrong_password")
    for (let i = 0; i < 3; i++) {
      expect((await logIn(server, headers["x-forwarded-for"], wrong(email))).json.code).toBe("invalid_credentials")
    }
    expectLoginLimited(await change(wrongPassword))
    expectLoginLimited(await change(password))
    expectLoginLimited(await remove(password))
    expectLoginLimited(await logIn(server, headers["x-forwarded-for"], right(account)))
    having(200, await logIn(server, newAddress(), right(account)))
  })

  it("are counted with those of OAuth 2 clients", async () => {
    const { email, password } = await register()
    const address = newAddress()
    const token = (password: string) =>
      server.request("POST", "/api/v1/auth/token", {
        headers: { "x-forwarded-for": address, "content-type": "application/x-www-form-urlencoded" },
        raw: new URLSearchParams({ grant_type: "password", username: email, password }).toString()
      })
    for (let i = 0; i < 5; i++) expect((await token(wrongPassword)).json.error).toBe("invalid_grant")
    for (let i = 0; i < 5; i++) expect((await logIn(server, address, wrong(email))).status).toBe(401)
    expectLoginLimited(await token(password))
    expectLoginLimited(await logIn(server, address, wrong(email)))
  })

  it("are all that is counted: the right password gives back what it took", async () => {
    const account = await register()
    const address = newAddress()
    expect(statuses(await times(9, () => logIn(server, address, wrong(account.email))))).toEqual(ten.slice(1))
    for (const answer of await times(15, () => logIn(server, address, right(account)))) having(200, answer)
    expect((await logIn(server, address, wrong(account.email))).status).toBe(401)
    expectLoginLimited(await logIn(server, address, right(account)))
  })
})

describe("R16 the network", () => {
  it("is the nearest hop that is not a trusted proxy, whatever the client says", async () => {
    const { email } = await register()
    const address = newAddress()
    const ask = () => logIn(server, `${newAddress()}, ${address}`, wrong(email))
    expect(statuses(await times(10, ask))).toEqual(ten)
    expectLoginLimited(await ask())
    expectLoginLimited(await logIn(server, `${newAddress()}, ${address}, 127.0.0.1`, wrong(email)))
    expectLoginLimited(await logIn(server, `::ffff:${address}`, wrong(email)))
    expect((await logIn(server, `${address}, ${newAddress()}`, wrong(email))).status).toBe(401)
  })

  it("is the /64 of an IPv6 address", async () => {
    const { email } = await register()
    const prefix = newPrefix()
    const ask = (index: number) => logIn(server, `${prefix}:${index}:a:b:${index + 1}`, wrong(email))
    expect(statuses(await times(10, ask))).toEqual(ten)
    expectLoginLimited(await ask(11))
    expectLoginLimited(await logIn(server, `${prefix}::`, wrong(email)))
    expect((await logIn(server, `${newPrefix()}::1`, wrong(email))).status).toBe(401)
  })
})

describe("R17 attempts", () => {
  const body = "{}"
  const paths = [
    "/api/v1/auth/login",
    "//api/v1/auth/login",
    "/API/v1/AUTH/LOGIN/",
    "/api/v1/auth/%6cogin",
    "/api//v1/auth/login?x=1",
    "/api/auth/login",
    "/api/AUTH/login/"
  ]

  it("are limited to 100 for a network, however the URL is written", async () => {
    const headers = { "x-forwarded-for": newAddress(), "content-type": "application/json" }
    const ask = (index: number) => send(server, "POST", paths[index % paths.length]!, { headers, body })
    // a spelling of no route is limited by nobody, and logs nobody in
    const found = new Set(statuses(await times(paths.length, ask)))
    expect([...found].filter((status) => status !== 422 && status !== 404)).toEqual([])
    const rest = await times(100, ask)
    const limited = (await times(paths.length, ask)).filter(({ status }) => status !== 404)
    expect(statuses(rest).filter((status) => status === 422).length).toBeGreaterThan(70)
    expect(limited.length).toBeGreaterThan(3)
    for (const answer of limited) expectLimited(answer, "login_attempts", 100, 900)
    // and another network is not
    const other = { ...headers, "x-forwarded-for": newAddress() }
    expect((await send(server, "POST", paths[0]!, { headers: other, body })).status).toBe(422)
  })

  it("are limited before the body is looked at", async () => {
    const address = newAddress()
    const json = { "x-forwarded-for": address, "content-type": "application/json" }
    const login = (headers: Record<string, string>, body: string) =>
      send(server, "POST", "/api/v1/auth/login", { headers, body })
    expect(new Set(statuses(await times(100, () => login(json, "{"))))).toEqual(new Set([400]))
    for (const body of ["{", "{}", " ".repeat(16 * 1024 + 1), JSON.stringify(wrong(newEmail()))]) {
      expectLimited(await login(json, body), "login_attempts", 100, 900)
    }
    expectLimited(await login({ ...json, "content-type": "text/plain" }, "a"), "login_attempts", 100, 900)
    // but not before the route
    expect((await send(server, "PUT", "/api/v1/auth/login", { headers: json })).status).toBe(405)
  })

  it("are counted together with grants of passwords of OAuth 2", { timeout: 60_000 }, async () => {
    const address = newAddress()
    const grant = () =>
      send(server, "POST", "/api/v1/auth/token", {
        headers: { "x-forwarded-for": address, "content-type": "application/x-www-form-urlencoded" },
        body: `grant_type=password&username=${encodeURIComponent(newEmail())}&password=x`
      })
    for (const { json, status } of await times(100, grant)) expect([status, json.error]).toEqual([400, "invalid_grant"])
    expectLimited(await grant(), "login_attempts", 100, 900)
    expectLimited(await logIn(server, address, wrong(newEmail())), "login_attempts", 100, 900)
  })
})

describe("R18 a login whose client resets the connection", () => {
  it("has been paid for", async () => {
    const { email } = await register()
    const address = newAddress()
    const body = JSON.stringify(wrong(email))
    const bytes = head(
      "POST /api/v1/auth/login",
      "Host: localhost",
      `X-Forwarded-For: ${address}`,
      "Content-Type: application/json",
      `Content-Length: ${body.length}`
    ) + body
    await times(10, () =>
      converse(server, async (socket) => {
        await new Promise<void>((sent) => socket.write(bytes, () => sent()))
        socket.resetAndDestroy()
      }))
    // the last resets may still be on their way
    const arrived = () =>
      server.logs().split("\n").map((line) => JSON.parse(line).annotations)
        .filter((annotations) => annotations.event === "request" && annotations.address === address).length
    const until = Date.now() + 10_000
    while (arrived() < 10 && Date.now() < until) await pause(10)
    expect(arrived()).toBe(10)
    expectLoginLimited(await logIn(server, address, wrong(email)))
  })
})

describe("R19 parallel failed logins", () => {
  it("have at most as many passwords hashed as one after the other", async () => {
    const { email } = await register()
    const before = await hashes(server)
    const address = newAddress()
    const names = [email, email.toUpperCase()]
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, index) => logIn(server, address, wrong(names[index % 2]!)))
    )
    expect(statuses(answers).filter((status) => status === 401)).toEqual(ten)
    for (const answer of answers.filter(({ status }) => status !== 401)) expectLoginLimited(answer)
    expect(await hashes(server) - before).toBe(10)
  })
})

describe("R20 the account's owner", () => {
  it("logs in from another network while an attacker's is limited", async () => {
    const account = await register()
    const attacker = newAddress()
    await times(12, () => logIn(server, attacker, wrong(account.email)))
    expectLoginLimited(await logIn(server, attacker, right(account)))
    having(200, await logIn(server, newAddress(), right(account)))
  })
})
