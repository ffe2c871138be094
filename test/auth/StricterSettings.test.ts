/** A server whose operator allows less than the defaults do. */
import { hashSync } from "@node-rs/bcrypt"
import { expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { useServer } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import { bases, expectRevoked, goodPassword, login, newEmail, refresh } from "./accounts.ts"

const server = useServer({ PASSWORD_MIN_LENGTH: "15", REFRESH_TOKEN_GRACE: "0 seconds" })

const fourteen = "zq7!mK2v🐙🌋🧲🪁🦉🚲"
const fifteen = `${fourteen}🍄`

it("R1 asks for as many code points as PASSWORD_MIN_LENGTH says, wherever a password is set", async () => {
  expect([...fourteen]).toHaveLength(14)
  const { access_token, password } = await server.register({ password: goodPassword })
  for (const base of bases) {
    const set = [
      ["register", "/password", { email: newEmail(), password: fourteen }],
      ["signup", "/password", { email: newEmail(), password: fourteen }],
      ["password", "/new_password", { current_password: password, new_password: fourteen }]
    ] as const
    for (const [path, pointer, body] of set) {
      const answer = await server.request("POST", `${base}/${path}`, { token: access_token, body })
      expectProblem(answer, 422, "validation_failed")
      expect(answer.json.errors).toHaveLength(1)
      expect(answer.json.errors[0]).toMatchObject({ pointer, code: "password_too_short" })
    }
    const body = { email: newEmail(), password: fifteen }
    having(201, await server.request("POST", `${base}/register`, { body }))
    having(200, await server.request("POST", `${base}/login`, { body }))
  }
})

it("R1 does not ask for more of a password that was set before", async () => {
  const account = await server.register()
  const hash = hashSync("eight 8!", { cost: 4 })
  await server.sql("update users set password_hash = $1 where id = $2", [hash, account.id])
  for (let count = 0; count < 2; count++) await login(server, { ...account, password: "eight 8!" })
})

it("R39 a refresh token has no second use where there is no grace", async () => {
  const account = await server.register()
  const next = having(200, await refresh(server, account.refresh_token)).json
  expectProblem(await refresh(server, account.refresh_token), 401, "refresh_token_reused")
  await expectRevoked(server, next)
})

it("R40 R44 fifty uses at once end the session where there is no grace, and no answer to them works", async () => {
  const account = await server.register()
  const answers = await Promise.all(Array.from({ length: 50 }, () => refresh(server, account.refresh_token)))
  for (const answer of answers) {
    if (answer.status === 200) await expectRevoked(server, answer.json)
    else expect(["refresh_token_reused", "session_revoked"]).toContain(answer.json.code)
  }
  expect(answers.map(({ json }) => json.code)).toContain("refresh_token_reused")
})
