import "effect/schema/SchemaJITCompiler/enable"
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import * as Database from "./database/Database.ts"
import { teardown, withStartFaults } from "./Process.ts"
import * as Server from "./Server.ts"
import { Settings } from "./Settings.ts"
import { endWithSupervisor, isWorker, supervise } from "./Supervisor.ts"
import * as Telemetry from "./telemetry/Telemetry.ts"

const serve = Layer.launch(Layer.merge(Server.layer, endWithSupervisor).pipe(Layer.provide(Database.layer)))

/** The process: serves until it is told to stop, or keeps several that do. */
Effect.gen(function* () {
  const { workers } = yield* Settings
  return yield* workers > 1 && !isWorker ? supervise : serve
}).pipe(
  Effect.provide(Telemetry.layer.pipe(Layer.provideMerge(Settings.layer))),
  withStartFaults,
  NodeRuntime.runMain({ teardown, disableErrorReporting: true })
)
