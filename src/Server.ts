/** Everything that is served, as one layer. What differs between processes (settings, database, log) is provided. */
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "./api/Api.ts"
import { AccessTokens } from "./auth/AccessTokens.ts"
import { Accounts } from "./auth/Accounts.ts"
import * as AuthHttp from "./auth/AuthHttp.ts"
import * as AuthorizationLayer from "./auth/AuthorizationLayer.ts"
import { Exports } from "./auth/Exports.ts"
import { ExternalSessions } from "./auth/ExternalSessions.ts"
import { IdentitiesRepo } from "./auth/IdentitiesRepo.ts"
import { Issuers } from "./auth/Issuers.ts"
import { Keys } from "./auth/Keys.ts"
import { LiveSessions } from "./auth/LiveSessions.ts"
import * as OAuthLayer from "./auth/OAuthLayer.ts"
import { Passwords } from "./auth/Passwords.ts"
import { RefreshTokens } from "./auth/RefreshTokens.ts"
import { Sessions } from "./auth/Sessions.ts"
import { SessionsRepo } from "./auth/SessionsRepo.ts"
import { UsersRepo } from "./auth/UsersRepo.ts"
import { Changes } from "./changes/Changes.ts"
import * as ChangesHttp from "./changes/ChangesHttp.ts"
import { ChangesRepo } from "./changes/ChangesRepo.ts"
import { WakeUps } from "./changes/WakeUps.ts"
import { Writes } from "./changes/Writes.ts"
import * as Migrations from "./database/Migrations.ts"
import * as AllowedMethods from "./http/AllowedMethods.ts"
import { Cursors } from "./http/Cursors.ts"
import { drainFirst, Draining } from "./http/Draining.ts"
import * as Edge from "./http/Edge.ts"
import * as IdempotencyLayer from "./http/IdempotencyLayer.ts"
import * as NodeServer from "./http/NodeServer.ts"
import * as RequestsLayer from "./http/RequestsLayer.ts"
import { Limits } from "./limits/Limits.ts"
import * as LimitsLayer from "./limits/LimitsLayer.ts"
import * as Pages from "./system/Pages.ts"
import * as SystemHttp from "./system/SystemHttp.ts"
import * as TasksHttp from "./tasks/TasksHttp.ts"
import { DatedWrites } from "./tasks/DatedWrites.ts"
import { DatesRepo } from "./tasks/DatesRepo.ts"
import { Reminders } from "./tasks/Reminders.ts"
import { Statistics } from "./tasks/Statistics.ts"
import { TaskBatches } from "./tasks/TaskBatches.ts"
import { TaskOccurrences } from "./tasks/TaskOccurrences.ts"
import { Tasks } from "./tasks/Tasks.ts"
import { TasksRepo } from "./tasks/TasksRepo.ts"
import { TaskWrites } from "./tasks/TaskWrites.ts"
import * as Workers from "./workers/Workers.ts"

const auth = Layer.mergeAll(Accounts.layer, Exports.layer).pipe(
  Layer.provideMerge(Sessions.layer),
  Layer.provideMerge(ExternalSessions.layer),
  Layer.provideMerge([
    UsersRepo.layer,
    SessionsRepo.layer,
    IdentitiesRepo.layer,
    LiveSessions.layer,
    AccessTokens.layer.pipe(Layer.provide(Issuers.layer)),
    RefreshTokens.layer,
    Passwords.layer
  ])
)

const dated = DatedWrites.layer.pipe(
  Layer.provideMerge([TasksRepo.layer, DatesRepo.layer]),
  Layer.provide(Writes.layer)
)

const tasks = Layer.mergeAll(Tasks.layer, TaskBatches.layer, Statistics.layer, TaskOccurrences.layer, Reminders.layer)
  .pipe(
    Layer.provide(TaskWrites.layer)
  )

const workers = Workers.layer.pipe(
  Layer.provideMerge(Reminders.layer),
  Layer.provide(dated),
  Layer.provide(WakeUps.layer)
)

const changes = Changes.layer.pipe(Layer.provide(ChangesRepo.layer))

const endpoints = HttpApiBuilder.layer(Api).pipe(
  Layer.provide([AuthHttp.layer, TasksHttp.layer, ChangesHttp.layer, SystemHttp.layer]),
  Layer.provide([AuthorizationLayer.layer, OAuthLayer.layer, IdempotencyLayer.layer]),
  Layer.provide([LimitsLayer.layer, RequestsLayer.layer]),
  Layer.provide([tasks, changes]),
  Layer.provide(auth),
  Layer.provide(dated),
  Layer.provide([Cursors.layer, Limits.layer]),
  Layer.provide([Keys.layer, WakeUps.layer])
)

const routes = Layer.mergeAll(endpoints, Pages.layer, AllowedMethods.layer).pipe(Layer.provide(Edge.layer))

const listening = Layer.effectDiscard(Effect.gen(function* () {
  const { address } = yield* HttpServer.HttpServer
  yield* Effect.logInfo("listening").pipe(Effect.annotateLogs({ address: HttpServer.formatAddress(address) }))
}))

/** The server, listening once the database has the schema that it needs, and draining before it stops. */
export const layer = Layer.mergeAll(drainFirst, listening).pipe(
  Layer.provide(HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true })),
  Layer.provideMerge(NodeServer.layer),
  Layer.provideMerge(workers),
  Layer.provide(Migrations.layer),
  Layer.provide(Draining.layer)
)
