/** Brings the database to the schema that this version needs. */
import { Effect, Layer } from "effect"
import { Migrator, SqlClient } from "effect/sql"
import createUsers from "../../migrations/0001_create_users.ts"
import createTasks from "../../migrations/0002_create_tasks.ts"
import indexPurges from "../../migrations/0003_index_purges.ts"
import indexSessions from "../../migrations/0004_index_sessions.ts"
import findTasks from "../../migrations/0005_find_tasks.ts"
import dates from "../../migrations/0006_dates.ts"
import dateDeletions from "../../migrations/0007_date_deletions.ts"
import { Settings } from "../Settings.ts"
import { directly, isPooled } from "./Database.ts"
import { ofVariable } from "./Failures.ts"

const loader = Migrator.fromRecord({
  "0001_create_users": createUsers,
  "0002_create_tasks": createTasks,
  "0003_index_purges": indexPurges,
  "0004_index_sessions": indexSessions,
  "0005_find_tasks": findTasks,
  "0006_dates": dates,
  "0007_date_deletions": dateDeletions
})

/** Any number that is this application's own. */
const lockKey = 7_406_122

/**
 * Runs one migrator at a time, however many instances start at once. The lock belongs to a session of its own, which
 * waits as long as another migrator needs, and ends with that session.
 */
const alone = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const session = yield* sql.reserve
    const run = (text: string, parameters: ReadonlyArray<unknown> = []) =>
      session.executeUnprepared(text, parameters, undefined)
    yield* Effect.acquireRelease(
      run("select pg_advisory_lock($1::bigint)", [lockKey]),
      () => Effect.ignore(run("select pg_advisory_unlock($1::bigint)", [lockKey])),
      // a process that is told to stop while it waits does so
      { interruptible: true }
    )
    return yield* self
  }))

const run = Migrator.make({})({ loader, table: "schema_migrations" }).pipe(
  Effect.tap((applied) =>
    Effect.forEach(applied, ([id, name]) => Effect.logInfo("migrated").pipe(Effect.annotateLogs({ id, name })))
  )
)

/** Applies what is missing; does nothing, quickly, when nothing is. */
export const migrate = Effect.gen(function* () {
  const settings = yield* Settings
  const sql = yield* SqlClient.SqlClient
  // the embedded database has one session and one process: nobody to wait for
  if (settings.databaseDirectUrl === undefined) return yield* run
  const applied = yield* directly(alone(run))
  if (isPooled(settings)) yield* ofVariable("DATABASE_URL")(sql`select 1`)
  return applied
})

export const layer = Layer.effectDiscard(migrate)
