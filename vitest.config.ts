import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
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
