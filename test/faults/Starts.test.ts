/** Many instances start at once on a database that has no tables, again and again. */
import { randomBytes } from "node:crypto"
import { describe, expect, it } from "vitest"
import { emptyDatabase, testDatabaseUrl } from "../operation/postgres.ts"
import { emptyDirectory, type Finished, patience, start } from "../operation/program.ts"
import { having } from "../tasks/families.ts"
import { isFull } from "./sizes.ts"

// once is what test/operation/Lifecycle.test.ts does, with a migrator that is killed
describe.skipIf(testDatabaseUrl === undefined || !isFull)("with a PostgreSQL server, in full (FAULTS=full)", () => {
  it.each(Array.from({ length: 20 }, (_, index) => index + 1))("F13 eight at once, the %i. time", async () => {
    const ends: Array<() => Promise<void> | void> = []
    const finished: Finished = (end) => void ends.push(end)
    try {
      const db = await emptyDatabase(finished)
      const env = { DATABASE_URL: db.url, DATABASE_POOL_SIZE: "2", JWT_SECRET: randomBytes(32).toString("hex") }
      const programs = await Promise.all(
        Array.from({ length: 8 }, () => start({ ...env, DATA_DIR: emptyDirectory(finished) }, finished))
      )
      for (const program of programs) having(200, await program.request("GET", "/health/ready"))
      const migrated = programs.flatMap(({ lines }) => lines().filter(({ message }) => message === "migrated"))
      const applied = migrated.map(({ annotations }) => annotations["name"])
      expect(new Set(applied).size).toBe(applied.length)
      const rows = await db.sql<{ name: string }>("select name from schema_migrations order by migration_id")
      expect(rows.map(({ name }) => name).sort()).toEqual([...applied].sort())
    } finally {
      for (const end of ends.reverse()) await end()
    }
  }, 2 * patience)
})
