import process from "node:process"
import { defineConfig } from "vitest/config"

/** The suite as it runs on one database: a PostgreSQL server, or the embedded one where its URL is empty. */
const on = (name: string, url: string) => ({ extends: true as const, test: { name, env: { TEST_DATABASE_URL: url } } })
const url = process.env["TEST_DATABASE_URL"]

export default defineConfig({
  test: {
    projects: [on("embedded", ""), ...(url ? [on("postgresql", url)] : [])],
    include: ["test/**/*.test.ts"],
    // processes, because native hashing and the embedded database misbehave in worker threads; shared by files,
    // because loading Effect and starting a database costs more than most files' tests
    pool: "forks",
    isolate: false,
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000
  }
})
