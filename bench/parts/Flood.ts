/** What of security is about time: reads beside floods of logins, failed logins, hostile tokens. */
import { Effect } from "effect"
import { password } from "../load/Endpoints.ts"
import type { Loader } from "../load/Loader.ts"
import type { Stream } from "../load/Order.ts"
import { BenchFailed } from "../machine/Children.ts"
import { figure, type Section, table } from "../Report.ts"
import { progress, type Run } from "../Run.ts"
import type { BenchUser } from "../seed/Seed.ts"
import type { Server } from "../targets/Servers.ts"
import { hostileTokens } from "./HostileTokens.ts"
import { loginTiming } from "./LoginTiming.ts"
import { tokenChecks } from "./TokenChecks.ts"

const concurrentLogins = 200
const reads: Stream = { endpoints: ["list"], connections: 50, perSecond: 50 }
const logins: Stream = { endpoints: ["login"], connections: concurrentLogins, takesAnyStatus: true }

/** Reads at fixed instants, without and beside floods of logins. */
const flood = Effect.fnUntraced(function* (run: Run, loader: Loader, server: Server) {
  const kinds: ReadonlyArray<readonly [string, ReadonlyArray<Stream>]> = [
    ["no logins", [reads]],
    ["200 who wait as Retry-After says", [reads, { ...logins, isPatient: true }]],
    ["200 who ask again at once", [reads, logins]]
  ]
  const rows: Array<ReadonlyArray<string>> = []
  for (const [kind, streams] of kinds) {
    yield* progress(`reads beside ${kind}`)
    const round = yield* loader.load({
      port: server.port,
      seconds: run.options.seconds,
      streams,
      serverPid: server.pid,
      databasePid: run.cluster.pid
    })
    const [read, login] = round.streams
    if (read === undefined) return yield* new BenchFailed({ message: "no reads were made" })
    const statuses = Object.entries(login?.statuses ?? {}).map(([status, count]) => `${count} × ${status}`).join(", ")
    rows.push([
      kind,
      String(read.requests),
      figure(read.p50),
      figure(read.p95),
      figure(read.p99),
      figure(read.max),
      String(read.errors),
      login === undefined ? "" : statuses,
      login === undefined ? "" : String(login.withoutRetryAfter),
      login === undefined ? "" : `${figure(login.p50)} / ${figure(login.max)}`,
      login === undefined ? "" : `${login.errors}${login.firstError === undefined ? "" : ` (${login.firstError})`}`
    ])
  }
  return [
    `### ${concurrentLogins} concurrent logins beside 50 reads a second, for ${run.options.seconds} s`,
    "",
    "A page of 20 tasks at fixed instants, its latency counted from there; aimed at: p99 below 100 ms.",
    "",
    ...table([
      [
        "logins",
        "reads",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "max ms",
        "failed reads",
        "statuses of logins",
        "503 without Retry-After",
        "login p50 / max ms",
        "sockets that failed"
      ],
      ...rows
    ])
  ]
})

export const floodSection = Effect.fnUntraced(function* (
  run: Run,
  loader: Loader,
  server: Server,
  users: ReadonlyArray<BenchUser>,
  databaseUrl: string
) {
  const first = users[0]
  if (first === undefined) return yield* new BenchFailed({ message: "there are no users" })
  yield* progress("the time of logins that fail")
  const timing = yield* loginTiming(server, users.map(({ loginEmail }) => loginEmail), password)
  yield* progress("hostile tokens")
  const tokens = yield* hostileTokens(server)
  yield* progress("the check of access tokens")
  const checks = yield* tokenChecks(run.on(databaseUrl), users)
  const floods = yield* flood(run, loader, server)
  return {
    title: "Flood, hostile requests, tokens",
    lines: [...floods, "", ...timing, "", ...tokens, "", ...checks]
  } satisfies Section
})
