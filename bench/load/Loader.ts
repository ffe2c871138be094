/** The side of the load's process that gives the orders. */
import { once } from "node:events"
import { createInterface } from "node:readline"
import { Effect } from "effect"
import { BenchFailed, node, start } from "../machine/Children.ts"
import type { BenchUser } from "../seed/Seed.ts"
import type { Order, Round } from "./Order.ts"

export interface Loader {
  /** From here on, these are the users whose requests are sent. */
  readonly use: (users: ReadonlyArray<BenchUser>) => void
  /** One order at a time. */
  readonly load: (order: Order) => Effect.Effect<Round, BenchFailed>
}

/** Starts the process; it ends with the scope. */
export const startLoader = Effect.gen(function* () {
  const child = yield* start([node, "bench/load/load.ts"], { stdio: ["pipe", "pipe", "inherit"], env: {} })
  const { stdin, stdout } = child
  if (stdin === null || stdout === null) return yield* new BenchFailed({ message: "the load has no pipes" })
  // a write to a process that is gone is told by its exit
  stdin.on("error", () => {})
  const lines = createInterface({ input: stdout })
  const gone = once(child, "exit").then(() => Promise.reject(new Error("it has ended")))
  gone.catch(() => {})
  const send = (value: unknown) => stdin.write(`${JSON.stringify(value)}\n`)
  return {
    use: send,
    load: (order) =>
      Effect.tryPromise({
        try: async () => {
          const answer = Promise.race([once(lines, "line"), gone])
          send(order)
          const [line] = await answer
          return JSON.parse(line) as Round
        },
        catch: (error) => new BenchFailed({ message: `the load: ${String(error)}` })
      })
  } satisfies Loader
})
