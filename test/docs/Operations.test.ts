/** docs/operations.md, followed from top to bottom in an empty folder, and what it says of log and metrics. */
import { randomBytes } from "node:crypto"
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { expect, it } from "vitest"
import { connectTo, testDatabaseUrl } from "../operation/postgres.ts"
import { emptyDirectory, type Finished, patience, type Program, start } from "../operation/program.ts"
import { hasPostgres, startCluster } from "../operation/servers.ts"
import { having } from "../tasks/families.ts"
import { missing, stepsOf, textOf } from "./documents.ts"
import { printedBy } from "./shell.ts"

const page = "docs/operations.md"

/** A PostgreSQL server whose users are what the page says: who may do everything, and an owner who may do nothing else. */
const database = async (finished: Finished) => {
  const { port, url } = await startCluster(finished, {
    hba: ["host all postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256"]
  })
  const admin = connectTo(url, finished)
  await admin.sql("create role tasks login password 'secret'")
  // only the query of its URL says where its tables are
  await admin.sql("alter role tasks set search_path = nowhere")
  await admin.sql("create database tasks owner tasks")
  return {
    admin: url,
    urlOf: (user: string, password: string) => `postgres://${user}:${password}@127.0.0.1:${port}/tasks`
  }
}

/** A folder with a `deno` that runs the tasks of this clone by npm, where the page runs them in one. */
const tasksOfThisClone = (finished: Finished): string => {
  const folder = join(emptyDirectory(finished), "bin")
  mkdirSync(folder)
  const clone = fileURLToPath(new URL("../..", import.meta.url))
  const script = `#!/bin/sh\n[ "$1" = task ] && cd '${clone}' && exec npm run --silent "$2"\n`
  writeFileSync(join(folder, "deno"), script, { mode: 0o755 })
  return folder
}

/** What a user does in a day. */
const expectServing = async (program: Program) => {
  const user = await program.register()
  const token = user.access_token
  const ask = async (method: string, path: string, body?: unknown) =>
    having(200, await program.request(method, `/api/v1${path}`, { token, ...(body !== undefined && { body }) })).json
  const create = async (title: string): Promise<{ readonly id: string }> =>
    having(201, await program.request("POST", "/api/v1/tasks", { token, body: { title, due: { date: "2031-01-31" } } }))
      .json
  const [one, two] = [await create("one"), await create("two")]
  expect(await ask("GET", "/tasks")).toHaveLength(2)
  expect(await ask("POST", "/tasks/bulk/complete", { ids: [one.id] })).toMatchObject({ updated: 1 })
  expect(await ask("POST", "/tasks/bulk/delete", { ids: [two.id] })).toMatchObject({ deleted: 1 })
  expect((await ask("GET", "/changes")).changes).toMatchObject([{ id: one.id, completed: true }])
  await ask("POST", "/auth/refresh", { refresh_token: user.refresh_token })
  having(204, await program.request("DELETE", "/api/v1/auth/me", { token, body: { password: user.password } }))
}

it.skipIf(testDatabaseUrl === undefined || !hasPostgres)(
  "prints what it says it prints, and leaves what it says it leaves (TEST_DATABASE_URL)",
  async ({ onTestFinished }) => {
    const { admin, urlOf } = await database(onTestFinished)
    const DATABASE_URL = `${urlOf("tasks", "secret")}?options=-csearch_path%3Dpublic`
    const env = { JWT_SECRET: randomBytes(32).toString("hex"), DATABASE_POOL_SIZE: "4" }
    const program = await start({ ...env, DATABASE_URL }, onTestFinished)
    const steps = stepsOf(textOf(page))
    expect(steps.length).toBe(9)
    const folder = emptyDirectory(onTestFinished)
    const PATH = `${tasksOfThisClone(onTestFinished)}:${process.env["PATH"]}`
    // no database of the developer's own
    const others = { DATABASE_DIRECT_URL: "", DATABASE_PREPARE: "", DATABASE_CA: "" }
    const given = { ...others, API: program.url, ADMIN_URL: admin, DATABASE_URL, PATH }
    expect(await printedBy(steps, given, folder)).toEqual(steps.map(({ printed }) => printed))

    // the user of "Two database users", with a table of a later version
    const owner = connectTo(DATABASE_URL, onTestFinished)
    await owner.sql("create table of_a_later_version (user_id uuid primary key)")
    const server = connectTo(urlOf("tasks_server", "another%20secret"), onTestFinished)
    await server.sql("insert into of_a_later_version values (gen_random_uuid())")
    await expect(server.sql("create table of_its_own (id uuid)")).rejects.toThrow()
    await expectServing(
      await start({ ...env, DATABASE_URL: urlOf("tasks_server", "another%20secret") }, onTestFinished)
    )
  },
  2 * patience
)

const sources = new Map(
  (readdirSync(new URL("../../src", import.meta.url), { recursive: true }) as ReadonlyArray<string>)
    .filter((file) => file.endsWith(".ts"))
    .map((file) => [file, readFileSync(new URL(`../../src/${file}`, import.meta.url), "utf8")])
)

const matches = (source: string, pattern: RegExp) => [...source.matchAll(pattern)].map(([, found]) => found!)

it("explains every line of the log, and what is in it", () => {
  const log = textOf(page, "The log")
  const messages: Array<string> = []
  for (const [file, source] of sources) {
    const written = matches(source, /\bEffect\.log[A-Z]?\w*\(\s*["`]([^"`]+)["`]/g)
    // no line is written in a way that the one above does not see
    expect([file, matches(source, /\bEffect\.(log\w*)/g).length]).toEqual([file, written.length])
    // the writer, who has a line of its own, what says why a process does not start, and the pretty ones of a terminal
    const others = /\bconsole[.P]|\b(?:stdout|stderr)\.write\b|\bwriteSync\b/
    if (others.test(source)) {
      expect(["Process.ts", "telemetry/LogWriter.ts", "telemetry/Telemetry.ts"]).toContain(file)
    }
    messages.push(...written, ...matches(source, /\bmessage: "([^"]+)", level:/g))
  }
  expect(messages.length).toBeGreaterThan(15)
  expect(missing(messages.map((message) => message.replace("${name}", "reminders")), log)).toEqual([])

  const members = [...sources.values()].flatMap((source) =>
    matches(source, /\b(?:annotateLogs\(|annotations:)("\w+"|[\s\S]*?\})/g).flatMap((given) =>
      given.startsWith('"')
        ? [given.slice(1, -1)]
        : matches(given.slice(given.indexOf("{")), /[{,]\s*(\w+)\s*(?=[:,}])/g)
    )
  )
  const counts = matches(sources.get("workers/Purge.ts")!, /interface Purged \{([^}]+)\}/g)
    .flatMap((body) => matches(body, /readonly (\w+)/g))
  const events = matches(sources.get("telemetry/SecurityEvents.ts")!, /^ {2}\| "(\w+)"/gm)
  expect(members).toEqual(expect.arrayContaining(["request_id", "duration_ms", "session_id", "policy", "lines"]))
  expect([counts.length, events.length].every((length) => length > 3)).toBe(true)
  expect(missing([...members, ...counts, ...events], log)).toEqual([])
})

it("explains every metric", () => {
  const metrics = [...sources.values()].flatMap((source) =>
    matches(source, /Metric\.(?:counter|histogram|gauge)\("(\w+)"/g)
  )
  expect(metrics.length).toBeGreaterThan(1)
  const text = textOf(page, "Metrics")
  expect(metrics.filter((name) => !text.includes(`| \`${name}\``))).toEqual([])
})
