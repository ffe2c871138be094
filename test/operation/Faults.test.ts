/** The database fails in the ways that databases fail, and the real program goes on without a restart. */
import { randomBytes } from "node:crypto"
import { type AddressInfo, createServer } from "node:net"
import { afterEach, beforeAll, describe, expect, it } from "vitest"
import { freePort } from "../../scripts/cluster/Processes.ts"
import { size } from "../faults/sizes.ts"
import { expectProblem } from "../support/expect.ts"
import { expectWholePool } from "../support/pool.ts"
import type { Account, Answer } from "../support/TestServer.ts"
import { having, newId } from "../tasks/families.ts"
import { connectTo, emptyDatabase, type Proxy, startProxy, type TestDatabase, testDatabaseUrl } from "./postgres.ts"
import {
  emptyDirectory,
  type Ending,
  type Finished,
  patience,
  type Program,
  run,
  start,
  useFinished
} from "./program.ts"

const atTheEnd = useFinished()

const JWT_SECRET = randomBytes(32).toString("hex")
const poolSize = 4

/** The handler's limit is 10 s; what is added is for a machine that is busy with other tests. */
const bounded = 14_000
/** A load balancer asks every few seconds: readiness is told sooner than a request gives up. */
const boundedReadiness = 6_000

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

interface Timed {
  readonly answer: Answer
  readonly ms: number
}

const timed = async (answering: Promise<Answer>): Promise<Timed> => {
  const begin = performance.now()
  return { answer: await answering, ms: performance.now() - begin }
}

const expectRetryLater = ({ answer, ms }: Timed, code: "database_unavailable" | "overloaded", limit = bounded) => {
  expectProblem(answer, 503, code)
  expect(answer.headers.get("retry-after")).toMatch(/^[1-9]\d*$/)
  expect(ms).toBeLessThan(limit)
}

/** Asks until the answer is a 200, as a client that was told to come back does. */
const recovered = async (ask: () => Promise<Answer>): Promise<Answer> => {
  const until = Date.now() + 10_000
  for (;;) {
    const answer = await ask()
    if (answer.status === 200) return answer
    expect(answer.status, answer.text).toBe(503)
    if (Date.now() > until) throw new Error(`not recovered after 10 s: ${answer.text}`)
    await pause(100)
  }
}

describe.skipIf(testDatabaseUrl === undefined)(
  "with a PostgreSQL server (TEST_DATABASE_URL; the embedded database has no network to lose)",
  () => {
    let db: TestDatabase
    let proxy: Proxy
    let server: Program
    let user: Account

    beforeAll(async () => {
      db = await emptyDatabase(atTheEnd)
      proxy = await startProxy(db.url, atTheEnd)
      server = await start({
        DATABASE_URL: proxy.url,
        DATABASE_POOL_SIZE: String(poolSize),
        DATA_DIR: emptyDirectory(atTheEnd),
        JWT_SECRET
      }, atTheEnd)
      user = await server.register()
    }, patience)

    afterEach(() => proxy.restore())

    const get = (path: string, account = user) => server.request("GET", path, { token: account.access_token })
    const login = () =>
      server.request("POST", "/api/v1/auth/login", { body: { email: user.email, password: user.password } })

    const refresh = (token: string) =>
      server.request("POST", "/api/v1/auth/refresh", { body: { refresh_token: token } })
    const create = (id: string, account = user) =>
      server.request("POST", "/api/v1/tasks", { token: account.access_token, body: { id, title: id } })

    const storedOf = async (account: Account): Promise<Array<string>> =>
      (await db.sql<{ id: string }>("select id from tasks where user_id = $1", [account.id])).map(({ id }) => id)

    const isReachable = async () => {
      having(200, await recovered(() => get("/health/ready")))
      having(200, await recovered(() => get("/api/v1/tasks")))
      having(201, await create(newId()))
      expect(server.lines().filter(({ message }) => message === "defect")).toEqual([])
    }

    const waiting = async () =>
      (await db.sql(
        "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
      )).length

    /** Without the one that listens. */
    const sessionsOfPool = async () =>
      (await db.sql(
        `select 1 from pg_stat_activity
         where datname = current_database() and application_name = 'tasks-api' and query not like 'LISTEN%'`
      )).length

    /** Ends every session of the server with its database, as a failover or an administrator does. */
    const endSessions = () =>
      db.sql(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'tasks-api'`
      )

    /**
     * Keeps clients busy while something happens. A client that is told to come back sends the same request again;
     * whatever else but success it is told, fails the test.
     */
    const underLoad = async (happening: () => Promise<void>) => {
      let over = false
      const acknowledged: Array<string> = []
      let refused = 0
      const insist = async (ask: () => Promise<Answer>): Promise<Answer | undefined> => {
        for (;;) {
          const answer = await ask()
          if (answer.status < 300) return answer
          expectProblem(answer, 503, answer.json.code)
          expect(["database_unavailable", "overloaded"]).toContain(answer.json.code)
          expect(answer.headers.get("retry-after")).toMatch(/^[1-9]\d*$/)
          refused++
          if (over) return undefined
          await pause(20)
        }
      }
      const writer = async () => {
        while (!over) {
          const id = newId()
          if (await insist(() => create(id)) !== undefined) acknowledged.push(id)
        }
      }
      const reader = async () => {
        while (!over) await insist(() => get("/api/v1/tasks?limit=1"))
      }
      const session = async ({ email, password }: Account) => {
        while (!over) {
          const login = () => server.request("POST", "/api/v1/auth/login", { body: { email, password } })
          const { refresh_token } = (await insist(login))?.json ?? {}
          for (let token = refresh_token, turn = 0; token !== undefined && turn < 5; turn++) {
            // a spent token that is sent again because the answer was lost gets the same successor
            token = (await insist(() => refresh(token)))?.json.refresh_token
          }
        }
      }
      // accounts of their own, because the 21st login ends the first
      const others = [await server.register(), await server.register()]
      const clients = Promise.all([writer(), writer(), writer(), reader(), reader(), ...others.map(session)])
      // clients that fail must not outlive the test
      clients.catch(() => {
        over = true
      })
      try {
        await happening()
      } finally {
        over = true
      }
      await clients
      return { acknowledged, refused }
    }

    it("that refuses connections: every request is 503 and says when to come back, until it is back", async () => {
      await proxy.cut()
      const failed = await Promise.all([
        ...Array.from({ length: 3 * poolSize }, () => timed(get("/api/v1/tasks"))),
        timed(create(newId())),
        timed(login()),
        timed(refresh(user.refresh_token)),
        timed(server.request("POST", "/api/v1/auth/register", {
          body: { email: "nobody@example.com", password: user.password }
        }))
      ])
      for (const one of failed) expectRetryLater(one, "database_unavailable")
      for (const path of ["/health/ready", "/health"]) {
        expectRetryLater(await timed(get(path)), "database_unavailable", boundedReadiness)
      }
      having(200, await get("/health/live"))
      await proxy.restore()
      await isReachable()
    }, patience)

    it("F4 behind a network that loses everything: no request waits longer than it may", async () => {
      // connections that are open already are the ones that nobody tells of the loss
      await Promise.all(Array.from({ length: 2 * poolSize }, () => get("/api/v1/tasks")))
      proxy.hold()
      const ready = timed(get("/health/ready"))
      const asked = Array.from({ length: 3 * poolSize }, () => timed(get("/api/v1/tasks")))
      having(200, await get("/health/live"))
      expectRetryLater(await ready, "database_unavailable", boundedReadiness)
      for (const { answer, ms } of await Promise.all(asked)) {
        expectRetryLater({ answer, ms }, answer.json.code === "overloaded" ? "overloaded" : "database_unavailable")
      }
      await proxy.restore()
      await isReachable()
    }, patience)

    it("F3 whose answer is lost after the work is done: asking again does it once", async ({ onTestFinished }) => {
      const holder = connectTo(db.url, onTestFinished)
      const account = await server.register()
      const id = newId()
      const generation = async () =>
        (await db.sql<{ generation: number }>("select generation from sessions where user_id = $1", [account.id]))[0]
          ?.generation
      await holder.sql("begin")
      await holder.sql("select 1 from user_sequences where user_id = $1 for update", [account.id])
      await holder.sql("select 1 from sessions where user_id = $1 for no key update", [account.id])
      const asked = [timed(create(id, account)), timed(refresh(account.refresh_token))]
      while ((await waiting()) < asked.length) await pause(10)
      proxy.loseAnswers()
      await holder.sql("rollback")
      while ((await storedOf(account)).length === 0 || (await generation()) === 0) await pause(10)
      await proxy.restore()
      for (const one of await Promise.all(asked)) expectRetryLater(one, "database_unavailable")

      having(200, await recovered(() => create(id, account)))
      expect(await storedOf(account)).toEqual([id])
      const [first, second] = [await refresh(account.refresh_token), await refresh(account.refresh_token)]
      expect(having(200, second).json.refresh_token).toBe(having(200, first).json.refresh_token)
      expect(await generation()).toBe(1)
      having(200, await refresh(first.json.refresh_token))
    }, patience)

    it("F3 that ends sessions in the middle of statements and transactions: 503", async ({ onTestFinished }) => {
      const holder = connectTo(db.url, onTestFinished)
      const id = newId()
      await holder.sql("begin")
      await holder.sql("select 1 from user_sequences where user_id = $1 for update", [user.id])
      await holder.sql("select 1 from users where id = $1 for update", [user.id])
      const asked = [timed(create(id)), timed(login())]
      while ((await waiting()) < asked.length) await pause(10)
      await endSessions()
      for (const one of await Promise.all(asked)) expectRetryLater(one, "database_unavailable")
      await holder.sql("rollback")
      await isReachable()
      expect(await storedOf(user)).not.toContain(id)
    }, patience)

    it(
      "F2 that ends every session under load: 503 or success, and nothing acknowledged is lost",
      async ({ onTestFinished }) => {
        const { acknowledged, refused } = await underLoad(async () => {
          for (let round = 0; round < size(15, 300); round++) {
            await pause(size(150, 200))
            await endSessions()
          }
        })
        expect(refused).toBeGreaterThan(0)
        expect(acknowledged.length).toBeGreaterThan(0)
        expect(await storedOf(user)).toEqual(expect.arrayContaining(acknowledged))
        await isReachable()
        // as many as before, and all of them can be had
        const users = await Promise.all(Array.from({ length: 2 * poolSize }, () => server.register()))
        await expectWholePool(db.url, server, users, poolSize, onTestFinished)
        expect(await sessionsOfPool()).toBe(poolSize)
      },
      3 * patience
    )

    it("F1 that is away for a moment under load: 503 or success, and nothing acknowledged is lost", async () => {
      const { acknowledged, refused } = await underLoad(async () => {
        for (let round = 0; round < 3; round++) {
          await pause(200)
          await proxy.cut()
          await pause(200)
          await proxy.restore()
        }
        await pause(300)
      })
      expect(refused).toBeGreaterThan(0)
      expect(acknowledged.length).toBeGreaterThan(0)
      expect(await storedOf(user)).toEqual(expect.arrayContaining(acknowledged))
      await isReachable()
    }, patience)

    it("F7 that takes no writes: they are 503, reads go on", async () => {
      const [{ name } = { name: "" }] = await db.sql<{ name: string }>("select current_database() as name")
      await db.sql(`alter database ${name} set default_transaction_read_only = on`)
      await endSessions()
      having(200, await recovered(() => get("/api/v1/tasks")))
      const id = newId()
      expectRetryLater(await timed(create(id)), "database_unavailable")
      expectRetryLater(await timed(login()), "database_unavailable")
      await db.sql(`alter database ${name} reset default_transaction_read_only`)
      await endSessions()
      await isReachable()
      expect(await storedOf(user)).not.toContain(id)
    }, patience)

    it("F6 F9 whose rows and tables others hold: a bounded wait, then 503", async ({ onTestFinished }) => {
      const holder = connectTo(db.url, onTestFinished)
      const other = await server.register()
      const id = newId()
      await holder.sql("begin")
      await holder.sql("select 1 from user_sequences where user_id = $1 for update", [user.id])
      expectRetryLater(await timed(create(id)), "overloaded")
      // one user's lock is nobody else's
      having(201, await create(newId(), other))
      having(200, await get("/api/v1/tasks"))

      // reads and writes, more than there are connections: those that wait for one are bounded too
      const others = await Promise.all(Array.from({ length: 2 * poolSize }, () => server.register()))
      await holder.sql("lock table tasks in access exclusive mode")
      const locked = performance.now()
      do {
        const asked = others.flatMap((one) => [timed(get("/api/v1/tasks", one)), timed(create(newId(), one))])
        having(200, await get("/health/live"))
        for (const one of await Promise.all(asked)) expectRetryLater(one, "overloaded")
        // none of them is left where the next ones come
        await expect.poll(waiting, { timeout: 3_000 }).toBe(0)
      } while (performance.now() - locked < size(0, 10_000))

      await holder.sql("rollback")
      await isReachable()
      expect(await storedOf(user)).not.toContain(id)
      having(201, await create(id))
      // it was the limit of locks that ended the waits, or that of the pool, well before that of statements
      const busy = server.lines().filter(({ message }) => message === "the database is busy").map((line) =>
        JSON.stringify(line)
      )
      expect(busy.filter((line) => line.includes("lock timeout")).length).toBeGreaterThan(0)
      for (const line of busy) expect(line).toMatch(/lock timeout|no session of the pool/)
    }, patience)

    it("F6 whose connections are all in use: who waits for one is 503 after 2 s, until there is one", async () => {
      await db.sql(
        `create function sleep() returns trigger language plpgsql as 'begin perform pg_sleep(4.5); return new; end'`
      )
      await db.sql(
        "create trigger sleep before insert on tasks for each row when (new.title = 'sleep') " +
          "execute function sleep()"
      )
      // one of four connections is for reads; writes of one user would wait for each other
      const users = await Promise.all(Array.from({ length: 3 * poolSize }, () => server.register()))
      const [waiter = user, ...others] = users
      const holders = others.slice(0, poolSize - 1).map(({ access_token: token }) =>
        server.request("POST", "/api/v1/tasks", { token, body: { title: "sleep" } })
      )
      const sleeping = async () =>
        (await db.sql("select 1 from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"))
          .length
      while ((await sleeping()) < holders.length) await pause(10)
      const asked = [
        timed(create(newId(), waiter)),
        timed(login()),
        ...others.slice(poolSize).map((one) => timed(create(newId(), one)))
      ]
      const ready = timed(get("/health/ready"))
      having(200, await get("/health/live"))
      having(200, await get("/api/v1/changes", waiter))
      for (const one of await Promise.all(asked)) {
        expectRetryLater(one, "overloaded")
        // 0.3 s at the top are what the row allows; the second is for a machine that is busy with other tests
        expect(one.ms).toBeGreaterThan(1_700)
        expect(one.ms).toBeLessThan(3_300)
      }
      expectRetryLater(await ready, "database_unavailable", boundedReadiness)
      for (const one of holders) having(201, await one)
      await isReachable()
    }, patience)

    it("with fewer connections than there are requests: they take turns", async () => {
      const answers = await Promise.all(
        Array.from({ length: 10 * poolSize }, (_, at) => at % 2 === 0 ? create(newId()) : get("/api/v1/tasks?limit=1"))
      )
      expect([...new Set(answers.map(({ status }) => status))].sort()).toEqual([200, 201])
      expect(await sessionsOfPool()).toBeLessThanOrEqual(poolSize)
    }, patience)
  }
)

describe.concurrent("a database that is away at the start", () => {
  const password = "hunter2-of-the-database"
  const settings = (finished: Finished, url: string) => {
    const away = new URL(url)
    away.password = password
    return { DATABASE_URL: away.href, DATA_DIR: emptyDirectory(finished), JWT_SECRET, PORT: "0" }
  }
  const expectOneLine = ({ code, stderr, stdout }: Ending) => {
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" })
    expect(stderr).toMatch(/^DATABASE_URL: [^\n]+\n$/)
    expect(stderr).not.toContain(password)
  }

  it.for(["src/main.ts", "src/migrate.ts"])("ends %s with 1 and one line", { timeout: patience }, async (
    script,
    { onTestFinished }
  ) => {
    const url = `postgres://app@127.0.0.1:${await freePort()}/tasks`
    expectOneLine(await run(script, settings(onTestFinished, url), onTestFinished))
  })

  it("ends it in bounded time when nothing answers", async ({ onTestFinished }) => {
    let begin = 0
    const silent = createServer().once("connection", () => begin = performance.now()).listen(0, "127.0.0.1")
    await new Promise((resolve) => silent.once("listening", resolve))
    onTestFinished(() => void silent.close())
    const { port } = silent.address() as AddressInfo
    const url = `postgres://app@127.0.0.1:${port}/tasks`
    expectOneLine(await run("src/main.ts", settings(onTestFinished, url), onTestFinished))
    // 5 s for the connection, the rest for a busy machine
    expect(begin).toBeGreaterThan(0)
    expect(performance.now() - begin).toBeLessThan(25_000)
  }, patience)

  it.for(["57P03", "53300"])("F8 ends it when the server takes no session for now (%s)", { timeout: patience }, async (
    code,
    { onTestFinished }
  ) => {
    // an ErrorResponse of the wire protocol, which is all that such a server says
    const fields = Buffer.from(`SFATAL\0VFATAL\0C${code}\0Mnot now\0\0`)
    const message = Buffer.concat([Buffer.from("E"), Buffer.alloc(4), fields])
    message.writeInt32BE(4 + fields.length, 1)
    const busy = createServer((socket) => socket.on("error", () => {}).once("data", () => socket.end(message)))
      .listen(0, "127.0.0.1")
    await new Promise((resolve) => busy.once("listening", resolve))
    onTestFinished(() => void busy.close())
    const { port } = busy.address() as AddressInfo
    const url = `postgres://app@127.0.0.1:${port}/tasks?sslmode=disable`
    expectOneLine(await run("src/main.ts", settings(onTestFinished, url), onTestFinished))
  })

  it.skipIf(testDatabaseUrl === undefined)(
    "ends it when the server has no such database",
    async ({ onTestFinished }) => {
      const url = new URL(testDatabaseUrl ?? "postgres://")
      url.pathname = "/no_such_database"
      expectOneLine(await run("src/main.ts", settings(onTestFinished, url.href), onTestFinished))
    },
    patience
  )
})
