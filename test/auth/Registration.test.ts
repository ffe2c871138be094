import { beforeAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, type Answer, useServers } from "../support/TestServer.ts"
import { having, instant, pointersOf } from "../tasks/families.ts"
import { bases, goodPassword, me, newEmail, newUsername, patiently, userMembers, uuid7 } from "./accounts.ts"

const [server, other] = useServers(2)
let existing: Account
beforeAll(async () => {
  existing = await server.register()
})

const register = (body: unknown, path = "/api/v1/auth/register", instance = server) =>
  instance.request("POST", path, { body })
const raw = (text: string, type = "application/json") =>
  server.request("POST", "/api/v1/auth/register", { raw: text, headers: { "content-type": type } })
const fresh = (members: Record<string, unknown> = {}) => ({ email: newEmail(), password: goodPassword, ...members })
const users = async () => {
  const [row] = await server.sql<{ count: number }>("select count(*)::int as count from users")
  return row?.count
}
const expectFault = (answer: Answer, ...pointers: ReadonlyArray<string>) => {
  expectProblem(answer, 422, "validation_failed")
  expect(pointersOf(answer)).toEqual(pointers)
  for (const fault of answer.json.errors) {
    expect(fault.code).toMatch(/^[a-z_]+$/)
    expect(fault.detail).toMatch(/\S/)
  }
}

describe.each(bases.flatMap((base) => [`${base}/register`, `${base}/signup`]))("POST %s", (path) => {
  it("answers 201 with exactly the documented members", async () => {
    const email = newEmail()
    const username = newUsername()
    const wanted = { email, username, name: "Ada", time_zone: "Europe/Berlin" }
    const passwords = { password: goodPassword, confirm_password: goodPassword }
    const answer = having(201, await register({ ...wanted, ...passwords }, path))
    const body = answer.json
    expect(Object.keys(body).sort()).toEqual([
      "access_token",
      "expires_in",
      "message",
      "refresh_token",
      "token_type",
      "user"
    ])
    expect(body).toMatchObject({ message: "User created successfully", token_type: "bearer", expires_in: 86_400 })
    expect(Object.keys(body.user).sort()).toEqual(userMembers)
    expect(body.user).toMatchObject(wanted)
    expect(body.user.id).toMatch(uuid7)
    expect(body.user.created_at).toMatch(instant)
    expect(body.user.updated_at).toMatch(instant)
    expect(Math.abs(Date.parse(body.user.created_at) - Date.now())).toBeLessThan(60_000)
    expect(answer.headers.get("cache-control")).toContain("no-store")
    expect(having(200, await me(server, body.access_token)).json).toEqual(body.user)
  })

  it("needs an e-mail and a password only", async () => {
    const email = newEmail()
    const { user } = having(201, await register({ email, password: goodPassword }, path)).json
    expect(user).toMatchObject({ email, username: null, name: null, time_zone: "UTC" })
  })

  it("refuses an address that is taken, whatever the case", async () => {
    const before = await users()
    expectProblem(await register(fresh({ email: existing.email.toUpperCase() }), path), 409, "email_taken")
    expect(await users()).toBe(before)
  })
})

describe("an account", () => {
  it("is the same under both paths", async () => {
    const { user, access_token } = having(201, await register(fresh(), "/api/auth/signup")).json
    for (const base of bases) {
      const answer = await server.request("GET", `${base}/me`, { token: access_token })
      expect(having(200, answer).json).toEqual(user)
    }
  })

  it("has an id, a session and tokens of its own", async () => {
    const [a, b] = [having(201, await register(fresh())).json, having(201, await register(fresh())).json]
    expect(a.user.id).not.toBe(b.user.id)
    expect(a.access_token).not.toBe(b.access_token)
    expect(a.refresh_token).not.toBe(b.refresh_token)
    expect(having(200, await me(server, a.access_token)).json.id).toBe(a.user.id)
    expect(having(200, await me(server, b.access_token)).json.id).toBe(b.user.id)
  })
})

describe("a user name", () => {
  it("has 3 to 30 letters, digits, underscores and dots, and keeps its spelling", async () => {
    for (const username of [`${newUsername().slice(0, 2)}Z`, `A_b.9${newUsername()}`.padEnd(30, "x")]) {
      const { user } = having(201, await register(fresh({ username }))).json
      expect(user.username).toBe(username)
    }
  })

  const wrong = ["", "ab", "x".repeat(31), "a b c", "a@b.c", "max@example.com", "a-b-c", "jürgen", "a\tb", "user\n"]

  it.each([...wrong, " max", "ａｂｃ"])("is not %j", async (username) => {
    expectFault(await register(fresh({ username })), "/username")
  })

  it("is unique whatever the case", async () => {
    const username = `Max_${newUsername()}`
    having(201, await register(fresh({ username })))
    const before = await users()
    for (const again of [username, username.toLowerCase(), username.toUpperCase()]) {
      expectProblem(await register(fresh({ username: again })), 409, "username_taken")
    }
    expect(await users()).toBe(before)
  })
})

describe("confirm_password", () => {
  it("must equal the password", async () => {
    const before = await users()
    for (const confirm_password of [`${goodPassword} `, goodPassword.toUpperCase(), ""]) {
      expectFault(await register(fresh({ confirm_password })), "/confirm_password")
    }
    expect(await users()).toBe(before)
    having(201, await register(fresh({ confirm_password: goodPassword })))
  })
})

describe("a time zone", () => {
  it.each(["America/Argentina/Buenos_Aires", "Asia/Kolkata", "UTC"])("may be %s", async (time_zone) => {
    expect(having(201, await register(fresh({ time_zone }))).json.user.time_zone).toBe(time_zone)
  })

  it.each([
    "",
    "Mars/Olympus",
    "Europe/Berlin ",
    "local",
    "Europe/../UTC",
    "PST",
    "US/Pacific-New",
    "UTC'; drop table users"
  ])(
    "is not %j",
    async (time_zone) => {
      expectFault(await register(fresh({ time_zone })), "/time_zone")
    }
  )
})

describe("a body that is not a registration", () => {
  it("is refused with one entry in errors for each fault", async () => {
    expectFault(await register({}), "/email", "/password")
    expectFault(await register({ email: newEmail() }), "/password")
    expectFault(await register({ password: goodPassword }), "/email")
    expectFault(await register({ email: "nobody", password: "short" }), "/email", "/password")
    expectFault(await register({ email: 1, password: {} }), "/email", "/password")
    expectFault(await register(fresh({ email: null })), "/email")
    expectFault(await register(fresh({ password: [goodPassword] })), "/password")
    expectFault(await register(fresh({ username: 7, name: true, time_zone: {} })), "/name", "/time_zone", "/username")
  })

  it.each([
    "id",
    "user_id",
    "is_admin",
    "role",
    "created_at",
    "password_hash",
    "Email",
    "emailVerified",
    "timeZone",
    "username_or_email",
    "constructor",
    "__proto__"
  ])("is refused for the unknown member %s", async (member) => {
    const before = await users()
    const text = JSON.stringify(fresh())
    expectFault(await raw(`${text.slice(0, -1)},${JSON.stringify(member)}:"x"}`), `/${member}`)
    expect(await users()).toBe(before)
  })

  it("is 400 if it cannot be read, 413 if it is large, 415 if it is something else, 422 if no object", async () => {
    const before = await users()
    for (const text of ["", "{", `${JSON.stringify(fresh())},`]) expectProblem(await raw(text), 400, "malformed_body")
    expectProblem(await raw(JSON.stringify(fresh()), "text/plain"), 415, "unsupported_media_type")
    expectProblem(
      await raw(`email=${newEmail()}&password=${goodPassword}`, "application/x-www-form-urlencoded"),
      415,
      "unsupported_media_type"
    )
    for (const text of ["[]", "null", '"a"', "1"]) expectProblem(await raw(text), 422, "validation_failed")
    expectProblem(await raw(JSON.stringify(fresh()) + " ".repeat(16 * 1024)), 413, "too_large")
    expect(await users()).toBe(before)
  })

  it("is refused with an unknown query parameter", async () => {
    const before = await users()
    expectFault(await register(fresh(), "/api/v1/auth/register?admin=true"), "?admin")
    expect(await users()).toBe(before)
  })
})

describe("text that the database cannot keep", () => {
  const members = ["email", "password", "confirm_password", "username", "name", "time_zone"] as const
  const good = { email: "local", password: goodPassword, confirm_password: goodPassword, username: "abc", name: "a" }

  it.each(members)("R7 is refused in %s", async (member) => {
    const before = await users()
    const base: string = { ...good, time_zone: "UTC" }[member]
    for (const letter of ["\u0000", "\ud800", "\udc00", "\udc00\ud800"]) {
      for (const text of [`${letter}${base}`, `${base}${letter}`]) {
        const value = member === "email" ? `${text}@example.com` : text
        const answer = await register(fresh({ [member]: value }))
        expectProblem(answer, 422, "validation_failed")
        expect(pointersOf(answer)).toContain(`/${member}`)
      }
    }
    expectProblem(await register(fresh({ email: `a@exa\u0000mple.com` })), 422, "validation_failed")
    expectProblem(await register(fresh({ email: `a@exa\ud800mple.com` })), 422, "validation_failed")
    expect(await users()).toBe(before)
  })

  it("R7 is refused in the name of a member and in the query", async () => {
    for (const letter of ["\u0000", "\ud800"]) {
      expectProblem(await register(fresh({ [`na${letter}me`]: "a" })), 422, "validation_failed")
    }
    expectProblem(await register(fresh(), "/api/v1/auth/register?a=%00"), 422, "validation_failed")
    expectProblem(await register(fresh(), "/api/v1/auth/register?%00=a"), 422, "validation_failed")
  })

  it("R7 does not keep out names of any language", async () => {
    for (
      const name of ["Zoë 🎉 O'Brien", "李小龍", "مريم", "<script>alert(1)</script>", "Robert'); drop table users;--"]
    ) {
      expect(having(201, await register(fresh({ name }))).json.user.name).toBe(name)
    }
  })
})

describe("an e-mail address", () => {
  const invalid = [
    "",
    "plain",
    "a@",
    "@example.com",
    "a@localhost",
    "a b@example.com",
    "a@exa mple.com",
    "a@@example.com",
    "a@b@example.com",
    " a@example.com",
    "a@example.com ",
    "a@example.com\n",
    "a\n@example.com",
    "a@example.com.",
    "a@.example.com",
    "a@example..com",
    "Ada <a@example.com>",
    "a@example.com,b@example.com"
  ]

  it.each(invalid)("R8 is not %j", async (email) => {
    expectFault(await register(fresh({ email })), "/email")
  })

  it("R8 is validated after it was normalised", async () => {
    for (const email of ["a＠b@example.com", "a@b＠example.com", "a＠localhost", "＠example.com", "a@example．．com"]) {
      expectFault(await register(fresh({ email })), "/email")
    }
  })

  it("R8 is taken in every spelling that means the same", async () => {
    const local = newEmail().split("@")[0] ?? ""
    const { user } = having(201, await register(fresh({ email: `${local.toUpperCase()}@X.Example.COM` }))).json
    expect(user.email.toLowerCase()).toBe(`${local}@x.example.com`)
    const before = await users()
    const wide = local.replace(/[a-z]/g, (letter) => String.fromCodePoint(letter.charCodeAt(0) + 0xfee0))
    const same = [
      `${local}@x.example.com`,
      `${local}@X.EXAMPLE.COM`,
      `${local.toUpperCase()}@x.example.com`,
      `${local}＠x.example.com`,
      `${local}@x．example．com`,
      `${wide}@x.example.com`
    ]
    for (const email of same) expectProblem(await register(fresh({ email })), 409, "email_taken")
    expect(await users()).toBe(before)
  })

  it("R8 is taken in every case of letters that have more than two", async () => {
    const local = newUsername()
    for (const [first, ...others] of [["σασ", "ΣΑΣ", "ςας", "σας"], ["straße", "STRASSE", "STRAẞE"], ["ǆ", "ǅ", "Ǆ"]]) {
      having(201, await register(fresh({ email: `${first}.${local}@example.com` })))
      for (const other of others) {
        expectProblem(await register(fresh({ email: `${other}.${local}@example.com` })), 409, "email_taken")
      }
    }
  })

  it("R8 has at most 254 characters", async () => {
    const domain = `${"b".repeat(63)}.${"c".repeat(63)}.${"d".repeat(57)}.com`
    const local = newUsername().padEnd(64, "x")
    const longest = `${local}@${domain}`
    expect(longest).toHaveLength(254)
    having(201, await register(fresh({ email: longest })))
    expectFault(await register(fresh({ email: `${local}@e${domain.slice(0, 62)}.${domain}` })), "/email")
    expectFault(await register(fresh({ email: `${local}@${domain}m` })), "/email")
    expectFault(await register(fresh({ email: `${"a".repeat(9000)}@example.com` })), "/email")
  })
})

describe("fifty registrations of one address at once, on two instances", () => {
  /** Makes one of these requests for each index, half of them at each instance. */
  const race = (count: number, path: string, members: (index: number) => Record<string, unknown>) =>
    Promise.all(
      Array.from(
        { length: count },
        (_, index) => patiently(() => register(fresh(members(index)), path, index % 2 === 0 ? server : other))
      )
    )

  it.each(["/api/v1/auth/register", "/api/auth/signup"])("R9 make one account: %s", async (path) => {
    const email = newEmail()
    const spelled = (index: number) =>
      [...email].map((letter, at) => ((index >> at % 6) & 1) === 1 ? letter.toUpperCase() : letter).join("")
    const before = await users() ?? 0
    const answers = await race(50, path, (index) => ({ email: spelled(index) }))
    expect(answers.map((answer) => answer.status).sort()).toEqual([201, ...Array<number>(49).fill(409)])
    for (const answer of answers) if (answer.status === 409) expectProblem(answer, 409, "email_taken")
    expect(await users()).toBe(before + 1)
    const { access_token } = answers.find(({ status }) => status === 201)?.json ?? {}
    having(200, await me(other, access_token))
  })

  it("R9 and of one user name too", async () => {
    const username = newUsername()
    const before = await users() ?? 0
    const answers = await race(10, "/api/v1/auth/register", (index) => ({
      username: index % 2 === 0 ? username : username.toUpperCase()
    }))
    expect(answers.map((answer) => answer.status).sort()).toEqual([201, ...Array<number>(9).fill(409)])
    for (const answer of answers) if (answer.status === 409) expectProblem(answer, 409, "username_taken")
    expect(await users()).toBe(before + 1)
  })
})
