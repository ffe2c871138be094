import { beforeAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServers } from "../support/TestServer.ts"
import { having, pointersOf, visible } from "../tasks/families.ts"
import {
  bases,
  expectAlive,
  expectRefused,
  expectRevoked,
  goodPassword,
  hashes,
  login,
  me,
  newEmail,
  newUsername,
  patiently,
  sessionOf,
  userMembers
} from "./accounts.ts"

const [server, other] = useServers(2)
const username = newUsername()
let user: Account
beforeAll(async () => {
  user = await server.register({ username })
})

const signIn = (body: unknown, base = "/api/v1/auth", headers: Record<string, string> = {}, instance = server) =>
  instance.request("POST", `${base}/login`, { body, headers })

describe.each(bases)("POST %s/login", (base) => {
  it("answers 200 with exactly the documented members", async () => {
    const answer = having(200, await signIn({ email: user.email, password: user.password }, base))
    const body = answer.json
    expect(Object.keys(body).sort()).toEqual(["access_token", "expires_in", "refresh_token", "token_type", "user"])
    expect(body).toMatchObject({ token_type: "bearer", expires_in: 86_400 })
    expect(Object.keys(body.user).sort()).toEqual(userMembers)
    expect(body.user).toMatchObject({ id: user.id, username })
    expect(answer.headers.get("cache-control")).toContain("no-store")
    expect(having(200, await me(server, body.access_token)).json).toEqual(body.user)
  })

  it("takes an e-mail address, a user name, or either of them, whatever the case", async () => {
    const { password } = user
    const forms = [
      { email: user.email },
      { email: user.email.toUpperCase() },
      { username },
      { username: username.toUpperCase() },
      { username_or_email: user.email },
      { username_or_email: user.email.toUpperCase() },
      { username_or_email: username },
      { username_or_email: username.toUpperCase() }
    ]
    for (const form of forms) {
      expect(having(200, await signIn({ ...form, password }, base)).json.user.id).toBe(user.id)
      expectProblem(await signIn({ ...form, password: goodPassword }, base), 401, "invalid_credentials")
    }
  })

  it("takes exactly one of them", async () => {
    const before = await hashes(server)
    const { email, password } = user
    const wrong = [
      { password },
      { email, username, password },
      { email, username_or_email: email, password },
      { username, username_or_email: username, password },
      { email, username, username_or_email: email, password }
    ]
    for (const body of wrong) expectProblem(await signIn(body, base), 422, "validation_failed")
    expect(await hashes(server)).toBe(before)
  })

  it("R12 answers an unknown account as it answers a wrong password", async () => {
    const account = await server.register({ username: newUsername() })
    const name: string = having(200, await me(server, account.access_token)).json.username
    const password = goodPassword
    const pairs = [
      [{ email: newEmail() }, { email: account.email }],
      [{ username: newUsername() }, { username: name }],
      [{ username_or_email: newEmail() }, { username_or_email: account.email }],
      [{ username_or_email: newUsername() }, { username_or_email: name }]
    ]
    for (const [unknown, known] of pairs) {
      const before = await hashes(server)
      const wrong = await signIn({ ...known, password }, base)
      const between = await hashes(server)
      const nobody = await signIn({ ...unknown, password }, base)
      const after = await hashes(server)
      expectProblem(wrong, 401, "invalid_credentials")
      expect(visible(nobody)).toEqual(visible(wrong))
      expect([between - before, after - between]).toEqual([1, 1])
      expect(nobody.headers.get("www-authenticate")).toMatch(/^Bearer\b/)
      expect(nobody.headers.get("www-authenticate")).not.toContain("error=")
    }
  })
})

describe("a login", () => {
  it("starts a session of its own", async () => {
    const account = await server.register()
    const sessions = [account, await login(server, account), await login(server, account)].map(sessionOf)
    expect(new Set(sessions).size).toBe(3)
    const listed = await server.request("GET", "/api/v1/auth/sessions", { token: account.access_token })
    expect(having(200, listed).json.map(({ id }: { id: string }) => id).sort()).toEqual(sessions.sort())
  })

  it("starts none when it fails", async () => {
    const account = await server.register()
    expectProblem(await signIn({ email: account.email, password: goodPassword }), 401, "invalid_credentials")
    const rows = await server.sql("select id from sessions where user_id = $1", [account.id])
    expect(rows).toHaveLength(1)
  })

  it("ignores a bearer, dead or malformed", async () => {
    const account = await server.register()
    having(204, await server.request("POST", "/api/v1/auth/logout", { token: account.access_token }))
    for (const authorization of [`Bearer ${account.access_token}`, "Bearer rubbish", "Basic YTpi"]) {
      await login(server, account, { authorization })
    }
  })

  it("needs the whole password of this very account", async () => {
    const other = await server.register({ password: "another lantern entirely" })
    for (const password of [" ", "x", user.password.slice(0, -1), `${user.password} `, other.password]) {
      expectProblem(await signIn({ email: user.email, password }), 401, "invalid_credentials")
    }
    expect([401, 422]).toContain((await signIn({ email: user.email, password: "" })).status)
  })

  it("never takes an address for a user name", async () => {
    const answer = await signIn({ username: user.email, password: user.password })
    expect([401, 422]).toContain(answer.status)
  })

  it("takes an address in the spellings that a registration takes for the same", async () => {
    const [local = "", domain = ""] = user.email.split("@")
    for (const email of [`${local}＠${domain}`, `${local}@${domain.toUpperCase()}`]) {
      expect(having(200, await signIn({ email, password: user.password })).json.user.id).toBe(user.id)
    }
  })

  it("needs the account's own user name, not one that begins or matches like it", async () => {
    const account = await server.register({ username: "a_bc.def" })
    for (const name of ["aXbc.def", "a_bcXdef", "a_bc", "a_bc.defg", "...", "___"]) {
      expectProblem(await signIn({ username: name, password: account.password }), 401, "invalid_credentials")
    }
    having(200, await signIn({ username: "A_BC.DEF", password: account.password }))
  })
})

describe("a body that is not a login", () => {
  it("is refused with the faults named", async () => {
    const { email, password } = user
    const missing = await signIn({ email })
    expectProblem(missing, 422, "validation_failed")
    expect(pointersOf(missing)).toEqual(["/password"])
    for (const wrong of [1, null, {}, [password], true]) {
      const answer = await signIn({ email, password: wrong })
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer)).toEqual(["/password"])
      expectProblem(await signIn({ email: wrong, password }), 422, "validation_failed")
      expectProblem(await signIn({ username_or_email: wrong, password }), 422, "validation_failed")
    }
  })

  it.each(["remember", "scope", "grant_type", "user", "Email", "__proto__"])(
    "is refused for the unknown member %s",
    async (member) => {
      const text = JSON.stringify({ email: user.email, password: user.password })
      const raw = `${text.slice(0, -1)},${JSON.stringify(member)}:"x"}`
      const headers = { "content-type": "application/json" }
      const answer = await server.request("POST", "/api/v1/auth/login", { raw, headers })
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer)).toEqual([`/${member}`])
    }
  )

  it("is refused with a query", async () => {
    const body = { email: user.email, password: user.password }
    const answer = await server.request("POST", "/api/v1/auth/login?next=/", { body })
    expectProblem(answer, 422, "validation_failed")
    expect(pointersOf(answer)).toEqual(["?next"])
  })

  it("is 400 if it cannot be read, 415 if it is something else, 422 if it is no object", async () => {
    const send = (raw: string, type = "application/json") =>
      server.request("POST", "/api/v1/auth/login", { raw, headers: { "content-type": type } })
    const text = JSON.stringify({ email: user.email, password: user.password })
    for (const cut of ["", " ", text.slice(0, -1), `${text}x`]) {
      expectProblem(await send(cut), 400, "malformed_body")
    }
    expectProblem(await send(text, "text/plain"), 415, "unsupported_media_type")
    expectProblem(
      await send(`username=${username}&password=${user.password}`, "application/x-www-form-urlencoded"),
      415,
      "unsupported_media_type"
    )
    for (const other of ["[]", "null", `[${text}]`, '"a"']) expectProblem(await send(other), 422, "validation_failed")
  })

  it("R7 is refused for text that no account can have", async () => {
    const before = await hashes(server)
    const { password } = user
    for (const letter of ["\u0000", "\ud800", "\udc00"]) {
      const forms = [
        { email: `a${letter}@example.com` },
        { username: `${username}${letter}` },
        { username_or_email: `a${letter}@example.com` },
        { username_or_email: `${username}${letter}` }
      ]
      for (const form of forms) {
        const answer = await signIn({ ...form, password })
        expectProblem(answer, 422, "validation_failed")
        expect(pointersOf(answer)).toEqual([`/${Object.keys(form)[0]}`])
      }
    }
    expect(await hashes(server)).toBe(before)
  })
})

describe("the twenty-first login", () => {
  const live = async (account: Account) => {
    const [row] = await server.sql<{ count: number }>(
      "select count(*)::int as count from sessions where user_id = $1 and revoked_at is null and expires_at > now()",
      [account.id]
    )
    return row?.count
  }

  it("ends the oldest of twenty live sessions, and no other", async () => {
    const account = await server.register()
    const second = await login(server, account)
    for (let count = 2; count < 20; count++) await login(server, account)
    expect(await live(account)).toBe(20)
    having(200, await me(server, account.access_token))
    const newest = await login(server, account)
    expect(await live(account)).toBe(20)
    await expectRevoked(server, account)
    having(200, await me(server, second.access_token))
    const listed = await server.request("GET", "/api/v1/auth/sessions", { token: newest.access_token })
    const ids = having(200, listed).json.map(({ id }: { id: string }) => id)
    expect(ids).toHaveLength(20)
    expect(ids).toContain(sessionOf(second))
    expect(ids).toContain(sessionOf(newest))
    expect(ids).not.toContain(sessionOf(account))

    // an expired session does not count
    await server.sql("update sessions set expires_at = now() - interval '1 second' where user_id = $1 and id = $2", [
      account.id,
      sessionOf(newest)
    ])
    await login(server, account)
    having(200, await me(server, second.access_token))
    expect(await live(account)).toBe(20)
  })

  it("ends the oldest, also of forty at once on two instances", async () => {
    const account = await server.register()
    const before = [account, await login(server, account), await login(other, account)]
    for (let round = 0; round < 2; round++) {
      const answers = await Promise.all(
        Array.from(
          { length: 40 },
          (_, index) =>
            patiently(() =>
              signIn(
                { email: account.email, password: account.password },
                "/api/v1/auth",
                {},
                index % 2 === 0 ? server : other
              )
            )
        )
      )
      for (const answer of answers) having(200, answer)
      expect(await live(account)).toBe(20)
      for (const tokens of before) await expectRevoked(server, tokens)
      const working: Array<string> = []
      for (const { json } of answers) {
        const answer = await me(other, json.access_token)
        if (answer.status === 200) working.push(sessionOf(json))
        else expectRefused(answer, "session_revoked")
      }
      const rows = await server.sql<{ id: string }>(
        "select id from sessions where user_id = $1 order by created_at desc, id desc limit 20",
        [account.id]
      )
      expect(working.sort()).toEqual(rows.map(({ id }) => id).sort())
    }
    await expectAlive(other, await login(server, account))
    expect(await live(account)).toBe(20)
  })
})
