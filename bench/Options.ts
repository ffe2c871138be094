/** What a run can be told. */
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { BenchFailed } from "./Children.ts"
import { endpoints } from "./Endpoints.ts"

export interface Options {
  /** the length of a round */
  readonly seconds: number
  /** rounds of each endpoint that count; one of warming up goes before them */
  readonly rounds: number
  readonly connections: number
  /** tasks of each user before the first round */
  readonly tasks: number
  /** the names of the endpoints */
  readonly endpoints: ReadonlyArray<string>
  /** flags of the runtime for this server, for profiles and trials */
  readonly flags: ReadonlyArray<string>
  readonly json: boolean
}

const usage = `--seconds 5        length of a round
--rounds 5         rounds of each endpoint
--connections 100  requests under way at once
--tasks 1000       tasks of each of the 100 users
--endpoints ${endpoints.map(({ name }) => name).join(",")}
--flags=""         flags of the runtime for this server, such as --flags=--cpu-prof
--json             results for programs`

export const readOptions = (args: ReadonlyArray<string>): Effect.Effect<Options, BenchFailed> =>
  Effect.try({
    try: () => {
      const { values } = parseArgs({
        args: [...args],
        options: {
          seconds: { type: "string", default: "5" },
          rounds: { type: "string", default: "5" },
          connections: { type: "string", default: "100" },
          tasks: { type: "string", default: "1000" },
          endpoints: { type: "string", default: endpoints.map(({ name }) => name).join(",") },
          flags: { type: "string", default: "" },
          json: { type: "boolean", default: false }
        }
      })
      const positive = (name: "seconds" | "rounds" | "connections" | "tasks", minimum = 1): number => {
        const number = Number(values[name])
        if (Number.isInteger(number) && number >= minimum) return number
        throw new Error(`--${name} must be an integer from ${minimum}`)
      }
      const names = values.endpoints.split(",")
      const unknown = names.find((name) => !endpoints.some((endpoint) => endpoint.name === name))
      if (unknown !== undefined) throw new Error(`there is no endpoint ${unknown}`)
      return {
        seconds: positive("seconds"),
        rounds: positive("rounds"),
        connections: positive("connections"),
        // a page must be full, although some tasks are deleted
        tasks: positive("tasks", 25),
        endpoints: names,
        flags: values.flags.split(" ").filter((flag) => flag !== ""),
        json: values.json
      }
    },
    catch: (error) =>
      new BenchFailed({ message: `${error instanceof Error ? error.message : String(error)}\n${usage}` })
  })
