import { Effect } from "effect"
import { runOnDatabase } from "./Command.ts"
import { restored } from "./database/Restored.ts"

/** Makes a database that was restored from a backup good to serve from, and ends. */
runOnDatabase(Effect.tap(restored, (counts) => Effect.logInfo("restored").pipe(Effect.annotateLogs({ ...counts }))))
