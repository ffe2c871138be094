/** The tables of the rounds. */
import type { StreamResult } from "../load/Order.ts"
import { median } from "../load/Statistics.ts"
import type { Options } from "../Options.ts"
import { figure, ratio, type Section, table } from "../Report.ts"
import type { Measurement, Rounds } from "./Rounds.ts"

/** Above it, the load may be what is slow. */
const busyLoad = 0.8

const of = (measurements: ReadonlyArray<Measurement>, target: string, endpoint: string) =>
  measurements.filter((it) => it.target === target && it.endpoint === endpoint)

/** CPU time of one target as a share of another's in the same round: the median, the least and the greatest. */
export const ratios = (measurements: ReadonlyArray<Measurement>, target: string, other: string, endpoint: string) => {
  const others = of(measurements, other, endpoint)
  const all = of(measurements, target, endpoint).flatMap(({ figures, round }) => {
    const same = others.find((it) => it.round === round)
    return same === undefined ? [] : [figures.serverMicros / same.figures.serverMicros]
  })
  return all.length === 0 ? undefined : { median: median(all), least: Math.min(...all), greatest: Math.max(...all) }
}

const head = [
  "target",
  "req/s",
  "p50 ms",
  "p95 ms",
  "p99 ms",
  "CPU µs/req",
  "least–greatest",
  "PostgreSQL µs/req",
  "resident MB",
  "this server's CPU against it",
  "load busy"
]

const endpointTable = ({ measurements, targets }: Rounds, endpoint: string) =>
  table([
    head,
    ...targets.flatMap(({ name }) => {
      const rounds = of(measurements, name, endpoint)
      if (rounds.length === 0) return []
      const stream = (member: "perSecond" | "p50" | "p95" | "p99") =>
        figure(median(rounds.map(({ figures }) => (figures.streams[0] as StreamResult)[member])))
      const cpu = rounds.map(({ figures }) => figures.serverMicros)
      const against = name === targets[0]!.name ? undefined : ratios(measurements, targets[0]!.name, name, endpoint)
      const busy = Math.max(...rounds.map(({ figures }) => figures.loadBusy))
      return [[
        name,
        stream("perSecond"),
        stream("p50"),
        stream("p95"),
        stream("p99"),
        figure(median(cpu)),
        `${figure(Math.min(...cpu))}–${figure(Math.max(...cpu))}`,
        figure(median(rounds.map(({ figures }) => figures.databaseMicros))),
        figure(median(rounds.map((it) => it.residentMegabytes))),
        against === undefined
          ? ""
          : `${ratio(against.median)} (${against.least.toFixed(2)}–${against.greatest.toFixed(2)})`,
        `${(busy * 100).toFixed(0)} %${busy > busyLoad ? " (!)" : ""}`
      ]]
    })
  ])

export const roundsSection = (rounds: Rounds, options: Options): Section => ({
  title: "Rounds",
  lines: [
    `${options.connections} connections (16 where passwords are hashed), ${options.users} users with ` +
    `${options.tasks.toLocaleString("en")} tasks each; medians of ${options.rounds} rounds of ${options.seconds} s. ` +
    "CPU time is the process's with its children, and PostgreSQL's own beside it; the last column is the share of the " +
    "time in which the load's thread was busy.",
    "",
    ...rounds.targets.map(({ description, name }) => `- ${name}: ${description}`),
    ...rounds.notes.map((note) => `- ${note}`),
    ...options.endpoints.flatMap((endpoint) => ["", `### ${endpoint}`, "", ...endpointTable(rounds, endpoint)])
  ]
})
