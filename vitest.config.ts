import process from "node:process"
import { defineConfig } from "vitest/config"

const url = process.env["TEST_DATABASE_URL"]

/** All files of tests. Projects name theirs: one of the whole would be added to theirs. */
const include = ["test/**/*.test.ts"]

/** The suite as it runs on one database: a PostgreSQL server, or the embedded one where its URL is empty. */
const on = (name: string, url: string) => ({
  extends: true as const,
  test: { name, env: { TEST_DATABASE_URL: url }, include, exclude: ["test/faults/**"] }
})

/** The faults of test/faults/README.md: those that have tests of their own, and those that are tested elsewhere. */
const faults = (url: string) => ({
  extends: true as const,
  test: {
    name: "faults",
    env: { TEST_DATABASE_URL: url },
    include: [
      "test/faults/**/*.test.ts",
      "test/operation/{Faults,Lifecycle,Logs,TemporaryFolder}.test.ts",
      "test/auth/{FaultPoints,IssuerKeys,LiveSessions,Refresh,RefreshSchedules,Registration}.test.ts",
      "test/changes/{FaultPoints,Idempotency}.test.ts",
      "test/limits/Logins.test.ts",
      "test/tasks/{BatchRaces,Conditional}.test.ts"
    ]
  }
})

/** The suite with the oracle of test/support/RowSecurity.ts, without the files in which that has nothing to check. */
const rowSecurity = (url: string) => ({
  extends: true as const,
  test: {
    name: "row-security",
    env: { TEST_DATABASE_URL: url, TEST_ROW_SECURITY: "1" },
    include,
    exclude: [
      "test/faults/**",
      // their servers are processes of their own, whose statements do not say for whom they are sent
      "test/operation/**",
      "test/*/FaultPoints.test.ts",
      "test/changes/Processes.test.ts",
      "test/limits/Workers.test.ts",
      // they look at plans, of which policies are a part
      "test/auth/LoginPlan.test.ts",
      "test/tasks/Plans.test.ts",
      // they send no statement of a user, or none that the others do not send
      "test/auth/{IssuerKeys,SigningKeys,Wycheproof}.test.ts",
      "test/docs/**",
      "test/http/**",
      "test/limits/Stores.test.ts",
      "test/system/**"
    ]
  }
})

const projects = url && process.env["TEST_ROW_SECURITY"] === "1" ? [rowSecurity(url)] : [
  on("embedded", ""),
  ...(url ? [on("postgresql", url)] : []),
  ...(url && process.env["FAULTS"] ? [faults(url)] : [])
]

export default defineConfig({
  test: {
    projects,
    // processes, because native hashing and the embedded database misbehave in worker threads; shared by files,
    // because loading Effect and starting a database costs more than most files' tests
    pool: "forks",
    isolate: false,
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000
  }
})
