/** How long the check of an access token takes, as every request makes it: in this process, against the same database. */
import { performance } from "node:perf_hooks"
import { Effect, Layer } from "effect"
import { AccessTokens } from "../../src/auth/AccessTokens.ts"
import { ExternalSessions } from "../../src/auth/ExternalSessions.ts"
import { IdentitiesRepo } from "../../src/auth/IdentitiesRepo.ts"
import { Issuers } from "../../src/auth/Issuers.ts"
import { Keys } from "../../src/auth/Keys.ts"
import { LiveSessions } from "../../src/auth/LiveSessions.ts"
import { RefreshTokens } from "../../src/auth/RefreshTokens.ts"
import { Sessions } from "../../src/auth/Sessions.ts"
import { SessionsRepo } from "../../src/auth/SessionsRepo.ts"
import { WakeUps } from "../../src/changes/WakeUps.ts"
import * as Database from "../../src/database/Database.ts"
import { Limits } from "../../src/limits/Limits.ts"
import { read, Settings } from "../../src/Settings.ts"
import { percentile } from "../load/Statistics.ts"
import { BenchFailed } from "../machine/Children.ts"
import { figure, table } from "../Report.ts"
import type { Environment } from "../targets/Servers.ts"
import type { BenchUser } from "../seed/Seed.ts"

const rounds = 10
/** Longer than a session is trusted without asking for it. */
const pause = "1100 millis"

const services = ({ databaseUrl, jwtSecret }: Environment) => {
  const environment = { DATABASE_URL: databaseUrl, JWT_SECRET: jwtSecret, NODE_ENV: "development", LOG_LEVEL: "error" }
  return Sessions.layer.pipe(
    Layer.provide(ExternalSessions.layer),
    Layer.provide([
      SessionsRepo.layer,
      IdentitiesRepo.layer,
      LiveSessions.layer,
      AccessTokens.layer,
      RefreshTokens.layer
    ]),
    Layer.provide(Issuers.layer),
    Layer.provide(Limits.layer),
    Layer.provide([Keys.layer, WakeUps.layer]),
    Layer.provide(Database.layer),
    Layer.provide(Layer.effect(Settings, read(environment)))
  )
}

/** Tokens never seen; tokens seen, of sessions that have to be asked for; tokens seen, of sessions just asked for. */
const times = Effect.fnUntraced(function* (tokens: ReadonlyArray<string>) {
  const sessions = yield* Sessions
  const check = Effect.forEach(tokens, (token) =>
    Effect.suspend(() => {
      const begin = performance.now()
      return Effect.map(sessions.authenticate(token), () => performance.now() - begin)
    }))
  const first = yield* check
  const asked: Array<number> = []
  const trusted: Array<number> = []
  for (let round = 0; round < rounds; round++) {
    yield* Effect.sleep(pause)
    asked.push(...yield* check)
    trusted.push(...yield* check)
  }
  return { first, asked, trusted }
})

export const tokenChecks = Effect.fnUntraced(function* (environment: Environment, users: ReadonlyArray<BenchUser>) {
  const tokens = users.flatMap((user) => user.tokens)
  const { asked, first, trusted } = yield* times(tokens).pipe(
    Effect.provide(services(environment)),
    Effect.mapError((error) => new BenchFailed({ message: `a token was refused: ${String(error)}` }))
  )
  const row = (what: string, millis: ReadonlyArray<number>) => [
    what,
    String(millis.length),
    ...[0.5, 0.99, 1].map((share) => figure(percentile(millis, share)))
  ]
  return [
    "### The check of an access token, one after another",
    "",
    "In the benchmark's own process, on the same database; aimed at: p99 of at most 1 ms, with the check of the session.",
    "",
    ...table([
      ["the token", "checks", "p50 ms", "p99 ms", "max ms"],
      row("never seen before", first),
      row("seen before, its session asked for", asked),
      row("seen before, its session asked for within the last second", trusted)
    ])
  ]
})
