import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import * as Database from "./database/Database.ts"
import { migrate } from "./database/Migrations.ts"
import { teardown, withStartFaults } from "./Process.ts"
import { Settings } from "./Settings.ts"
import * as Telemetry from "./telemetry/Telemetry.ts"

/** Brings the database to this version's schema and ends. */
migrate.pipe(
  Effect.tap((applied) => Effect.logInfo("migrated").pipe(Effect.annotateLogs({ applied: applied.length }))),
  Effect.provide(Database.layer.pipe(Layer.provideMerge(Telemetry.layer), Layer.provideMerge(Settings.layer))),
  withStartFaults,
  NodeRuntime.runMain({ teardown, disableErrorReporting: true })
)
