/** What a run can be told. */
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { endpoints } from "./load/Endpoints.ts"
import { BenchFailed } from "./machine/Children.ts"
import { targetNames } from "./targets/Targets.ts"

export const partNames = ["rounds", "memory", "growth", "flood"] as const
export type Part = typeof partNames[number]

export interface Options {
  readonly parts: ReadonlyArray<Part>
  /** rounds of each target and endpoint that count; one of warming up goes before them */
  readonly rounds: number
  /** the length of a round */
  readonly seconds: number
  readonly connections: number
  readonly endpoints: ReadonlyArray<string>
  readonly targets: ReadonlyArray<string>
  readonly users: number
  /** tasks of each user before the first round */
  readonly tasks: number
  readonly memorySeconds: number
  /** the steps of --growth */
  readonly sizes: ReadonlyArray<number>
  readonly crowds: ReadonlyArray<number>
  /** flags of Node for this server's bundle, for profiles and trials */
  readonly flags: ReadonlyArray<string>
  /** a folder with an assembled bundle of another state, measured beside this one */
  readonly before: string | undefined
  /** the file that keeps the results */
  readonly out: string | undefined
}

const defaults = {
  rounds: "5",
  seconds: "5",
  connections: "100",
  endpoints: endpoints.map(({ name }) => name).join(","),
  targets: targetNames.join(","),
  users: "100",
  tasks: "10000",
  "memory-seconds": "60",
  sizes: "1000,10000,100000,1000000",
  crowds: "100,1000,10000,100000",
  flags: "",
  before: "",
  out: ""
}

const usage = `What is measured: the rounds and the memory, unless these say otherwise
--memory               memory and start of this server, alone
--growth               what happens as one user's tasks and the number of users grow
--flood                logins in masses, timing of logins, hostile tokens, checks of tokens
--all                  everything
How:
--rounds 5             rounds of each target and endpoint, after one of warming up
--seconds 5            length of a round
--connections 100      requests under way at once
--endpoints ${defaults.endpoints}
--targets ${defaults.targets}
--users 100            users, who all are loaded
--tasks 10000          tasks of each of them
--memory-seconds 60    length of the load before memory is read
--sizes ${defaults.sizes}   tasks of one user, for --growth
--crowds ${defaults.crowds}     users, for --growth; --crowds= leaves them out
--flags=""             flags of Node for the bundle, such as --flags=--cpu-prof
--before folder        measures the bundle that scripts/assemble.sh put there, too, without flags
--out bench/RESULTS.md keeps the tables there, each part in place of its last one`

const flag = { type: "boolean", default: false } as const

const parse = (args: ReadonlyArray<string>): Options => {
  const option = (name: keyof typeof defaults) => ({ type: "string", default: defaults[name] } as const)
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: option("rounds"),
      seconds: option("seconds"),
      connections: option("connections"),
      endpoints: option("endpoints"),
      targets: option("targets"),
      users: option("users"),
      tasks: option("tasks"),
      "memory-seconds": option("memory-seconds"),
      sizes: option("sizes"),
      crowds: option("crowds"),
      flags: option("flags"),
      before: option("before"),
      out: option("out"),
      memory: flag,
      growth: flag,
      flood: flag,
      all: flag,
      help: flag
    }
  })
  if (values.help) throw new Error("deno task bench, or npm run bench --")
  const whole = (name: string, value: string, minimum: number): number => {
    const number = Number(value)
    if (Number.isInteger(number) && number >= minimum) return number
    throw new Error(`--${name} must be made of integers from ${minimum}`)
  }
  const number = (name: keyof typeof defaults, minimum = 1) => whole(name, values[name], minimum)
  const numbers = (name: keyof typeof defaults, minimum: number) =>
    values[name].split(",").map((value) => whole(name, value, minimum))
  const names = (name: "endpoints" | "targets", known: ReadonlyArray<string>) => {
    const given = values[name].split(",")
    const unknown = given.find((it) => !known.includes(it))
    if (unknown !== undefined) throw new Error(`--${name}: there is no ${unknown}, but ${known.join(", ")}`)
    return given
  }
  const chosen = partNames.filter((part) => values.all || part !== "rounds" && values[part])
  return {
    parts: chosen.length > 0 ? chosen : ["rounds", "memory"],
    rounds: number("rounds"),
    seconds: number("seconds"),
    connections: number("connections"),
    endpoints: names("endpoints", endpoints.map(({ name }) => name)),
    targets: names("targets", targetNames),
    users: number("users"),
    // a page must be full, although some tasks are deleted
    tasks: number("tasks", 25),
    memorySeconds: number("memory-seconds"),
    sizes: numbers("sizes", 50),
    crowds: values.crowds === "" ? [] : numbers("crowds", loadedOfCrowd),
    flags: values.flags.split(" ").filter((it) => it !== ""),
    before: values.before === "" ? undefined : values.before,
    out: values.out === "" ? undefined : values.out
  }
}

/** Of many users, as many are loaded. */
export const loadedOfCrowd = 20

export const readOptions = (args: ReadonlyArray<string>): Effect.Effect<Options, BenchFailed> =>
  Effect.try({
    try: () => parse(args),
    catch: (error) =>
      new BenchFailed({ message: `${error instanceof Error ? error.message : String(error)}\n${usage}` })
  })
