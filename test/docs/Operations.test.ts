/** docs/operations.md, followed from top to bottom in an empty folder, and what it says of log and metrics. */
import { readdirSync, readFileSync } from "node:fs"
import { expect, it } from "vitest"
import { emptyDatabase, testDatabaseUrl } from "../operation/postgres.ts"
import { emptyDirectory, patience, start } from "../operation/program.ts"
import { stepsOf, textOf } from "./documents.ts"
import { printedBy } from "./shell.ts"

const page = "docs/operations.md"

it.skipIf(testDatabaseUrl === undefined)(
  "prints what it says it prints (TEST_DATABASE_URL)",
  async ({ onTestFinished }) => {
    const { url } = await emptyDatabase(onTestFinished)
    const env = { DATABASE_URL: url, JWT_SECRET: "a test secret with more than 32 bytes in it", RATE_LIMITS: "off" }
    const program = await start(env, onTestFinished)
    const steps = stepsOf(textOf(page))
    expect(steps.length).toBe(6)
    const folder = emptyDirectory(onTestFinished)
    expect(await printedBy(steps, { API: program.url, DATABASE_URL: url }, folder)).toEqual(
      steps.map(({ printed }) => printed)
    )
  },
  patience
)

const sources = (readdirSync(new URL("../../src", import.meta.url), { recursive: true }) as ReadonlyArray<string>)
  .filter((file) => file.endsWith(".ts"))
  .map((file) => readFileSync(new URL(`../../src/${file}`, import.meta.url), "utf8"))

it("explains every line of the log", () => {
  const messages = sources.flatMap((source) =>
    [...source.matchAll(/Effect\.log(?:Info|Warning|Error)\(\s*["`]([^"`]+)["`]/g)].map(([, message]) => message!)
  )
  expect(messages.length).toBeGreaterThan(10)
  const log = textOf(page, "The log")
  const names = messages.map((message) => message.replace("${name}", "reminders"))
  expect(names.filter((message) => !log.includes(`\`${message}\``))).toEqual([])
})

it("explains every metric", () => {
  const metrics = sources.flatMap((source) =>
    [...source.matchAll(/Metric\.(?:counter|histogram|gauge)\("(\w+)"/g)].map(([, name]) => name!)
  )
  expect(metrics.length).toBeGreaterThan(1)
  const text = textOf(page, "Metrics")
  expect(metrics.filter((name) => !text.includes(`| \`${name}\``))).toEqual([])
})
