/** Limits of the real program in production, with several processes that share them. */
import { randomBytes } from "node:crypto"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { newEmail } from "../auth/accounts.ts"
import { send } from "../http/exchange.ts"
import { emptyPlace, launch, patience, useFinished } from "../operation/program.ts"
import { testDatabaseUrl } from "../operation/postgres.ts"
import { hasRedis, startRedis, type TestRedis } from "../support/Redis.ts"
import { expectLoginLimited, statuses, times, wrongPassword } from "./clients.ts"

const atTheEnd = useFinished()

// several processes need a database that they can share
describe.skipIf(!hasRedis || testDatabaseUrl === undefined)("WORKERS with REDIS_URL in production", () => {
  let redis: TestRedis
  let url = ""
  beforeAll(async () => {
    redis = await startRedis()
    const program = launch("src/main.ts", {
      ...await emptyPlace(atTheEnd),
      APP_ENV: "production",
      JWT_SECRET: randomBytes(32).toString("hex"),
      REQUIRE_HTTPS: "false",
      PORT: "0",
      REDIS_URL: redis.url,
      WORKERS: "2"
    }, atTheEnd)
    const listening = () => program.lines().filter(({ message }) => message === "listening")
    while (listening().length < 2) {
      await program.logged("supervising")
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    url = String(listening()[0]?.annotations["address"])
  }, patience)
  afterAll(() => redis.stop())

  // on a machine that is busy for half a second Redis seems to be away, and each process counts for itself
  it("count together", { retry: 3 }, async () => {
    const email = newEmail()
    const ask = () =>
      send({ url }, "POST", "/api/v1/auth/login", {
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ email, password: wrongPassword })
      })
    // each on a connection of its own, so that both processes get some
    expect(statuses(await times(10, ask))).toEqual(Array.from({ length: 10 }, () => 401))
    for (const answer of await times(10, ask)) expectLoginLimited(answer)
  })
})
