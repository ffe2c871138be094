/** This server and its peers in turns, endpoint by endpoint. */
import { Effect } from "effect"
import type { Loader } from "../load/Loader.ts"
import type { Round } from "../load/Order.ts"
import { find } from "../load/Requests.ts"
import { isMeasurable, residentMegabytes } from "../machine/Processes.ts"
import { progress, type Run } from "../Run.ts"
import { install, type Server, startServer } from "../targets/Servers.ts"
import { peers } from "../targets/Targets.ts"

export interface Measurement {
  readonly target: string
  readonly endpoint: string
  /** from 1; 0 is the one of warming up */
  readonly round: number
  readonly figures: Round
  readonly residentMegabytes: number
}

export interface Rounds {
  readonly targets: ReadonlyArray<Server>
  readonly measurements: ReadonlyArray<Measurement>
  /** what was left out, and why: one line each */
  readonly notes: ReadonlyArray<string>
}

const firstLine = (text: string) => text.trim().split("\n").slice(0, 4).join(" / ").slice(0, 400)

/** The peers that can be installed and started; for each other one a line that says why not. */
export const startPeers = Effect.fnUntraced(function* (run: Run, databaseUrl: string) {
  const started: Array<Server> = []
  const notes: Array<string> = []
  for (const target of peers.filter(({ name }) => run.options.targets.includes(name))) {
    yield* progress(`installing and starting ${target.name}`)
    yield* install(target).pipe(
      Effect.andThen(startServer(target, run.on(databaseUrl))),
      Effect.match({
        onSuccess: (server) => void started.push(server),
        onFailure: ({ message }) => void notes.push(`Skipped: ${target.name}, ${firstLine(message)}`)
      })
    )
  }
  for (const note of notes) yield* progress(note)
  return { started, notes }
})

/** One round of one server. */
export const measure = Effect.fnUntraced(function* (
  run: Run,
  loader: Loader,
  server: Server,
  endpoint: string,
  round: number
) {
  const { connections, rounds, seconds } = run.options
  const figures = yield* loader.load({
    port: server.port,
    seconds,
    streams: [{ endpoints: [endpoint], connections: Math.min(connections, find(endpoint).connections ?? connections) }],
    serverPid: server.pid,
    databasePid: run.cluster.pid
  })
  const [{ perSecond } = { perSecond: 0 }] = figures.streams
  yield* progress(
    `${round === 0 ? "warm-up" : `${round}/${rounds}`}  ${server.name} ${endpoint}: ${perSecond.toFixed(0)}/s, ` +
      `${figures.serverMicros.toFixed(0)} µs of CPU; load ${(figures.loadBusy * 100).toFixed(0)} % busy`
  )
  const measurement: Measurement = {
    target: server.name,
    endpoint,
    round,
    figures,
    residentMegabytes: residentMegabytes(server.pid)
  }
  return measurement
})

/** Servers alternate within a round, so that a slow minute of the machine falls on all of them. */
export const runRounds = Effect.fnUntraced(function* (
  run: Run,
  loader: Loader,
  targets: ReadonlyArray<Server>,
  notes: ReadonlyArray<string> = []
) {
  const { endpoints, rounds } = run.options
  const measurements: Array<Measurement> = []
  const failed = new Map<string, string>()
  for (let round = 0; round <= rounds; round++) {
    for (const endpoint of endpoints) {
      for (const server of targets) {
        const pair = `${server.name} ${endpoint}`
        if (failed.has(pair)) continue
        const measurement = yield* measure(run, loader, server, endpoint, round)
        const [stream] = measurement.figures.streams
        if (stream !== undefined && stream.errors > 0) {
          failed.set(pair, `Failed: ${pair}, ${stream.errors} errors, the first: ${firstLine(stream.firstError ?? "")}`)
          yield* progress(failed.get(pair)!)
        } else if (round > 0) measurements.push(measurement)
      }
    }
  }
  return {
    targets,
    measurements: measurements.filter(({ endpoint, target }) => !failed.has(`${target} ${endpoint}`)),
    notes: [
      ...notes,
      ...failed.values(),
      ...(isMeasurable ? [] : ["No CPU time and no memory: this machine has no /proc."])
    ]
  } satisfies Rounds
})
