import { readdirSync } from "node:fs"
/** The real program starts, stops, is killed and starts again, alone and beside others; nothing that it answered is lost. */
import { execFileSync } from "node:child_process"
import { Agent, get } from "node:http"
import process from "node:process"
import { describe, expect, it } from "vitest"
import { freePort } from "../../scripts/cluster/Processes.ts"
import { converse, head, headerIn, send } from "../http/exchange.ts"
import { expectProblem } from "../support/expect.ts"
import type { Account, Answer } from "../support/TestServer.ts"
import { having, newId, type TaskAnswer } from "../tasks/families.ts"
import { connectTo, emptyDatabase, testDatabaseUrl } from "./postgres.ts"
import { emptyDirectory, emptyPlace, launch, patience, type Program, run, start } from "./program.ts"

/** Several starts and stops, beside those of the other tests. */
const timeout = 2 * patience

const isEmbedded = testDatabaseUrl === undefined

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Waits until it is so; the test's own limit ends the wait. */
const until = async (isSo: () => Promise<boolean>): Promise<void> => {
  while (!await isSo()) await pause(50)
}

const create = async (program: Program, account: Account, task: Record<string, unknown>): Promise<TaskAnswer> =>
  having(201, await program.request("POST", "/api/v1/tasks", { token: account.access_token, body: task })).json

/** Every task of the account by its id, from all pages. */
const tasksOf = async (program: Program, account: Account): Promise<Map<string, TaskAnswer>> => {
  const tasks = new Map<string, TaskAnswer>()
  for (let path: string | undefined = "/api/v1/tasks?limit=50"; path !== undefined;) {
    const page: Answer = having(200, await program.request("GET", path, { token: account.access_token }))
    for (const task of page.json) tasks.set(task.id, task)
    const next: string | undefined = /^<([^<>]+)>; rel="next"$/.exec(page.headers.get("link") ?? "")?.[1]
    path = next === undefined ? undefined : new URL(next, program.url).href.slice(program.url.length)
  }
  return tasks
}

/** Asks again and again on one connection that is kept, as long as the server keeps it; how long an answer took at most. */
const askWhileKept = async (program: Program, path: string, account: Account) => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const statuses: Array<number> = []
  const ask = () =>
    new Promise<string | undefined>((resolve, reject) => {
      get(program.url + path, { agent, headers: { authorization: `Bearer ${account.access_token}` } }, (answer) => {
        statuses.push(answer.statusCode ?? 0)
        answer.on("error", reject).on("end", () => resolve(answer.headers.connection)).resume()
      }).on("error", reject)
    })
  let longest = 0
  for (let isKept = true; isKept;) {
    const begin = performance.now()
    isKept = await ask() !== "close"
    longest = Math.max(longest, performance.now() - begin)
  }
  agent.destroy()
  return { statuses, longest }
}

/** With the time that production gives load balancers before it closes its door. */
const productionOf = (place: Record<string, string>) => ({
  ...place,
  APP_ENV: "production",
  JWT_SECRET: "Zk3vQ9pLw7Rt2XyB5nMc8HdJf4Gs6UaE",
  PUBLIC_URL: "https://tasks.example.com",
  REQUIRE_HTTPS: "false"
})

const isAnswering = (program: Program): Promise<boolean> =>
  program.request("GET", "/health/live").then(() => true, () => false)

/** How many times each migration was applied, by the log of those who applied it. */
const appliedBy = (processes: ReadonlyArray<Pick<Program, "lines">>): Record<string, number> => {
  const times: Record<string, number> = {}
  for (const { annotations, message } of processes.flatMap((process) => process.lines())) {
    const name = annotations["name"]
    if (message === "migrated" && typeof name === "string") times[name] = (times[name] ?? 0) + 1
  }
  return times
}

const migrations = readdirSync(new URL("../../migrations", import.meta.url)).sort()
  .map((file) => file.replace(/^\d+_|\.ts$/g, ""))
const allOnce = Object.fromEntries(migrations.map((name) => [name, 1]))

// starting and stopping is waiting for the most part, so the tests wait together, the longest first
describe.concurrent("the end of a process", { timeout }, () => {
  it("F11 is at most 25 s away, whatever its clients do, and 0 all the same", async ({ onTestFinished }) => {
    const program = await start(productionOf(await emptyPlace(onTestFinished)), onTestFinished)
    const partial = ["", "GET /health/live HTTP/1.1\r\nHost: a\r\n", head("GET /health/live", "Host: a") + "GET /"]
    const login = head(
      "POST /api/v1/auth/login",
      "Host: a",
      "Content-Type: application/json",
      "Content-Length: 100"
    ) + "{"
    const clients = [...partial, login].map((bytes) =>
      converse(program, (socket) => void socket.write(bytes), patience)
    )
    await pause(300)
    const begin = performance.now()
    program.kill("SIGTERM")
    expect(await program.ended).toMatchObject({ code: 0, stderr: "" })
    // Kubernetes kills after 30 s
    expect(performance.now() - begin).toBeLessThan(25_000)
    for (const { closed } of await Promise.all(clients)) expect(closed).toBe(true)
  })

  it("F11 leaves nobody who asks on a connection that is kept without an answer for over 1 s", async ({ onTestFinished }) => {
    const program = await start(productionOf(await emptyPlace(onTestFinished)), onTestFinished)
    const user = await program.register()
    const busy = Array.from({ length: 4 }, () => askWhileKept(program, "/api/v1/auth/me", user))
    await pause(300)
    program.kill("SIGTERM")
    await program.logged("draining")
    // those who come while load balancers are told, too
    const late = Array.from({ length: 4 }, () => askWhileKept(program, "/health/live", user))
    for (const { longest, statuses } of await Promise.all([...busy, ...late])) {
      expect(statuses.length).toBeGreaterThan(0)
      expect([...new Set(statuses)].filter((status) => status !== 200 && status !== 429)).toEqual([])
      expect(longest).toBeLessThan(1_000)
    }
    expect(await program.ended).toMatchObject({ code: 0, stderr: "" })
  })

  it("R71 F11 answers what was begun, and asks clients to go elsewhere", async ({ onTestFinished }) => {
    const place = await emptyPlace(onTestFinished)
    const program = await start(place, onTestFinished)
    const user = await program.register()
    expect((await program.request("GET", "/health/ready")).status).toBe(200)

    const body = JSON.stringify({ title: "Begun before the end" })
    let sendRest = () => {}
    const slow = converse(program, (socket) => {
      const headers = [
        "Host: a",
        `Authorization: Bearer ${user.access_token}`,
        "Content-Type: application/json",
        `Content-Length: ${body.length}`
      ]
      socket.write(head("POST /api/v1/tasks", ...headers) + body.slice(0, 5))
      sendRest = () => void socket.write(body.slice(5))
    }, patience)
    const idle = converse(program, (socket) => void socket.write(head("GET /health/live", "Host: a")), patience)
    const busy = Array.from({ length: 4 }, () => askWhileKept(program, "/api/v1/tasks", user))
    await pause(300)

    program.kill("SIGTERM")
    await program.logged("draining")
    // at once: in development draining takes a second
    const [ready, live, list] = await Promise.all([
      program.request("GET", "/health/ready"),
      program.request("GET", "/health/live"),
      program.request("GET", "/api/v1/tasks", { token: user.access_token })
    ])
    expectProblem(ready, 503, "overloaded")
    expect([live.status, list.status]).toEqual([200, 200])
    for (const answer of [ready, live, list]) expect(answer.headers.get("connection")).toBe("close")
    for (const { statuses } of await Promise.all(busy)) expect(new Set(statuses)).toEqual(new Set([200]))

    // whoever is impatient asks twice: what was begun is answered all the same
    program.kill("SIGINT")
    await until(async () => !await isAnswering(program))
    await pause(1_000)
    sendRest()
    const begin = performance.now()
    const answered = await slow
    expect(answered.statuses).toEqual([201])
    expect(headerIn(answered.text, "connection")).toBe("close")
    expect(await program.ended).toMatchObject({ code: 0, stderr: "" })
    // the connection that was kept and silent did not hold it for the 20 s that a busy one may
    expect(performance.now() - begin).toBeLessThan(10_000)
    expect(await idle).toMatchObject({ statuses: [200], closed: true })

    const next = await start(place, onTestFinished)
    expect([...(await tasksOf(next, user)).values()]).toEqual([JSON.parse(answered.text.split("\r\n\r\n")[1] ?? "")])
  })

  it("by SIGTERM or SIGINT loses nothing", async ({ onTestFinished }) => {
    // without JWT_SECRET, where that is allowed: the secret that was generated must be found again
    const place = await emptyPlace(onTestFinished)
    const program = await start(place, onTestFinished)
    const user = await program.register()
    await create(program, user, { title: "Buy milk" })
    await create(program, user, { title: "Call Ann", description: "about it", priority: "high", tags: ["a", "b"] })
    const tasks = await tasksOf(program, user)
    expect(tasks.size).toBe(2)
    program.kill("SIGTERM")
    expect(await program.ended).toMatchObject({ code: 0, signal: null, stderr: "" })

    const next = await start(place, onTestFinished)
    expect(await tasksOf(next, user)).toEqual(tasks)
    expect(appliedBy([next])).toEqual({})
    const refreshed = await next.request("POST", "/api/v1/auth/refresh", {
      body: { refresh_token: user.refresh_token }
    })
    const me = await next.request("GET", "/api/v1/auth/me", { token: having(200, refreshed).json.access_token })
    expect(having(200, me).json.id).toBe(user.id)
    expect((await create(next, user, { title: "After it" })).version).toBe(3)
    next.kill("SIGINT")
    expect(await next.ended).toMatchObject({ code: 0, signal: null, stderr: "" })
  })

  it("by SIGKILL under load loses nothing that was answered, and repeats nothing", async ({ onTestFinished }) => {
    const place = await emptyPlace(onTestFinished)
    let program = await start(place, onTestFinished)
    const users = [await program.register(), await program.register()]
    const stored = new Map(users.map((user) => [user, new Map<string, TaskAnswer>()]))

    for (let round = 1; round <= 3; round++) {
      const unanswered: Array<readonly [Account, { readonly id: string; readonly title: string }]> = []
      let answers = 0
      const write = async (user: Account) => {
        for (;;) {
          const task = { id: newId(), title: `Written in round ${round}` }
          const request = program.request("POST", "/api/v1/tasks", { token: user.access_token, body: task })
          const answer = await request.catch(() => undefined)
          if (answer === undefined) return unanswered.push([user, task])
          stored.get(user)?.set(task.id, having(201, answer).json)
          if (++answers === 60) program.kill("SIGKILL")
        }
      }
      await Promise.all([...users, ...users, ...users].map(write))
      expect(answers).toBeGreaterThanOrEqual(60)
      expect(await program.ended).toMatchObject({ code: null, signal: "SIGKILL" })

      program = await start(place, onTestFinished)
      for (const [user, tasks] of stored) {
        const found = await tasksOf(program, user)
        for (const task of tasks.values()) expect(found.get(task.id)).toEqual(task)
      }
      // whoever got no answer asks again, and the task is there once
      for (const [user, task] of unanswered) {
        const answer = await program.request("POST", "/api/v1/tasks", { token: user.access_token, body: task })
        expect([200, 201], answer.text).toContain(answer.status)
        stored.get(user)?.set(task.id, answer.json)
      }
      for (const [user, tasks] of stored) {
        const found = await tasksOf(program, user)
        expect(found).toEqual(new Map([...found.keys()].map((id) => [id, tasks.get(id)])))
        expect(found.size).toBe(tasks.size)
        const versions = [...found.values()].map((task) => task.version).sort((a, b) => a - b)
        expect(versions).toEqual(versions.map((_, at) => at + 1))
      }
    }
  })
})

describe.concurrent("the start of a process", { timeout }, () => {
  it.skipIf(isEmbedded)(
    "F13 of eight on an empty database waits for a migrator as long as it takes, and migrates once",
    async ({ onTestFinished }) => {
      const db = await emptyDatabase(onTestFinished)
      const watch = connectTo(db.url, onTestFinished)
      const env = {
        PORT: "0",
        DATABASE_URL: db.url,
        DATA_DIR: emptyDirectory(onTestFinished),
        JWT_SECRET: "Zk3vQ9pLw7Rt2XyB5nMc8HdJf4Gs6UaE",
        DATABASE_POOL_SIZE: "2"
      }
      const waiting = async (...types: ReadonlyArray<string>) => {
        const [row] = await watch.sql<{ count: number }>(
          `select count(*)::int as count from pg_locks where not granted and locktype = any($1)
             and pid in (select pid from pg_stat_activity where datname = current_database())`,
          [types]
        )
        return row?.count
      }

      // a migrator is killed in the middle, where the table that it makes next waits for another one of that name
      await db.sql("begin")
      await db.sql("create table users ()")
      const killed = launch("src/main.ts", env, onTestFinished)
      await until(async () => await waiting("transactionid") === 1)
      const locks = await watch.sql<{ key: string }>(
        `select ((classid::bigint << 32) | objid::bigint)::text as key from pg_locks
           where locktype = 'advisory' and granted
             and database = (select oid from pg_database where datname = current_database())`
      )
      expect(locks).toHaveLength(1)
      killed.kill("SIGKILL")
      await killed.ended
      await db.sql("rollback")

      // another one takes longer than any statement of a request may
      await db.sql("select pg_advisory_lock($1::bigint)", [locks[0]?.key])
      let listening = 0
      const starting = Promise.all(Array.from({ length: 8 }, () =>
        start(env, onTestFinished).then((program) => {
          listening++
          return program
        })))
      const stopped = launch("src/main.ts", env, onTestFinished)
      await Promise.race([starting, until(async () => await waiting("advisory") === 9)])
      // a wait that has no limit must not hold a process that is told to stop
      stopped.kill("SIGTERM")
      expect(await Promise.race([stopped.ended, pause(15_000)])).toMatchObject({ code: 0, stderr: "" })
      await Promise.race([starting, pause(5_500)])
      expect(listening).toBe(0)
      expect(await waiting("advisory")).toBe(8)
      await db.sql("select pg_advisory_unlock($1::bigint)", [locks[0]?.key])

      const programs = await starting
      for (const program of programs) {
        expect((await program.request("GET", "/health/ready")).status).toBe(200)
      }
      expect(appliedBy([killed, stopped, ...programs])).toEqual(allOnce)
      expect(await db.sql("select migration_id, name from schema_migrations order by migration_id")).toEqual(
        migrations.map((name, index) => ({ migration_id: index + 1, name }))
      )

      // F14 while a newer version replaces this one, its schema is there first
      await db.sql("insert into schema_migrations (migration_id, name) values (9999, 'of_a_newer_version')")
      const [one, older] = [programs[0], await start(env, onTestFinished)]
      const user = await older.register()
      const task = await create(older, user, { title: "Seen by all" })
      expect(one && (await tasksOf(one, user)).get(task.id)).toEqual(task)
    }
  )

  it.runIf(isEmbedded)(
    "is refused on a DATA_DIR in use, and goes on where a killed one was",
    async ({ onTestFinished }) => {
      const place = await emptyPlace(onTestFinished)
      const first = await start(place, onTestFinished)
      const user = await first.register()
      for (const script of ["src/main.ts", "src/migrate.ts"]) {
        const second = launch(script, { PORT: "0", ...place }, onTestFinished)
        expect(await Promise.race([second.ended, second.logged("listening").catch(() => second.ended)])).toMatchObject({
          code: 1,
          stdout: "",
          stderr: `DATA_DIR: ${place["DATA_DIR"]} is in use by another process\n`
        })
      }
      await create(first, user, { title: "The first one goes on" })
      const tasks = await tasksOf(first, user)
      first.kill("SIGKILL")
      await first.ended
      const next = await start(place, onTestFinished)
      expect(await tasksOf(next, user)).toEqual(tasks)
      // and holds the directory as the first one did
      expect(await run("src/migrate.ts", place, onTestFinished)).toMatchObject({ code: 1, stdout: "" })
      expect((await tasksOf(next, user)).size).toBe(1)
    }
  )

  it("answers every request that it accepts, also those of its first milliseconds", async ({ onTestFinished }) => {
    const port = await freePort()
    const program = launch("src/main.ts", { PORT: String(port), ...await emptyPlace(onTestFinished) }, onTestFinished)
    const url = `http://127.0.0.1:${port}`
    const asked: Array<Promise<number | string>> = []
    const notOpen = (error: NodeJS.ErrnoException) => error.code === "ECONNREFUSED" ? 0 : String(error)
    let isListening = false
    program.logged("listening").then(() => isListening = true, () => isListening = true)
    while (!isListening) {
      asked.push(send({ url }, "GET", "/health/live").then(({ status }) => status, notOpen))
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    asked.push(send({ url }, "GET", "/health/live").then(({ status }) => status))
    // 0: the port was not open yet
    expect([...new Set(await Promise.all(asked))].sort()).toEqual([0, 200])
  })

  it.skipIf(isEmbedded)(
    "of WORKERS shares one port, migrates once, replaces one that is killed, and ends all of them with 0",
    async ({ onTestFinished }) => {
      const env = { ...await emptyPlace(onTestFinished), WORKERS: "3", PORT: "0" }
      const supervisor = launch("src/main.ts", env, onTestFinished)
      const listening = () => supervisor.lines().filter(({ message }) => message === "listening")
      const until = async (count: number) => {
        while (listening().length < count) await new Promise((resolve) => setTimeout(resolve, 50))
      }
      await until(3)
      expect(appliedBy([supervisor])).toEqual(allOnce)
      const [url = "", ...others] = new Set(listening().map(({ annotations }) => String(annotations["address"])))
      expect(others).toEqual([])
      const user = having(
        201,
        await send({ url }, "POST", "/api/v1/auth/register", {
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ email: "ada@example.com", password: "lantern orbit 47 velvet" })
        })
      ).json
      const me = () =>
        send({ url }, "GET", "/api/v1/auth/me", { headers: { authorization: `Bearer ${user.access_token}` } })
      const ask = async () => (await Promise.all(Array.from({ length: 30 }, me))).map(({ status }) => status)
      expect(new Set(await ask())).toEqual(new Set([200]))

      // one that ends at once would have a fault that another start repeats
      await new Promise((resolve) => setTimeout(resolve, 5_500))
      const workers = execFileSync("ps", ["-o", "pid=", "--ppid", String(supervisor.pid)]).toString().trim().split(
        /\s+/
      )
      expect(workers).toHaveLength(3)
      process.kill(Number(workers[0]), "SIGKILL")
      await until(4)
      expect(new Set(await ask())).toEqual(new Set([200]))

      supervisor.kill("SIGTERM")
      expect(await supervisor.ended).toMatchObject({ code: 0, stderr: "" })
      await expect(me()).rejects.toThrow()
    }
  )

  it("finds the schema that src/migrate.ts made", async ({ onTestFinished }) => {
    const place = await emptyPlace(onTestFinished)
    // it signs nothing: the database is all that it has to know, and other settings are not its to judge
    const { JWT_SECRET: _, ...database } = place
    const migrate = async () => {
      const process = launch("src/migrate.ts", { ...database, APP_ENV: "production", PORT: "none" }, onTestFinished)
      expect(await process.ended).toMatchObject({ code: 0, signal: null, stderr: "" })
      return process
    }
    // the embedded database is for one process
    const together = await Promise.all(Array.from({ length: isEmbedded ? 1 : 3 }, migrate))
    expect(appliedBy(together)).toEqual(allOnce)
    const count = (process: Pick<Program, "lines">) => process.lines().at(-1)?.annotations["applied"]
    expect(together.map(count).sort()).toEqual(isEmbedded ? [migrations.length] : [0, 0, migrations.length])
    const again = await migrate()
    expect(again.lines()).toHaveLength(1)
    expect(count(again)).toBe(0)

    const program = await start(place, onTestFinished)
    expect(appliedBy([program])).toEqual({})
    await create(program, await program.register(), { title: "The schema is complete" })
  })
})
