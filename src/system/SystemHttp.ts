/** The handlers of the system endpoints. */
import { timingSafeEqual } from "node:crypto"
import { Effect, Redacted } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { PrometheusMetrics } from "effect/observability"
import { SqlClient } from "effect/sql"
import { Api } from "../api/Api.ts"
import { problemCatalog } from "../api/ProblemCatalog.ts"
import { DatabaseUnavailable, NotFound, Overloaded, TokenInvalid, TokenMissing } from "../api/Problems.ts"
import { Keys } from "../auth/Keys.ts"
import { Draining } from "../http/Draining.ts"
import { within } from "../http/Within.ts"
import { Settings } from "../Settings.ts"

/** Milliseconds until readiness is answered: shorter than any load balancer's patience. */
const patience = 2_000

const ok = { status: "ok" } as const

const isEqual = (sent: string, expected: string) => {
  const [a, b] = [Buffer.from(sent), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}

export const layer = HttpApiBuilder.group(
  Api,
  "system",
  Effect.fnUntraced(function* (group) {
    const settings = yield* Settings
    const draining = yield* Draining
    const { accessTokens } = yield* Keys
    const sql = yield* SqlClient.SqlClient

    const unavailable = Effect.fail(new DatabaseUnavailable())
    const ready = () =>
      draining.started.isOpen()
        ? Effect.fail(new Overloaded({ detail: "The server is stopping." }))
        : Effect.catchCause(within(patience, Effect.as(sql`select 1`, ok), unavailable), () => unavailable)

    return group.handleAll({
      live: () => Effect.succeed(ok),
      ready,
      health: ready,
      problem: ({ params: { code } }) =>
        Object.hasOwn(problemCatalog, code)
          ? Effect.succeed({ type: `/problems/${code}`, code, ...problemCatalog[code as keyof typeof problemCatalog] })
          : Effect.fail(new NotFound()),
      metrics: Effect.fnUntraced(function* ({ headers }) {
        const expected = settings.metricsToken
        if (expected === undefined && settings.production) return yield* new NotFound()
        if (expected !== undefined && headers.authorization === undefined) return yield* new TokenMissing()
        if (expected !== undefined && !isEqual(headers.authorization ?? "", `Bearer ${Redacted.value(expected)}`)) {
          return yield* new TokenInvalid({ detail: "METRICS_TOKEN is required as bearer." })
        }
        return yield* PrometheusMetrics.format()
      }),
      jwks: () => Effect.succeed({ keys: accessTokens.published })
    })
  })
)
