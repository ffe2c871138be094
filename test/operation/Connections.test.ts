/** Connections to the database that others end, with a word or without, and a database that starts again. */
import { randomBytes } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { setTimeout as pause } from "node:timers/promises"
import { describe, expect, it } from "vitest"
import { expectWholePool } from "../support/pool.ts"
import type { Account, Answer } from "../support/TestServer.ts"
import { having, newId } from "../tasks/families.ts"
import { startProxy } from "./postgres.ts"
import { emptyDirectory, type Finished, patience, type Program, start } from "./program.ts"
import { type Cluster, hasPostgres, startCluster } from "./servers.ts"

const poolSize = 4
const JWT_SECRET = randomBytes(32).toString("hex")

const serverOf = (url: string, finished: Finished) =>
  start({
    DATABASE_URL: url,
    DATABASE_POOL_SIZE: String(poolSize),
    DATA_DIR: emptyDirectory(finished),
    JWT_SECRET
  }, finished)

const list = (server: Program, { access_token: token }: Account) =>
  server.request("GET", "/api/v1/tasks?limit=1", { token })
const create = (server: Program, { access_token: token }: Account, title = "a") =>
  server.request("POST", "/api/v1/tasks", { token, body: { title } })

/** Requests enough to open every connection that the server may have. */
const warm = async (server: Program, users: ReadonlyArray<Account>) => {
  for (const answer of await Promise.all(users.flatMap((user) => [create(server, user), list(server, user)]))) {
    expect([200, 201]).toContain(answer.status)
  }
}

const registered = (server: Program) => Promise.all(Array.from({ length: 2 * poolSize }, () => server.register()))

describe.skipIf(!hasPostgres)("connections to the database (PostgreSQL installed)", () => {
  it("that the server ends because they are idle cost no request, and no notice of another instance", async ({
    onTestFinished
  }) => {
    const cluster = await startCluster(onTestFinished, { settings: { idle_session_timeout: "700" } })
    const [server, other] = await Promise.all([
      serverOf(cluster.url, onTestFinished),
      serverOf(cluster.url, onTestFinished)
    ])
    const users = await registered(server)
    const [user = await server.register()] = users
    const stop = new AbortController()
    const stream = await fetch(`${other.url}/api/v1/changes/stream`, {
      headers: { authorization: `Bearer ${user.access_token}` },
      signal: stop.signal
    })
    const events = stream.body!.pipeThrough(new TextDecoderStream()).getReader()
    for (let round = 0; round < 3; round++) {
      await warm(server, users)
      await pause(1_200)
    }
    const title = newId()
    having(201, await create(server, user, title))
    const heard = (async () => {
      for (let text = ""; !text.includes(title);) {
        const { done, value } = await events.read()
        if (done) throw new Error(`the stream ended: ${text}`)
        text += value
      }
    })()
    // a heartbeat after 15 s would tell, too
    await Promise.race([heard, pause(5_000).then(() => Promise.reject(new Error("not woken")))])
    stop.abort()
    for (const one of [server, other]) {
      expect(one.lines().filter(({ level }) => level === "WARN" || level === "ERROR")).toEqual([])
    }
  }, patience)

  it("that a database ends when it starts again are opened again, and as many", async ({ onTestFinished }) => {
    const cluster: Cluster = await startCluster(onTestFinished)
    const server = await serverOf(cluster.url, onTestFinished)
    const users = await registered(server)
    const [user = await server.register()] = users
    await warm(server, users)
    const during: Array<Answer> = []
    const restarted = cluster.restart()
    let isOver = false
    restarted.then(() => (isOver = true))
    while (!isOver) during.push(await list(server, user), await create(server, user))
    for (const { status, text } of during) expect([200, 201, 503], text).toContain(status)
    await expect.poll(async () => (await create(server, user)).status, { timeout: 5_000 }).toBe(201)
    await warm(server, users)
    await expectWholePool(cluster.url, server, users, poolSize, onTestFinished)
    expect(server.lines().filter(({ message }) => message === "defect")).toEqual([])
  }, patience)

  it("that a network forgets without a word fail one request at most of each kind", async ({ onTestFinished }) => {
    const cluster = await startCluster(onTestFinished)
    const proxy = await startProxy(cluster.url, onTestFinished)
    const server = await serverOf(proxy.url, onTestFinished)
    const users = await registered(server)
    const [user = await server.register()] = users
    await warm(server, users)
    proxy.forget()
    for (const [ask, success] of [[list, 200], [create, 201]] as const) {
      const begin = performance.now()
      const first = await ask(server, user)
      expect([success, 503]).toContain(first.status)
      // the limit of a request, and what a busy machine adds
      expect(performance.now() - begin).toBeLessThan(14_000)
      for (let again = 0; again < 2 * poolSize; again++) having(success, await ask(server, user))
    }
    await expectWholePool(cluster.url, server, users, poolSize, onTestFinished)
  }, patience)

  it.skipIf(!existsSync("/proc/net/tcp"))("are kept alive by probes of TCP", async ({ onTestFinished }) => {
    const cluster = await startCluster(onTestFinished)
    const server = await serverOf(cluster.url, onTestFinished)
    await warm(server, await registered(server))
    const port = cluster.port.toString(16).toUpperCase().padStart(4, "0")
    const timers = () =>
      readFileSync("/proc/net/tcp", "utf8").split("\n").map((line) => line.trim().split(/\s+/))
        // established, to the database; the field after the queues is the timer, 2 that of probes
        .filter(([, , remote, state]) => state === "01" && remote?.endsWith(`:${port}`))
        .map((fields) => fields[5]?.slice(0, 2))
    expect(timers().length).toBeGreaterThanOrEqual(poolSize)
    await expect.poll(() => new Set(timers())).toEqual(new Set(["02"]))
  }, patience)
})
