import "effect/schema/SchemaJITCompiler/enable"
import { NodeRuntime } from "@effect/platform-node"
import { Layer } from "effect"
import * as Database from "./database/Database.ts"
import { teardown, withStartFaults } from "./Process.ts"
import * as Server from "./Server.ts"
import { Settings } from "./Settings.ts"
import * as Telemetry from "./telemetry/Telemetry.ts"

/** The process: serves until it is told to stop. */
Server.layer.pipe(
  Layer.provide(Database.layer),
  Layer.provide(Telemetry.layer),
  Layer.provide(Settings.layer),
  Layer.launch,
  withStartFaults,
  NodeRuntime.runMain({ teardown, disableErrorReporting: true })
)
