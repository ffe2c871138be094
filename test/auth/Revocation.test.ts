/** A session's end is noticed by every instance, although none asks the database at each request. */
import { setTimeout as pause } from "node:timers/promises"
import { expect, it } from "vitest"
import { type Account, type TestServer, useServers } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"

const [one, other] = useServers(2)

const ask = (server: TestServer, { access_token }: Pick<Account, "access_token">) =>
  server.request("GET", "/api/v1/auth/me", { token: access_token })

/** An account that this instance has just seen alive. */
const seenBy = async (server: TestServer) => {
  const account = await one.register()
  having(200, await ask(server, account))
  having(200, await ask(server, account))
  return account
}

const ends: ReadonlyArray<readonly [how: string, end: (account: Account) => Promise<unknown>]> = [
  ["logout", ({ access_token }) => one.request("POST", "/api/v1/auth/logout", { token: access_token })],
  [
    "the deletion of the account",
    ({ access_token, password }) =>
      one.request("DELETE", "/api/v1/auth/me", { token: access_token, body: { password } })
  ],
  [
    "logout everywhere by another session",
    async ({ email, password }) => {
      const { json } = await one.request("POST", "/api/v1/auth/login", { body: { email, password } })
      await one.request("POST", "/api/v1/auth/logout?scope=global", { token: json.access_token })
    }
  ]
]

it.each(ends)("R37 %s is noticed by the instance that did it with the very next request", async (_, end) => {
  for (let round = 0; round < 5; round++) {
    const account = await seenBy(one)
    await end(account)
    expect((await ask(one, account)).status).toBe(401)
  }
})

it.each(ends)("R38 %s is noticed by another instance within a second", async (_, end) => {
  const account = await seenBy(other)
  await end(account)
  const begin = performance.now()
  while ((await ask(other, account)).status !== 401 && performance.now() - begin < 5_000) await pause(10)
  expect(performance.now() - begin).toBeLessThan(1_000)
})

it("R38 an end that no instance was told of is noticed within a second, too", async () => {
  const account = await seenBy(one)
  // past the server, as an operator would
  await one.sql("update sessions set revoked_at = now(), revoked_reason = 'revoked_by_user' where user_id = $1", [
    account.id
  ])
  await pause(1_050)
  expect((await ask(one, account)).json.code).toBe("session_revoked")
})

it("R38 requests that race with the end of their session leave nothing behind that lets later ones through", async () => {
  for (let round = 0; round < 10; round++) {
    const account = await one.register()
    const racing = Array.from({ length: 10 }, () => ask(one, account))
    having(204, await one.request("POST", "/api/v1/auth/logout", { token: account.access_token }))
    expect((await ask(one, account)).status).toBe(401)
    await Promise.all(racing)
    expect((await ask(one, account)).status).toBe(401)
  }
})

it("R45 a session that reaches its end is not trusted beyond it", async () => {
  const account = await one.register()
  await one.sql("update sessions set expires_at = now() + interval '400 milliseconds' where user_id = $1", [account.id])
  having(200, await ask(one, account))
  await pause(420)
  expect((await ask(one, account)).json.code).toBe("session_expired")
})
