/** How PostgreSQL executes what the server really sends, as its auto_explain writes it to the log. */
import { Effect } from "effect"
import { Connection } from "../load/Connection.ts"
import { ask, find } from "../load/Requests.ts"
import { BenchFailed } from "../machine/Children.ts"
import { withSql } from "../machine/Postgres.ts"
import { figure, table } from "../Report.ts"
import type { Run } from "../Run.ts"
import type { BenchUser } from "../seed/Seed.ts"
import { startServer } from "../targets/Servers.ts"

interface Node {
  readonly "Node Type": string
  readonly "Relation Name"?: string
  readonly "Index Name"?: string
  readonly "Actual Rows": number
  readonly "Actual Loops": number
  readonly "Rows Removed by Filter"?: number
  readonly "Rows Removed by Index Recheck"?: number
  readonly "Shared Hit Blocks"?: number
  readonly "Shared Read Blocks"?: number
  readonly Plans?: ReadonlyArray<Node>
}

interface Executed {
  readonly "Query Text": string
  readonly Plan: Node
}

/** More often than the five times after which a prepared statement may get a plan for any parameters. */
const repetitions = 12

const analyze = [
  "log_min_duration = 0",
  "log_analyze = on",
  "log_buffers = on",
  "log_timing = off",
  "log_format = json"
]

const flatten = (node: Node): ReadonlyArray<Node> => [node, ...(node.Plans ?? []).flatMap(flatten)]

const rowsRead = (node: Node): number =>
  (node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0) + (node["Rows Removed by Index Recheck"] ?? 0)) *
  node["Actual Loops"]

/** The scans of a plan that were executed, and what each has read: never more than what is asked for, where all is well. */
const describe = ({ Plan }: Executed) => {
  const scans = flatten(Plan).filter((node) => node["Node Type"].includes("Scan") && node["Actual Loops"] > 0)
    .filter((node) => node["Relation Name"] !== undefined || node["Index Name"] !== undefined)
  return {
    scans: scans.map((node) =>
      `${node["Node Type"]} ${node["Index Name"] ?? node["Relation Name"]}: ${figure(rowsRead(node))}`
    ).join("; "),
    rows: scans.reduce((sum, node) => sum + rowsRead(node), 0),
    blocks: (Plan["Shared Hit Blocks"] ?? 0) + (Plan["Shared Read Blocks"] ?? 0)
  }
}

/** The plans of a database in these lines of the log, without the check of a session and what was executed now and then. */
const executed = (lines: ReadonlyArray<string>, database: string): ReadonlyArray<Executed> => {
  const byText = new Map<string, Array<Executed>>()
  for (const line of lines) {
    const entry = JSON.parse(line) as { readonly dbname?: string; readonly message?: string }
    const begin = entry.message?.startsWith("duration:") ? entry.message.indexOf("{") : -1
    if (entry.dbname !== database || entry.message === undefined || begin < 0) continue
    const plan = JSON.parse(entry.message.slice(begin)) as Executed
    const text = plan["Query Text"]
    if (!text.includes("tasks")) continue
    byText.set(text, [...byText.get(text) ?? [], plan])
  }
  return [...byText.values()].filter((plans) => plans.length >= repetitions / 2).map((plans) => plans.at(-1)!)
}

const excerpt = (text: string): string => {
  // what a write does is not at its beginning
  const words = text.replace(/\s+/g, " ").trim().replace(/^with given .*(?=(?:insert into|update) tasks)/, "")
  return `\`${words.length > 60 ? `${words.slice(0, 60)}…` : words}\``.replaceAll("|", "\\|")
}

export interface PlannedCase {
  readonly endpoint: string
  /** the number of the user's tasks */
  readonly tasks: string
  readonly user: BenchUser
}

/** The plans of some cases, a table for each group of them; the server is one of its own, on this database. */
export const plans = Effect.fnUntraced(function* (
  run: Run,
  database: string,
  databaseUrl: string,
  groups: ReadonlyArray<ReadonlyArray<PlannedCase>>
) {
  const setting = (statement: string) =>
    withSql(databaseUrl, (sql) => sql.unsafe(`alter database ${database} ${statement}`))
  yield* setting("set session_preload_libraries = 'auto_explain'")
  for (const it of analyze) yield* setting(`set auto_explain.${it}`)
  const server = yield* startServer(run.target, run.on(databaseUrl))
  const tables = yield* Effect.forEach(
    groups,
    Effect.fnUntraced(function* (cases) {
      const rows: Array<ReadonlyArray<string>> = []
      for (const { endpoint, tasks, user } of cases) {
        const position = run.cluster.logEnd()
        yield* Effect.tryPromise({
          try: async () => {
            const connection = new Connection(server.port)
            for (let n = 0; n < repetitions; n++) await ask(connection, find(endpoint), user)
            connection.close()
          },
          catch: (error) => new BenchFailed({ message: `plans: ${String(error)}` })
        })
        // the log is written by a process of its own
        yield* Effect.sleep(500)
        for (const plan of executed(run.cluster.logFrom(position), database)) {
          const { blocks, rows: read, scans } = describe(plan)
          rows.push([endpoint, tasks, excerpt(plan["Query Text"]), scans, figure(read), figure(blocks)])
        }
      }
      return table([
        ["request", "tasks", "statement", "scans, and rows that each has read", "rows", "blocks of 8 KB"],
        ...rows
      ])
    })
  )
  yield* setting("reset all")
  return tables
}, Effect.scoped)
