/** What the process tells about itself: structured log lines on standard output, and what a collector is sent. */
import { Console } from "node:console"
import process from "node:process"
import { Writable } from "node:stream"
import { Console as EffectConsole, Effect, Formatter, Layer, Logger, Redacted, References } from "effect"
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

/** What is for people is written to a console: to one that passes its lines on, as those of JSON are written. */
const pretty = Layer.effect(
  EffectConsole.Console,
  Effect.map(makeLogWriter, (write) => {
    const stdout = new Writable({
      decodeStrings: false,
      write(text: string, _encoding, done) {
        write(text.replace(/\n$/, ""))
        done()
      }
    })
    return new Console({ stdout, colorMode: process.stdout.isTTY })
  })
).pipe(Layer.merge(Logger.layer([Logger.consolePretty()])))

export const layer = Layer.unwrap(Effect.gen(function* () {
  const { logFormat, logLevel, otlpEndpoint } = yield* Settings
  // loaded by those who need it
  const collector = otlpEndpoint === undefined
    ? Layer.succeed(References.TracerEnabled, false)
    : (yield* Effect.promise(() => import("./Collector.ts"))).layer(Redacted.value(otlpEndpoint))
  return Layer.mergeAll(
    collector.pipe(Layer.provideMerge(logFormat === "pretty" ? pretty : json)),
    Layer.succeed(References.MinimumLogLevel, logLevel)
  )
}))
