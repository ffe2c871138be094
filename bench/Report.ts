/** What a run has found, for people and for programs. */
import { availableParallelism, cpus, release } from "node:os"
import process from "node:process"
import { residentBytes } from "./Children.ts"
import type { Round } from "./load.ts"
import type { Options } from "./Options.ts"
import type { RunningTarget } from "./Targets.ts"

export interface Measurement {
  readonly target: string
  readonly endpoint: string
  readonly round: Round
}

const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

const summarize = (rounds: ReadonlyArray<Round>) => {
  const of = (member: "perSecond" | "p50" | "p95" | "p99" | "cpuMicrosPerRequest") =>
    median(rounds.map((round) => round[member]))
  const cpu = rounds.map(({ cpuMicrosPerRequest }) => cpuMicrosPerRequest)
  return {
    perSecond: of("perSecond"),
    p50: of("p50"),
    p95: of("p95"),
    p99: of("p99"),
    cpuMicrosPerRequest: of("cpuMicrosPerRequest"),
    cpuMicrosSpread: [Math.min(...cpu), Math.max(...cpu)] as const,
    requests: rounds.reduce((sum, { requests }) => sum + requests, 0),
    errors: rounds.reduce((sum, { errors }) => sum + errors, 0),
    rounds
  }
}

const { deno, node } = process.versions

/** Medians over the rounds, and every round. To be made while the servers still run. */
export const makeReport = (
  options: Options,
  targets: ReadonlyArray<RunningTarget>,
  measurements: ReadonlyArray<Measurement>
) => ({
  date: new Date().toISOString(),
  machine: {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    linux: release(),
    runtime: deno === undefined ? `Node ${node}` : `Deno ${deno}`
  },
  options,
  targets: targets.map(({ description, name, pid }) => ({
    name,
    description,
    residentBytes: residentBytes(pid),
    endpoints: options.endpoints.map((endpoint) => ({
      endpoint,
      ...summarize(
        measurements.filter((it) => it.target === name && it.endpoint === endpoint).map(({ round }) => round)
      )
    }))
  }))
})
export type Report = ReturnType<typeof makeReport>

const titles = ["endpoint", "req/s", "p50 ms", "p95 ms", "p99 ms", "CPU µs/req", "(min to max)", "requests", "errors"]

/** The table of a report. */
export const format = ({ machine, options, targets }: Report): string => {
  const lines = [
    `${machine.runtime}, ${machine.cores} × ${machine.cpu}; ${options.connections} connections, ` +
    `${options.tasks} tasks a user, medians of ${options.rounds} rounds of ${options.seconds} s`
  ]
  for (const { description, endpoints, name, residentBytes } of targets) {
    const rows = endpoints.map((it) => [
      it.endpoint,
      it.perSecond.toFixed(0),
      ...[it.p50, it.p95, it.p99].map((latency) => latency.toFixed(1)),
      it.cpuMicrosPerRequest.toFixed(0),
      it.cpuMicrosSpread.map((cpu) => cpu.toFixed(0)).join(" to "),
      String(it.requests),
      String(it.errors)
    ])
    const widths = titles.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)))
    lines.push("", `${name} (${description}): ${(residentBytes / 1024 ** 2).toFixed(0)} MB resident at the end`)
    for (const [first = "", ...rest] of [titles, ...rows]) {
      lines.push(
        [first.padEnd(widths[0]!), ...rest.map((cell, column) => cell.padStart(widths[column + 1]!))].join("  ")
      )
    }
  }
  return lines.join("\n")
}
