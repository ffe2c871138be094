/** The side of the load's process that gives the orders. */
import { once } from "node:events"
import { createInterface } from "node:readline"
import { Effect } from "effect"
import { BenchFailed, runtime, start } from "./Children.ts"
import type { Order, Round } from "./load.ts"
import type { BenchUser } from "./Seed.ts"

/** Starts the process, and answers with what makes it run one round at a time. */
export const startLoader = Effect.fnUntraced(function* (users: ReadonlyArray<BenchUser>) {
  const child = yield* start(runtime("bench/load.ts"), { stdio: ["pipe", "pipe", "inherit"], env: {} })
  const { stdin, stdout } = child
  if (stdin === null || stdout === null) return yield* new BenchFailed({ message: "the load has no pipes" })
  // a write to a process that is gone is told by its exit
  stdin.on("error", () => {})
  const lines = createInterface({ input: stdout })
  const gone = once(child, "exit").then(() => Promise.reject(new Error("it has ended")))
  gone.catch(() => {})
  const send = (value: unknown) => stdin.write(`${JSON.stringify(value)}\n`)
  send(users)
  return (order: Order): Effect.Effect<Round, BenchFailed> =>
    Effect.tryPromise({
      try: async () => {
        const answer = Promise.race([once(lines, "line"), gone])
        send(order)
        const [line] = await answer
        return JSON.parse(line) as Round
      },
      catch: (error) => new BenchFailed({ message: `the load: ${String(error)}` })
    })
})
