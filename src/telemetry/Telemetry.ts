/** What the process tells about itself: structured log lines on standard output, and what a collector is sent. */
import { Effect, Formatter, Layer, Logger, Redacted, References } from "effect"
import { Settings } from "../Settings.ts"
import { makeLogWriter } from "./LogWriter.ts"

/** One line. What circles or has big integers takes the way that looks at each member, at several times the cost. */
const toLine = (entry: unknown): string => {
  try {
    return JSON.stringify(entry)
  } catch {
    return Formatter.formatJson(entry)
  }
}

const json = Logger.layer([
  Effect.map(makeLogWriter, (write) => Logger.map(Logger.formatStructured, (entry) => write(toLine(entry))))
])

export const layer = Layer.unwrap(Effect.gen(function* () {
  const { logFormat, logLevel, otlpEndpoint } = yield* Settings
  // loaded by those who need it
  const collector = otlpEndpoint === undefined
    ? Layer.succeed(References.TracerEnabled, false)
    : (yield* Effect.promise(() => import("./Collector.ts"))).layer(Redacted.value(otlpEndpoint))
  return Layer.mergeAll(
    collector.pipe(Layer.provideMerge(logFormat === "pretty" ? Logger.layer([Logger.consolePretty()]) : json)),
    Layer.succeed(References.MinimumLogLevel, logLevel)
  )
}))
