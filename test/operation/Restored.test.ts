/** A server on a database that is older than what its clients have. */
import { randomUUID } from "node:crypto"
import { cpSync } from "node:fs"
import { expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { followChanges } from "../support/EventStream.ts"
import type { Account } from "../support/TestServer.ts"
import { having, type TaskAnswer } from "../tasks/families.ts"
import { connectTo, emptyDatabase, testDatabaseUrl } from "./postgres.ts"
import { emptyDataDir, emptyDirectory, type Finished, patience, type Program, run, start } from "./program.ts"

type Place = Readonly<Record<string, string>>

/** An empty database, and what makes another one of it, as it is when no server runs. */
const copyable = async (finished: Finished) => {
  const JWT_SECRET = randomUUID()
  const directory = emptyDirectory(finished)
  if (testDatabaseUrl === undefined) {
    const place = { DATA_DIR: await emptyDataDir(finished), JWT_SECRET }
    const copy = ({ DATA_DIR = "" }: Place): Promise<Place> => {
      const to = emptyDirectory(finished)
      cpSync(DATA_DIR, to, { recursive: true })
      return Promise.resolve({ DATA_DIR: to, JWT_SECRET })
    }
    return { place, copy }
  }
  const db = await emptyDatabase(finished)
  await db.close()
  const admin = connectTo(testDatabaseUrl, finished)
  const copy = async ({ DATABASE_URL = "" }: Place): Promise<Place> => {
    const url = new URL(DATABASE_URL)
    const name = `test_${randomUUID().replaceAll("-", "")}`
    await admin.sql(`create database ${name} template ${url.pathname.slice(1)}`)
    finished(async () => void await admin.sql(`drop database ${name} with (force)`))
    url.pathname = `/${name}`
    return { DATABASE_URL: url.href, DATA_DIR: directory, JWT_SECRET }
  }
  return { place: { DATABASE_URL: db.url, DATA_DIR: directory, JWT_SECRET }, copy }
}

type Tokens = Pick<Account, "access_token" | "refresh_token">

const create = async (on: Program, { access_token }: Tokens, title: string): Promise<TaskAnswer> =>
  having(201, await on.request("POST", "/api/v1/tasks", { token: access_token, body: { title } })).json

const changes = (on: Program, { access_token }: Tokens, since?: string) =>
  on.request("GET", `/api/v1/changes${since === undefined ? "" : `?since=${since}`}`, { token: access_token })

const stopped = async (program: Program) => {
  program.kill("SIGTERM")
  expect(await program.ended).toMatchObject({ code: 0 })
}

it("is told of a restore: clients begin again, and nobody is logged in", async ({ onTestFinished }) => {
  const { copy, place } = await copyable(onTestFinished)
  const first = await start(place, onTestFinished)
  const user = await first.register()
  const login = async (on: Program): Promise<Tokens> =>
    having(
      200,
      await on.request("POST", "/api/v1/auth/login", { body: { email: user.email, password: user.password } })
    )
      .json
  const other = await login(first)
  const idle = await login(first)
  const tasks = [await create(first, user, "one"), await create(first, user, "two")]
  const oldest = having(200, await changes(first, user)).json.cursor
  await stopped(first)
  const backup = await copy(place)

  const second = await start(place, onTestFinished)
  having(204, await second.request("POST", "/api/v1/auth/logout", { token: other.access_token }))
  const body = { refresh_token: user.refresh_token }
  having(200, await second.request("POST", "/api/v1/auth/refresh", { body }))
  for (let index = 0; index < 4; index++) await create(second, user, `lost ${index}`)
  const path = `/api/v1/tasks/${tasks[0]?.id}`
  const lost: TaskAnswer =
    having(200, await second.request("PATCH", path, { token: user.access_token, body: { title: "lost" } })).json
  const cursor = having(200, await changes(second, user)).json.cursor
  await stopped(second)

  // with nothing but the database's settings
  const { JWT_SECRET: _, ...database } = backup
  const told = await run("src/restored.ts", database, onTestFinished)
  expect(told).toMatchObject({ code: 0, stderr: "" })
  expect(JSON.parse(told.stdout)).toMatchObject({ message: "restored", annotations: { users: 1, sessions: 3 } })

  const third = await start(backup, onTestFinished)
  for (const { access_token } of [user, other, idle]) {
    expectProblem(await third.request("GET", "/api/v1/tasks", { token: access_token }), 401, "session_revoked")
  }
  for (const { refresh_token } of [user, other, idle]) {
    const answer = await third.request("POST", "/api/v1/auth/refresh", { body: { refresh_token } })
    expectProblem(answer, 401, "session_revoked")
  }
  const now = await login(third)
  const expectLost = async () => {
    for (const since of [oldest, cursor]) {
      expectProblem(await changes(third, now, since), 410, "cursor_expired")
      const stream = await followChanges(third, now, onTestFinished, since)
      while (stream.events.length === 0) await new Promise((resolve) => setTimeout(resolve, 20))
      expect(stream.events[0]?.event).toBe("resync")
    }
  }
  await expectLost()
  const made: Array<TaskAnswer> = []
  // past the version of the cursor, had they gone on from that of the backup
  for (let index = 0; index < 8; index++) made.push(await create(third, now, `new ${index}`))
  await expectLost()
  for (const { version } of made) expect(version).toBeGreaterThan(lost.version)
  const stale = await third.request("PATCH", path, {
    token: now.access_token,
    headers: { "if-match": `"${lost.version}"` },
    body: { title: "over what was never seen" }
  })
  expectProblem(stale, 412, "stale_version")

  const fresh = having(200, await changes(third, now)).json
  expect(fresh.changes.map(({ title }: TaskAnswer) => title)).toEqual([
    "one",
    "two",
    ...made.map(({ title }) => title)
  ])
  const next = await create(third, now, "next")
  expect(having(200, await changes(third, now, fresh.cursor)).json.changes).toMatchObject([{ id: next.id }])

  // a second time does no harm: it is a restore like the first
  await stopped(third)
  expect(await run("src/restored.ts", database, onTestFinished)).toMatchObject({ code: 0, stderr: "" })
}, 2 * patience)

it("needs a restored database, and says so in one line", async ({ onTestFinished }) => {
  const place: Place = testDatabaseUrl === undefined
    ? { DATA_DIR: await emptyDataDir(onTestFinished) }
    : { DATABASE_URL: (await emptyDatabase(onTestFinished)).url, DATA_DIR: emptyDirectory(onTestFinished) }
  const told = await run("src/restored.ts", place, onTestFinished)
  const variable = testDatabaseUrl === undefined ? "DATA_DIR" : "DATABASE_URL"
  expect(told).toMatchObject({
    code: 1,
    stderr: `${variable}: the database has no tables of this server; a backup is restored first (42P01)\n`
  })
}, patience)
