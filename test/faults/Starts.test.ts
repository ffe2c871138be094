/** Many instances start at once on a database that has no tables, and one of them is killed meanwhile, again and again. */
import { execFileSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { describe, expect, it } from "vitest"
import { emptyDatabase, testDatabaseUrl } from "../operation/postgres.ts"
import { emptyDirectory, type Finished, launch, patience, run, start } from "../operation/program.ts"
import { dumpProgram } from "../operation/servers.ts"
import { having } from "../tasks/families.ts"
import { pause } from "./process.ts"
import { size } from "./sizes.ts"

const secrets = { JWT_SECRET: randomBytes(32).toString("hex"), DATABASE_POOL_SIZE: "2" }

/** Everything that a database has but rows, as statements. */
const schemaOf = (url: string) =>
  execFileSync(dumpProgram ?? "pg_dump", ["--schema-only", "--no-owner", url], { encoding: "utf8" })
    // newer ones begin and end with a key of their own
    .replaceAll(/^\\(un)?restrict .*$/gm, "")

const withEnds = async (work: (finished: Finished) => Promise<void>) => {
  const ends: Array<() => Promise<void> | void> = []
  try {
    await work((end) => void ends.push(end))
  } finally {
    for (const end of ends.reverse()) await end()
  }
}

describe.skipIf(testDatabaseUrl === undefined || dumpProgram === undefined)(
  "with a PostgreSQL server (pg_dump)",
  () => {
    it.each(Array.from({ length: size(1, 20) }, (_, index) => index + 1))(
      "F13 eight at once, and one that is killed, the %i. time",
      (round) =>
        withEnds(async (finished) => {
          const [db, alone] = [await emptyDatabase(finished), await emptyDatabase(finished)]
          const env = (url: string) => ({ ...secrets, DATABASE_URL: url, DATA_DIR: emptyDirectory(finished) })
          const killed = launch("src/migrate.ts", env(db.url), finished)
          const started = Promise.all(Array.from({ length: 8 }, () => start(env(db.url), finished)))
          // where it is by then is another place each time: before its first migration, within one, or after the last
          while ((await db.sql("select 1 from pg_stat_activity where datname = current_database()")).length < 2) {
            await pause(5)
          }
          await pause(10 * round)
          killed.kill("SIGKILL")
          await killed.ended
          const programs = await started
          for (const program of programs) having(200, await program.request("GET", "/health/ready"))
          const migrated = programs.flatMap(({ lines }) => lines().filter(({ message }) => message === "migrated"))
          const applied = migrated.map(({ annotations }) => annotations["name"])
          expect(new Set(applied).size).toBe(applied.length)
          expect(await run("src/migrate.ts", env(alone.url), finished)).toMatchObject({ code: 0 })
          const rows = (of: typeof db) =>
            of.sql("select migration_id, name from schema_migrations order by migration_id")
          expect(await rows(db)).toEqual(await rows(alone))
          expect(schemaOf(db.url)).toBe(schemaOf(alone.url))
        }),
      2 * patience
    )
  }
)
