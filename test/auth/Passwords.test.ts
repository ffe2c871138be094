import { hashSync as argon2 } from "@node-rs/argon2"
import { hashSync as bcrypt } from "@node-rs/bcrypt"
import { beforeAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { having, pointersOf } from "../tasks/families.ts"
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
  refresh
} from "./accounts.ts"

const server = useServer()
let user: Account
beforeAll(async () => {
  user = await server.register()
})

const register = (members: Record<string, unknown>) =>
  server.request("POST", "/api/v1/auth/register", { body: { email: newEmail(), ...members } })
const signIn = (email: string, password: string) =>
  server.request("POST", "/api/v1/auth/login", { body: { email, password } })
const change = (token: string, body: unknown, base = "/api/v1/auth") =>
  server.request("POST", `${base}/password`, { token, body })
const json = { "content-type": "application/json" }

/** Registers with this password and checks that it logs in. */
const accepts = async (password: string): Promise<string> => {
  const { user } = having(201, await register({ password })).json
  having(200, await signIn(user.email, password))
  return user.email
}

const storedHash = async (id: string) => {
  const [row] = await server.sql<{ password_hash: string }>("select password_hash from users where id = $1", [id])
  return row?.password_hash ?? ""
}

const current = /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22,}\$[A-Za-z0-9+/]{43}$/

describe("the length of a password", () => {
  it("R1 is at least 8 code points, of which an emoji is one", async () => {
    for (const password of ["zq7!mK2", "🐙🌋🧲🪁🦉🚲🍄", "", "zq7 ", "👩‍👩‍👧‍👦"]) {
      const answer = await register({ password })
      expectProblem(answer, 422, "validation_failed")
      expect(answer.json.errors).toHaveLength(1)
      expect(answer.json.errors[0]).toMatchObject({ pointer: "/password", code: "password_too_short" })
    }
    await accepts("zq7!mK2v")
    await accepts("🐙🌋🧲🪁🦉🚲🍄🎻")
  })

  it("R1 counts code points after normalising", async () => {
    const seven = "áéíóúñç".normalize("NFD")
    expect([...seven]).toHaveLength(14)
    const answer = await register({ password: seven })
    expectProblem(answer, 422, "validation_failed")
    expect(answer.json.errors[0]).toMatchObject({ pointer: "/password", code: "password_too_short" })
    await accepts(`${seven}${"ö".normalize("NFD")}`)
  })

  it.each([64, 128, 256])("R2 may be %i code points", async (length) => {
    await accepts("long winding river ".repeat(20).slice(0, length - 1) + "!")
    await accepts("🐙🌋🧲🪁🦉🚲🍄🎻".repeat(32).slice(0, 2 * length))
  })

  it("R2 above 256 is refused without a hash, also at a login", async () => {
    const before = await hashes(server)
    for (const password of ["b".repeat(257), "🐙".repeat(257), "b".repeat(12_000)]) {
      for (const answer of [await register({ password }), await signIn(user.email, password)]) {
        expectProblem(answer, 422, "validation_failed")
        expect(pointersOf(answer)).toEqual(["/password"])
      }
      expectProblem(await signIn(newEmail(), password), 422, "validation_failed")
      const changed = await change(user.access_token, { current_password: user.password, new_password: password })
      expectProblem(changed, 422, "validation_failed")
      expect(pointersOf(changed)).toEqual(["/new_password"])
      const guess = await change(user.access_token, { current_password: password, new_password: goodPassword })
      expectProblem(guess, 422, "validation_failed")
      expect(pointersOf(guess)).toEqual(["/current_password"])
    }
    expect(await hashes(server)).toBe(before)
  })

  it("R2 of 1 MB is too large to be read, also at a login", async () => {
    const before = await hashes(server)
    const password = "b".repeat(1024 * 1024)
    for (const base of bases) {
      for (const path of ["register", "signup", "login"]) {
        const raw = JSON.stringify({ email: newEmail(), password })
        expectProblem(await server.request("POST", `${base}/${path}`, { raw, headers: json }), 413, "too_large")
      }
      const options = { token: user.access_token, headers: json }
      const changed = JSON.stringify({ current_password: password, new_password: goodPassword })
      expectProblem(await server.request("POST", `${base}/password`, { ...options, raw: changed }), 413, "too_large")
      const erased = JSON.stringify({ password })
      expectProblem(await server.request("DELETE", `${base}/me`, { ...options, raw: erased }), 413, "too_large")
    }
    expect(await hashes(server)).toBe(before)
  })
})

describe("the letters of a password", () => {
  it.each(["xkvnqzjwpolmtrh", "quiet river under seven stones", "  two blanks around  ", "🪁🦉🚲🍄🎻🐙🌋🧲🫐🪴"])(
    "R3 may be %j",
    async (password) => {
      await accepts(password)
    }
  )

  it("R3 count, blanks around it included", async () => {
    const email = await accepts("  two blanks around  ")
    expectProblem(await signIn(email, "two blanks around"), 401, "invalid_credentials")
    expectProblem(await signIn(email, "  Two blanks around  "), 401, "invalid_credentials")
  })

  it("R4 all count, however long it is", async () => {
    const full = "a".repeat(100)
    const email = await accepts(full)
    for (const wrong of [full.slice(1), full.slice(0, 72), `${full.slice(0, 72)}${"b".repeat(28)}`, `${full}a`]) {
      expectProblem(await signIn(email, wrong), 401, "invalid_credentials")
    }
    having(200, await signIn(email, full))
  })

  it("R5 are normalised to NFC", async () => {
    const password = "crème brûlée à l'orange"
    const decomposed = await accepts(password.normalize("NFD"))
    having(200, await signIn(decomposed, password.normalize("NFC")))
    const composed = await accepts(password.normalize("NFC"))
    having(200, await signIn(composed, password.normalize("NFD")))
  })

  it("R5 are not folded further, as NFKC would", async () => {
    const email = await accepts("of ﬁne ① wine ｗine")
    expectProblem(await signIn(email, "of fine 1 wine wine"), 401, "invalid_credentials")
  })

  it("R5 of a changed password are normalised too", async () => {
    const account = await server.register()
    const password = "über vierzig Bäume"
    const changed = await change(account.access_token, {
      current_password: account.password,
      new_password: password.normalize("NFD")
    })
    having(204, changed)
    having(200, await signIn(account.email, password.normalize("NFC")))
    const back = { current_password: password.normalize("NFC"), new_password: account.password }
    having(204, await change(account.access_token, back))
    having(200, await signIn(account.email, account.password))
  })

  it("R7 are never replaced: half of a surrogate pair is not U+FFFD", async () => {
    const email = await accepts("half\ufffd of a pair")
    const before = await hashes(server)
    for (const wrong of ["half\ud800 of a pair", "half\udc00 of a pair", "half\ufffd of a pair\u0000"]) {
      const answer = await signIn(email, wrong)
      expectProblem(answer, 422, "validation_failed")
      expect(pointersOf(answer)).toEqual(["/password"])
    }
    for (
      const body of [
        { current_password: `${user.password}\ud800`, new_password: goodPassword },
        { current_password: user.password, new_password: `${goodPassword}\ud800` },
        { current_password: user.password, new_password: `${goodPassword}\u0000` }
      ]
    ) {
      expectProblem(await change(user.access_token, body), 422, "validation_failed")
    }
    expect(await hashes(server)).toBe(before)
  })
})

describe("a password that anyone would guess", () => {
  const common = [
    ...["12345678", "password1234", "qwertyuiop12345", "iloveyou", "tasks-api"],
    ...["123456789", "1q2w3e4r", "11111111", "sunshine", "football", "trustno1", "superman", "qwertyuiop", "PASSWORD"]
  ]

  it.each(common)("R6 is not accepted: %s", async (password) => {
    expectProblem(await register({ password }), 422, "password_compromised")
  })

  it("R6 is not one's e-mail address or user name", async () => {
    const email = newEmail()
    for (const password of [email, email.toUpperCase()]) {
      expectProblem(await register({ email, password }), 422, "password_compromised")
    }
    const username = newUsername()
    expectProblem(await register({ email, username, password: username }), 422, "password_compromised")
    having(201, await register({ email, username, password: newEmail() }))
  })

  it("R6 is not accepted as the new one either", async () => {
    const account = await server.register()
    for (const new_password of [...common, account.email]) {
      const answer = await change(account.access_token, { current_password: account.password, new_password })
      expectProblem(answer, 422, "password_compromised")
    }
    having(200, await signIn(account.email, account.password))
  })
})

describe("what is stored", () => {
  it("R10 is an Argon2id hash in PHC form with a salt of its own", async () => {
    const hashed: Array<string> = []
    for (let count = 0; count < 2; count++) {
      const { user } = having(201, await register({ password: goodPassword })).json
      hashed.push(await storedHash(user.id))
    }
    for (const hash of hashed) expect(hash).toMatch(current)
    expect(hashed[0]).not.toBe(hashed[1])
  })

  it("R10 is never in an answer, and neither is the password", async () => {
    const email = newEmail()
    const password = "only here 8c41 marmot"
    const body = { email, password }
    const made = await server.request("POST", "/api/v1/auth/register", { body })
    const token = having(201, made).json.access_token
    const answers = [
      made,
      await server.request("POST", "/api/v1/auth/register", { body }),
      await server.request("POST", "/api/v1/auth/login", { body }),
      await server.request("POST", "/api/v1/auth/login", { body: { ...body, bogus: 1 } }),
      await server.request("POST", "/api/v1/auth/register", { body: { email: "nobody", password } }),
      await server.request("POST", "/api/v1/auth/register", { body: { email, password, confirm_password: "other" } }),
      await me(server, token),
      await server.request("PATCH", "/api/v1/auth/me", { token, body: { name: "Ada" } }),
      await server.request("GET", "/api/v1/auth/sessions", { token }),
      await change(token, { current_password: "wrong marmot", new_password: password }),
      await change(token, { current_password: password, new_password: "b".repeat(257) }),
      await server.request("DELETE", "/api/v1/auth/me", { token, body: { password: "wrong marmot" } })
    ]
    expect(answers.map((answer) => answer.status)).toEqual([201, 409, 200, 422, 422, 422, 200, 200, 200, 422, 422, 422])
    for (const answer of answers) {
      expect(answer.text).not.toContain(password)
      expect(answer.text).not.toMatch(/argon2|password_hash|\$2[aby]\$/)
    }
  })

  it("R10 is never in the log, and neither are passwords and tokens", async () => {
    const account = { email: newEmail(), password: "only here 77fd heron" }
    const first = having(201, await register(account)).json
    const second = await login(server, account)
    const wrong = "not the heron at all"
    const failed = await signIn(account.email, wrong)
    expectProblem(failed, 401, "invalid_credentials")
    expectProblem(await register({ password: `${wrong}\u0000` }), 422, "validation_failed")
    having(204, await change(second.access_token, { current_password: account.password, new_password: goodPassword }))
    expectRefused(await me(server, first.access_token), "session_revoked")
    const third = having(200, await refresh(server, second.refresh_token)).json
    const logs = server.logs()
    expect(logs).toContain(failed.headers.get("x-request-id"))
    const secrets = [account.password, wrong, goodPassword, first, second, third].flatMap((secret) =>
      typeof secret === "string" ? [secret] : [secret.access_token, secret.refresh_token]
    )
    for (const secret of secrets) expect(logs.includes(secret)).toBe(false)
    expect(logs).not.toMatch(/\$argon2|\$2[aby]\$/)
  })
})

describe("an older hash", () => {
  const password = "imported long ago 3f"
  // Argon2id is the library's default algorithm
  const weaker = argon2(password, { memoryCost: 8192, timeCost: 1, parallelism: 1 })
  const imported = bcrypt(password, { cost: 4 })
  const older: ReadonlyArray<readonly [string, string]> = [
    ["Argon2id with older parameters", weaker],
    ["bcrypt $2a$", bcrypt(password, { cost: 4, version: "2a" })],
    ["bcrypt $2b$", bcrypt(password, { cost: 4, version: "2b" })],
    ["bcrypt $2y$", bcrypt(password, { cost: 4, version: "2y" })]
  ]

  it.each(older)("R10 of %s logs in and is replaced at the next good login", async (_, hash) => {
    const account = await server.register()
    await server.sql("update users set password_hash = $1 where id = $2", [hash, account.id])
    expectProblem(await signIn(account.email, account.password), 401, "invalid_credentials")
    expectProblem(await signIn(account.email, `${password}!`), 401, "invalid_credentials")
    expect(await storedHash(account.id)).toBe(hash)
    const tokens = await login(server, { email: account.email, password })
    having(200, await me(server, tokens.access_token))
    const replaced = await storedHash(account.id)
    expect(replaced).toMatch(current)
    having(200, await signIn(account.email, password))
    expect(await storedHash(account.id)).toBe(replaced)
    expectProblem(await signIn(account.email, account.password), 401, "invalid_credentials")
  })

  it("that many logins replace at once refuses none of them", async () => {
    for (let round = 0; round < 3; round++) {
      const account = await server.register()
      const slow = bcrypt(password, { cost: 10 })
      await server.sql("update users set password_hash = $1 where id = $2", [slow, account.id])
      const answers = await Promise.all(Array.from({ length: 6 }, () => signIn(account.email, password)))
      expect(answers.map(({ status }) => status)).toEqual(Array<number>(6).fill(200))
      expect(await storedHash(account.id)).toMatch(current)
    }
  })

  it.each(["$argon2id$garbage", "$argon2id$v=19$m=1", "$2a$12$short", "$2b$99$" + "a".repeat(53), "plain text"])(
    "that is none, %s, lets nobody in and tells nothing",
    async (hash) => {
      const account = await server.register()
      await server.sql("update users set password_hash = $1 where id = $2", [hash, account.id])
      expectProblem(await signIn(account.email, account.password), 401, "invalid_credentials")
      expectProblem(await signIn(account.email, hash), 401, "invalid_credentials")
    }
  )

  it("is enough to change the password", async () => {
    const account = await server.register()
    await server.sql("update users set password_hash = $1 where id = $2", [imported, account.id])
    having(204, await change(account.access_token, { current_password: password, new_password: goodPassword }))
    expect(await storedHash(account.id)).toMatch(current)
    having(200, await signIn(account.email, goodPassword))
  })
})

describe.each(bases)("POST %s/password", (base) => {
  it("R11 needs the current password", async () => {
    const account = await server.register()
    const missing = await change(account.access_token, { new_password: goodPassword }, base)
    expectProblem(missing, 422, "validation_failed")
    expect(pointersOf(missing)).toEqual(["/current_password"])
    const wrong = { current_password: `${account.password}x`, new_password: goodPassword }
    expectProblem(await change(account.access_token, wrong, base), 422, "wrong_password")
    expectProblem(await signIn(account.email, goodPassword), 401, "invalid_credentials")
    having(200, await signIn(account.email, account.password))
  })

  it("R11 ends every other session at once and keeps its own", async () => {
    const account = await server.register()
    const others = [account, await login(server, account), await login(server, account)]
    const own = await login(server, account)
    for (const tokens of [...others, own]) having(200, await me(server, tokens.access_token))
    const changed = await change(
      own.access_token,
      { current_password: account.password, new_password: goodPassword },
      base
    )
    expect(having(204, changed).text).toBe("")
    for (const tokens of others) await expectRevoked(server, tokens)
    await expectAlive(server, own)
    expectProblem(await signIn(account.email, account.password), 401, "invalid_credentials")
    having(200, await signIn(account.email, goodPassword))
  })

  it("R11 ends no session while the current password is wrong or the new one is refused", async () => {
    const account = await server.register()
    const other = await login(server, account)
    const { password: current_password } = account
    expectProblem(
      await change(account.access_token, { current_password: "wrong horse", new_password: goodPassword }, base),
      422,
      "wrong_password"
    )
    const short = await change(account.access_token, { current_password, new_password: "zq7!mK2" }, base)
    expectProblem(short, 422, "validation_failed")
    expect(short.json.errors).toHaveLength(1)
    expect(short.json.errors[0]).toMatchObject({ pointer: "/new_password", code: "password_too_short" })
    await expectAlive(server, other)
  })

  it("R11 leaves other users' sessions alone", async () => {
    const [account, stranger] = [await server.register(), await server.register()]
    const body = { current_password: account.password, new_password: goodPassword }
    having(204, await change(account.access_token, body, base))
    await expectAlive(server, stranger)
    having(200, await signIn(stranger.email, stranger.password))
  })

  it("refuses what it does not know", async () => {
    const body = { current_password: user.password, new_password: goodPassword }
    const unknown = await change(user.access_token, { ...body, password: goodPassword }, base)
    expectProblem(unknown, 422, "validation_failed")
    expect(pointersOf(unknown)).toEqual(["/password"])
    const both = await change(user.access_token, {}, base)
    expectProblem(both, 422, "validation_failed")
    expect(pointersOf(both)).toEqual(["/current_password", "/new_password"])
    const asked = { token: user.access_token, body }
    const query = await server.request("POST", `${base}/password?force=true`, asked)
    expectProblem(query, 422, "validation_failed")
    expect(pointersOf(query)).toEqual(["?force"])
    for (const raw of ["", "{"]) {
      const answer = await server.request("POST", `${base}/password`, { token: user.access_token, raw, headers: json })
      expectProblem(answer, 400, "malformed_body")
    }
    having(200, await signIn(user.email, user.password))
  })
})
