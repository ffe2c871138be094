/** How a process of this program ends, and what it says when it can't start. */
import process from "node:process"
import { Cause, Effect, Exit, type Runtime } from "effect"

/** Failures whose message is for whoever starts the process. */
const expected = new Set(["InvalidSettings", "DataDirInUse", "DataDirUnusable", "DatabaseRefused", "WorkerEnded"])

/** What went wrong, in lines for whoever started the process; a stack only where nobody foresaw it. */
const explain = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  if (typeof error === "object" && error !== null && "_tag" in error) {
    if (error instanceof Error && expected.has(String(error._tag))) return error.message
    if (error._tag === "ServeError") return "HOST, PORT: can't be listened on; is another server running there?"
  }
  return Cause.pretty(cause)
}

/** Writes the reason of a failure to standard error, one line for each fault. */
export const withStartFaults = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.tapCause(effect, (cause) =>
    Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.sync(() => {
      process.stderr.write(`${explain(cause)}\n`)
    }))

/** Being told to stop is no failure: SIGTERM and SIGINT end with 0. */
export const teardown: Runtime.Teardown = (exit, onExit) =>
  onExit(Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause) ? 0 : 1)
