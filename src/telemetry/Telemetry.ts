/** What the process tells about itself: structured log lines on standard output. */
import { Effect, Layer, Logger, References } from "effect"
import { Settings } from "../Settings.ts"

export const layer = Layer.unwrap(Effect.map(Settings, ({ logFormat, logLevel }) =>
  Layer.mergeAll(
    Logger.layer([logFormat === "pretty" ? Logger.consolePretty() : Logger.consoleJson]),
    Layer.succeed(References.MinimumLogLevel, logLevel)
  )))
