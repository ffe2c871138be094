/** Commands beside the server, which do something to its database and end. */
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import type { SqlClient } from "effect/sql"
import * as Database from "./database/Database.ts"
import { teardown, withStartFaults } from "./Process.ts"
import { Settings } from "./Settings.ts"
import * as Telemetry from "./telemetry/Telemetry.ts"

export const runOnDatabase = <A, E>(command: Effect.Effect<A, E, SqlClient.SqlClient | Settings>) =>
  command.pipe(
    Effect.provide(Database.layer.pipe(Layer.provideMerge(Telemetry.layer), Layer.provideMerge(Settings.ofDatabase))),
    withStartFaults,
    NodeRuntime.runMain({ teardown, disableErrorReporting: true })
  )
