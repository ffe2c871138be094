/** What every part of a run shares. */
import { randomBytes } from "node:crypto"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { Effect } from "effect"
import { node, root, run } from "./machine/Children.ts"
import { type Cluster, startCluster } from "./machine/Postgres.ts"
import type { Options } from "./Options.ts"
import type { Provenance } from "./Report.ts"
import { assemble, type Environment } from "./targets/Servers.ts"
import { ours, type Target } from "./targets/Targets.ts"

export interface Run {
  readonly options: Options
  readonly cluster: Cluster
  /** this server, assembled */
  readonly target: Target
  /** how a server is started on a database */
  readonly on: (databaseUrl: string | undefined) => Environment
  readonly directory: string
  readonly provenance: Provenance
}

/** Standard output is for the results alone. */
export const progress = (line: string) => Effect.sync(() => void process.stderr.write(`${line}\n`))

/** A directory that is gone when the scope ends. PostgreSQL's own user has to get through. */
const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => {
    const directory = mkdtempSync(join(tmpdir(), "tasks-api-bench-"))
    mkdirSync(join(directory, "postgres"))
    return directory
  }),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)

/** Builds the bundle, and starts PostgreSQL. */
export const prepare = Effect.fnUntraced(function* (options: Options) {
  const directory = yield* temporaryDirectory
  yield* run(["chmod", "755", directory])
  yield* progress("making the production bundle")
  const target = ours(yield* assemble(join(directory, "app")), options.flags)
  yield* progress("starting PostgreSQL")
  const cluster = yield* startCluster(join(directory, "postgres"))
  const jwtSecret = randomBytes(32).toString("hex")
  const commit = yield* run(["git", "describe", "--always", "--dirty"], { cwd: root }).pipe(
    Effect.orElseSucceed(() => "unknown")
  )
  return {
    options,
    cluster,
    target,
    directory,
    on: (databaseUrl) => ({ databaseUrl, directory, jwtSecret }),
    provenance: {
      commit: commit.trim(),
      node: (yield* run([node, "--version"])).trim().slice(1),
      postgres: cluster.version
    }
  } satisfies Run
})
