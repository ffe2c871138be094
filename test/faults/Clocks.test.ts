/** The clock of one of two instances is wrong. */
import { randomBytes } from "node:crypto"
import { beforeAll, describe, expect, it } from "vitest"
import { emptyDatabase, type TestDatabase, testDatabaseUrl } from "../operation/postgres.ts"
import { emptyDirectory, patience, type Program, start, useFinished } from "../operation/program.ts"
import { expectProblem } from "../support/expect.ts"
import { having } from "../tasks/families.ts"
import { pause, settled } from "./process.ts"
import { isFull } from "./sizes.ts"

const atTheEnd = useFinished()

/** Runs before the program: its clock is wrong by so much, and by an hour less after SIGUSR2. */
const wrongBy = (seconds: number) => {
  const script = `
    let wrong = ${seconds * 1_000}
    process.on("SIGUSR2", () => { wrong -= 3_600_000 })
    const Right = Date, now = Right.now
    globalThis.Date = class extends Right {
      constructor(...of) { of.length === 0 ? super(now() + wrong) : super(...of) }
      static now() { return now() + wrong }
    }`
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}` }
}

describe.skipIf(testDatabaseUrl === undefined || "Deno" in globalThis)(
  "with a PostgreSQL server (TEST_DATABASE_URL) on Node, which lets a clock be set",
  () => {
    let db: TestDatabase
    let right: Program
    const secret = randomBytes(32).toString("hex")
    const boot = (env: Record<string, string>) =>
      start(
        {
          DATABASE_URL: db.url,
          DATABASE_POOL_SIZE: "4",
          DATA_DIR: emptyDirectory(atTheEnd),
          JWT_SECRET: secret,
          ...env
        },
        atTheEnd
      )
    const me = (instance: Program, token: string) => instance.request("GET", "/api/v1/auth/me", { token })
    const refresh = (instance: Program, refresh_token: string) =>
      instance.request("POST", "/api/v1/auth/refresh", { body: { refresh_token } })

    /** Whether its last line says so. */
    const isWrongBy = ({ lines }: Program, seconds: number) =>
      Math.abs(Date.parse(lines().at(-1)!.timestamp) - Date.now() - seconds * 1_000) < 2_500

    beforeAll(async () => {
      db = await emptyDatabase(atTheEnd)
      right = await boot({})
    }, patience)

    it.each(isFull ? [4, -4] : [4])("F15 by %i s, within the leeway: nobody notices", async (seconds) => {
      const wrong = await boot(wrongBy(seconds))
      for (const [one, other] of [[right, wrong], [wrong, right]] as const) {
        const account = await one.register()
        having(200, await me(other, account.access_token))
        const next = having(200, await refresh(other, account.refresh_token)).json
        having(200, await me(one, next.access_token))
      }
    }, patience)

    it.each(isFull ? [30, -30, 600, -600] : [600, -600])(
      "F15 by %i s: sessions, their grace and their ends go by the database's clock",
      async (seconds) => {
        const wrong = await boot(wrongBy(seconds))
        expect(isWrongBy(wrong, seconds)).toBe(true)
        const account = await right.register()
        const next = having(200, await refresh(right, account.refresh_token)).json
        // a retry within the grace, on the instance for which that was over long ago, or is yet to come
        expect(having(200, await refresh(wrong, account.refresh_token)).json.refresh_token).toBe(next.refresh_token)
        const last = having(200, await refresh(wrong, next.refresh_token)).json
        having(200, await me(wrong, last.access_token))
        await db.sql("update sessions set rotated_at = rotated_at - interval '31 seconds' where user_id = $1", [
          account.id
        ])
        expectProblem(await refresh(wrong, next.refresh_token), 401, "refresh_token_reused")
        // no session is made that is over, or that never ends
        const mine = await wrong.register()
        const [session] = await db.sql<{ days: number }>(
          "select extract(epoch from expires_at - now()) / 86400 as days from sessions where user_id = $1",
          [mine.id]
        )
        expect(Math.round(Number(session?.days))).toBe(30)
      },
      patience
    )

    it("F15 that jumps back by an hour: limits end when they would have", async () => {
      const jumping = await boot({ ...wrongBy(0), RATE_LIMITS: "on" })
      const account = await jumping.register()
      let token = account.refresh_token
      for (let turn = 0; turn < 30; turn++) token = having(200, await refresh(jumping, token)).json.refresh_token
      expectProblem(await refresh(jumping, token), 429, "rate_limited")
      jumping.kill("SIGUSR2")
      await pause(300)
      const limited = await refresh(jumping, token)
      expectProblem(limited, 429, "rate_limited")
      expect(Number(limited.headers.get("retry-after"))).toBeLessThanOrEqual(60)
      await settled(() => isWrongBy(jumping, -3_600), 5_000)
      // one that was not limited is not now
      having(200, await me(right, account.access_token))
    }, patience)
  }
)
