import { Effect } from "effect"
import { runOnDatabase } from "./Command.ts"
import { migrate } from "./database/Migrations.ts"

/** Brings the database to this version's schema and ends. */
runOnDatabase(
  Effect.tap(migrate, (applied) => Effect.logInfo("migrated").pipe(Effect.annotateLogs({ applied: applied.length })))
)
