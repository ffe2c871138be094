/** What the process tells about itself: structured log lines on standard output. */
import { Effect, Layer, Logger, References } from "effect"
import { Settings } from "../Settings.ts"
import { makeLogWriter } from "./LogWriter.ts"

const json = Logger.layer([
  Effect.map(makeLogWriter, (write) => Logger.map(Logger.formatJson, write))
])

export const layer = Layer.unwrap(Effect.map(Settings, ({ logFormat, logLevel }) =>
  Layer.mergeAll(
    logFormat === "pretty" ? Logger.layer([Logger.consolePretty()]) : json,
    Layer.succeed(References.MinimumLogLevel, logLevel),
    // nobody receives spans
    Layer.succeed(References.TracerEnabled, false)
  )))
