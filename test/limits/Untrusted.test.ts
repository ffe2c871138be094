/** Limits without a trusted proxy. */
import { expect, it } from "vitest"
import { newEmail } from "../auth/accounts.ts"
import { send } from "../http/exchange.ts"
import { useServer } from "../support/TestServer.ts"
import { expectLoginLimited, newAddress, statuses, times, wrongPassword } from "./clients.ts"

const server = useServer({ RATE_LIMITS: "on" })

it("R16 no header changes who is limited", async () => {
  const body = JSON.stringify({ email: newEmail(), password: wrongPassword })
  const names = ["x-forwarded-for", "x-real-ip", "cf-connecting-ip", "true-client-ip", "x-client-ip", "forwarded"]
  const ask = () =>
    send(server, "POST", "/api/v1/auth/login", {
      headers: {
        "content-type": "application/json",
        ...Object.fromEntries(
          names.map((name) => [name, name === "forwarded" ? `for=${newAddress()}` : newAddress()])
        )
      },
      body
    })
  expect(statuses(await times(10, ask))).toEqual(Array.from({ length: 10 }, () => 401))
  for (const answer of await times(5, ask)) expectLoginLimited(answer)
})
