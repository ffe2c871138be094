import { beforeAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, type Answer, useServer } from "../support/TestServer.ts"
import { having, instant, pointersOf } from "../tasks/families.ts"
import {
  bases,
  expectAlive,
  expectRefused,
  goodPassword,
  hashes,
  login,
  me,
  newUsername,
  refresh,
  userMembers
} from "./accounts.ts"
import { filled, rowsOf } from "./stored.ts"

const server = useServer()
let user: Account
beforeAll(async () => {
  user = await server.register()
})

const expectFault = (answer: Answer, ...pointers: ReadonlyArray<string>) => {
  expectProblem(answer, 422, "validation_failed")
  expect(pointersOf(answer)).toEqual(pointers)
}
const json = { "content-type": "application/json" }

describe.each(bases)("GET %s/me", (base) => {
  it("answers the user that the token belongs to, with exactly the documented members", async () => {
    const username = newUsername()
    const account = await server.register({ username, name: "Ada", time_zone: "Asia/Tokyo" })
    const answer = having(200, await server.request("GET", `${base}/me`, { token: account.access_token }))
    expect(Object.keys(answer.json).sort()).toEqual(userMembers)
    expect(answer.json).toMatchObject({
      id: account.id,
      email: account.email,
      username,
      name: "Ada",
      time_zone: "Asia/Tokyo"
    })
    expect(answer.json.created_at).toMatch(instant)
    expect(answer.json.updated_at).toMatch(instant)
    expect(answer.headers.get("cache-control")).toContain("no-store")
    expect(having(200, await server.request("GET", `${base}/me`, { token: user.access_token })).json.id).toBe(user.id)
  })

  it("has no query", async () => {
    expectFault(await server.request("GET", `${base}/me?id=${user.id}`, { token: user.access_token }), "?id")
    expectProblem(
      await server.request("GET", `${base}/me?a=%00`, { token: user.access_token }),
      422,
      "validation_failed"
    )
  })
})

describe.each(bases)("PATCH %s/me", (base) => {
  const patch = (account: Pick<Account, "access_token">, body: unknown) =>
    server.request("PATCH", `${base}/me`, { token: account.access_token, body })

  it("changes the given members and keeps the others", async () => {
    const account = await server.register({ name: "Ada" })
    const before = having(200, await me(server, account.access_token)).json
    const username = newUsername()
    const named = having(200, await patch(account, { username })).json
    expect(named).toEqual({ ...before, username, updated_at: expect.stringMatching(instant) })
    expect(Date.parse(named.updated_at)).toBeGreaterThanOrEqual(Date.parse(before.updated_at))
    const moved = having(200, await patch(account, { time_zone: "Europe/Paris", name: "Grace 🎉" })).json
    expect(moved).toEqual({ ...named, time_zone: "Europe/Paris", name: "Grace 🎉", updated_at: moved.updated_at })
    expect(having(200, await me(server, account.access_token)).json).toEqual(moved)
    const again = await server.request("POST", `${base}/login`, { body: { username, password: account.password } })
    expect(having(200, again).json.user).toEqual(moved)
  })

  it("moves updated_at on", async () => {
    const account = await server.register()
    await server.sql("update users set updated_at = now() - interval '1 day' where id = $1", [account.id])
    const changed = having(200, await patch(account, { name: "Ada" })).json
    expect(Math.abs(Date.parse(changed.updated_at) - Date.now())).toBeLessThan(60_000)
  })

  it("clears the name with null", async () => {
    const account = await server.register({ name: "Ada" })
    expect(having(200, await patch(account, { name: null })).json.name).toBeNull()
  })

  it("refuses a user name that is taken, whatever the case, and changes nothing then", async () => {
    const username = `Max_${newUsername()}`
    const taken = await server.register({ username })
    const account = await server.register({ name: "Ada" })
    for (const again of [username, username.toUpperCase(), username.toLowerCase()]) {
      expectProblem(await patch(account, { username: again, name: "Eve" }), 409, "username_taken")
    }
    expect(having(200, await me(server, account.access_token)).json).toMatchObject({ username: null, name: "Ada" })
    const own = having(200, await patch(taken, { username: username.toUpperCase() })).json
    expect(own.username).toBe(username.toUpperCase())
  })

  it("refuses what a registration refuses, and changes nothing then", async () => {
    const before = having(200, await me(server, user.access_token)).json
    for (const username of ["ab", "a@b.c", "x".repeat(31), "a b c", 7, {}]) {
      expectFault(await patch(user, { username }), "/username")
    }
    for (const time_zone of ["Mars/Olympus", "", 1, null]) expectFault(await patch(user, { time_zone }), "/time_zone")
    for (const name of [1, true, ["Ada"]]) expectFault(await patch(user, { name }), "/name")
    expectFault(await patch(user, { username: "ab", time_zone: "Mars/Olympus" }), "/time_zone", "/username")
    for (const body of [[], null, "a", 1]) expectProblem(await patch(user, body), 422, "validation_failed")
    expect(having(200, await me(server, user.access_token)).json).toEqual(before)
  })

  it("refuses members that are not there or not to be changed", async () => {
    const before = having(200, await me(server, user.access_token)).json
    const members = ["id", "email", "password", "password_hash", "created_at", "updated_at", "is_admin", "__proto__"]
    for (const member of members) {
      const raw = `{"name":"Eve",${JSON.stringify(member)}:"x"}`
      const answer = await server.request("PATCH", `${base}/me`, { token: user.access_token, raw, headers: json })
      expectFault(answer, `/${member}`)
    }
    expect(having(200, await me(server, user.access_token)).json).toEqual(before)
  })

  it("R7 refuses text that the database cannot keep", async () => {
    const before = having(200, await me(server, user.access_token)).json
    for (const letter of ["\u0000", "\ud800", "\udc00"]) {
      expectFault(await patch(user, { name: `Ada${letter}` }), "/name")
      expectFault(await patch(user, { username: `ada_${letter}` }), "/username")
      expectFault(await patch(user, { time_zone: `UTC${letter}` }), "/time_zone")
    }
    expect(having(200, await me(server, user.access_token)).json).toEqual(before)
  })

  it("is 400 if the body cannot be read and 415 if it is something else", async () => {
    const send = (raw: string, type: string) =>
      server.request("PATCH", `${base}/me`, { token: user.access_token, raw, headers: { "content-type": type } })
    expectProblem(await send("", "application/json"), 400, "malformed_body")
    expectProblem(await send('{"name":', "application/json"), 400, "malformed_body")
    expectProblem(await send('{"name":"a"}', "text/plain"), 415, "unsupported_media_type")
  })

  it("changes nobody else", async () => {
    const [account, other] = [await server.register(), await server.register({ name: "Other" })]
    const before = having(200, await me(server, other.access_token)).json
    having(200, await patch(account, { name: "Ada", time_zone: "Asia/Tokyo" }))
    expect(having(200, await me(server, other.access_token)).json).toEqual(before)
  })
})

describe.each(bases)("DELETE %s/me", (base) => {
  const erase = (account: Pick<Account, "access_token">, body: unknown) =>
    server.request("DELETE", `${base}/me`, { token: account.access_token, body })

  it("removes every row of the user, and no row of another", async () => {
    const [mine, theirs] = [await filled(server), await filled(server)]
    const [before, others] = [await rowsOf(server, mine), await rowsOf(server, theirs)]
    expect(Object.keys(before).length).toBeGreaterThan(7)
    // a table that is empty here would prove nothing
    for (const [table, rows] of Object.entries(before)) {
      expect({ table, filled: rows > 0 }).toEqual({ table, filled: true })
    }
    expect(having(204, await erase(mine, { password: mine.password })).text).toBe("")
    const left = Object.entries(await rowsOf(server, mine)).filter(([, rows]) => rows > 0)
    expect(left.map(([table]) => table)).toEqual([])
    expect(await rowsOf(server, theirs)).toEqual(others)
    await expectAlive(server, theirs)
  })

  it("R37 ends every token on the very next request", async () => {
    const account = await server.register()
    const other = await login(server, account)
    for (const tokens of [account, other]) having(200, await me(server, tokens.access_token))
    having(204, await erase(account, { password: account.password }))
    for (const tokens of [account, other]) {
      expectRefused(await me(server, tokens.access_token))
      expectRefused(await server.request("GET", "/api/v1/auth/sessions", { token: tokens.access_token }))
      expectRefused(await server.request("GET", "/api/v1/tasks", { token: tokens.access_token }))
      const again = await refresh(server, tokens.refresh_token)
      expect(again.status).toBe(401)
      expect(["invalid_refresh_token", "session_revoked"]).toContain(again.json.code)
    }
    expectRefused(await erase(account, { password: account.password }))
    const body = { email: account.email, password: account.password }
    expectProblem(await server.request("POST", `${base}/login`, { body }), 401, "invalid_credentials")
  })

  it("frees the address and the user name", async () => {
    const account = await server.register({ username: newUsername() })
    const { username } = having(200, await me(server, account.access_token)).json
    having(204, await erase(account, { password: account.password }))
    const body = { email: account.email, password: goodPassword, username }
    const { user: again, access_token } = having(201, await server.request("POST", `${base}/register`, { body })).json
    expect(again.id).not.toBe(account.id)
    expectRefused(await me(server, account.access_token))
    having(200, await me(server, access_token))
  })

  it("needs the right password, and removes nothing without", async () => {
    const account = await filled(server)
    const before = await rowsOf(server, account)
    expectProblem(await erase(account, { password: `${account.password}x` }), 422, "wrong_password")
    expectProblem(await erase(account, { password: user.password.toUpperCase() }), 422, "wrong_password")
    expectFault(await erase(account, {}), "/password")
    expectFault(await erase(account, { password: 1 }), "/password")
    expectFault(await erase(account, { password: account.password, confirm: true }), "/confirm")
    const hashed = await hashes(server)
    expectFault(await erase(account, { password: "b".repeat(257) }), "/password")
    expectFault(await erase(account, { password: `${account.password}\u0000` }), "/password")
    expectFault(await erase(account, { password: `${account.password}\ud800` }), "/password")
    expect(await hashes(server)).toBe(hashed)
    for (const raw of ["", "{"]) {
      const answer = await server.request("DELETE", `${base}/me`, { token: account.access_token, raw, headers: json })
      expectProblem(answer, 400, "malformed_body")
    }
    expectProblem(await server.request("DELETE", `${base}/me`, { token: account.access_token }), 400, "malformed_body")
    expect(await rowsOf(server, account)).toEqual(before)
    await expectAlive(server, account)
  })

  it("counts two at once as one", async () => {
    const account = await server.register()
    const answers = await Promise.all([1, 2, 3].map(() => erase(account, { password: account.password })))
    const statuses = answers.map((answer) => answer.status)
    expect(statuses).toContain(204)
    expect(statuses.filter((status) => status !== 204 && status !== 401)).toEqual([])
    expect(new Set(Object.values(await rowsOf(server, account)))).toEqual(new Set([0]))
  })
})
