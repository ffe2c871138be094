/** Clients that reset their connection anywhere in a request or an answer leave nothing behind that others would miss. */
import { randomBytes } from "node:crypto"
import { connect } from "node:net"
import { availableParallelism } from "node:os"
import process from "node:process"
import { hashSync } from "@node-rs/bcrypt"
import { beforeAll, describe, expect, it } from "vitest"
import { hashes } from "../auth/accounts.ts"
import { emptyDatabase, type TestDatabase, testDatabaseUrl } from "../operation/postgres.ts"
import { emptyDirectory, patience, type Program, start, useFinished } from "../operation/program.ts"
import { head } from "../http/exchange.ts"
import { expectProblem } from "../support/expect.ts"
import { expectWholePool } from "../support/pool.ts"
import type { Account } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import { handlesOf, pause, settled } from "./process.ts"
import { size } from "./sizes.ts"

const atTheEnd = useFinished()

const poolSize = 4
const threads = 8
/** So many passwords the server hashes at once: two threads are for others. */
const permits = Math.max(1, Math.min(availableParallelism(), threads - 2))

/** A hash, as an import may bring, that takes far longer to check than those that the server makes. */
const slowHash = hashSync("of an import", { cost: 13 })

const json = "Content-Type: application/json"

describe.skipIf(testDatabaseUrl === undefined || process.platform !== "linux")(
  "with a PostgreSQL server (TEST_DATABASE_URL; sockets are counted in /proc)",
  () => {
    let db: TestDatabase
    let server: Program
    let user: Account
    let others: ReadonlyArray<Account>

    beforeAll(async () => {
      db = await emptyDatabase(atTheEnd)
      const env = { DATABASE_URL: db.url, DATABASE_POOL_SIZE: String(poolSize), UV_THREADPOOL_SIZE: String(threads) }
      const secrets = { JWT_SECRET: randomBytes(32).toString("hex"), DATA_DIR: emptyDirectory(atTheEnd) }
      server = await start({ ...env, ...secrets }, atTheEnd)
      user = await server.register()
      others = await Promise.all(Array.from({ length: Math.max(2 * poolSize, permits + 1) }, server.register))
      await db.sql("update users set password_hash = $1 where id <> $2", [slowHash, user.id])
    }, patience)

    /** Writes so much of a request, reads so much of its answer, and resets the connection. */
    const broken = (bytes: Buffer, answered: number | undefined, after = 0) =>
      new Promise<void>((resolve) => {
        const { hostname, port } = new URL(server.url)
        let received = 0
        // one that waits for more than it gets goes away, too
        const timer = setTimeout(() => socket.resetAndDestroy(), 3_000)
        const socket = connect({ host: hostname, port: Number(port), noDelay: true }, () =>
          socket.write(bytes, () => {
            // at once, the server would never see what was sent
            if (answered === undefined) setTimeout(() => socket.resetAndDestroy(), after)
          }))
        socket.on("data", (chunk) => {
          received += chunk.length
          if (received >= (answered ?? 0)) socket.resetAndDestroy()
        })
        socket.on("error", () => {}).once("close", () => {
          clearTimeout(timer)
          resolve()
        })
      })

    /** Some at a time, so that requests of several clients are on their way whenever one goes. */
    const each = async (offsets: ReadonlyArray<number>, work: (offset: number) => Promise<void>) => {
      const left = [...offsets]
      const one = async () => {
        for (let offset = left.shift(); offset !== undefined; offset = left.shift()) await work(offset)
      }
      await Promise.all(Array.from({ length: 2 * poolSize }, one))
    }

    const offsetsOf = (length: number, step: number) =>
      Array.from({ length: Math.floor(length / step) + 1 }, (_, index) => Math.min(length, index * step))

    const sessions = async (state: string) =>
      (await db.sql(
        `select 1 from pg_stat_activity where datname = current_database() and application_name = 'tasks-api'
           and state like $1`,
        [state]
      )).length

    /** Every connection of the pool and every permit for hashing can be had again. */
    const expectWhole = async (handles: number) => {
      // the database's own connections come and go, up to the pool's size and those that listen
      await settled(() => handlesOf(server.pid) <= handles + poolSize + 2, 10_000)
      await settled(async () => await sessions("idle in transaction%") === 0 && await sessions("active") === 0, 10_000)
      const ends: Array<() => Promise<void> | void> = []
      await expectWholePool(db.url, server, others.slice(0, 2 * poolSize), poolSize, (end) => void ends.push(end))
      // with one permit left a quick check is done before the slow ones are; with none it waits for one of them
      for (const left of [1, 0]) {
        const before = await hashes(server)
        const done: Array<"slow" | "quick"> = []
        const { email, password } = user
        const slow = others.slice(0, permits - left).map(async ({ email }) => {
          const body = { email, password: "not this one" }
          expectProblem(await server.request("POST", "/api/v1/auth/login", { body }), 401, "invalid_credentials")
          done.push("slow")
        })
        await settled(async () => await hashes(server) === before + slow.length, 10_000)
        const quick = await server.request("POST", "/api/v1/auth/login", { body: { email, password } })
        // on a machine that is busy with other tests it may wait longer than it may
        if (left === 0 && quick.status === 503) done.push("slow")
        else having(200, quick)
        done.push("quick")
        await Promise.all(slow)
        expect(done[0], `with ${left} of ${permits} permits left`).toBe(left === 0 || permits === 1 ? "slow" : "quick")
      }
      expect(server.lines().filter(({ message }) => message === "defect")).toEqual([])
    }

    const request = (path: string, body: unknown, ...headers: ReadonlyArray<string>) => {
      const text = JSON.stringify(body)
      return Buffer.from(head(`POST ${path}`, "Host: a", json, `Content-Length: ${text.length}`, ...headers) + text)
    }

    it("F21 at every byte of a write, of a login and of a refresh", async () => {
      const before = await server.register()
      const bearer = `Authorization: Bearer ${before.access_token}`
      const handles = handlesOf(server.pid)
      const requests = [
        request("/api/v1/tasks", { title: "broken off" }, bearer),
        request(
          "/api/v1/tasks/batch",
          { mode: "atomic", operations: [{ op: "create", task: { title: "a" } }] },
          bearer
        ),
        request("/api/v1/auth/login", { email: before.email, password: "not this one" }),
        request("/api/v1/auth/refresh", { refresh_token: before.refresh_token })
      ]
      for (const bytes of requests) {
        await each(offsetsOf(bytes.length, size(5, 1)), (offset) => broken(bytes.subarray(0, offset), undefined))
        // the moment in which it is complete, again and again
        await each(
          Array.from({ length: size(120, 400) }, (_, at) => 10 * (at % 12)),
          (after) => broken(bytes, undefined, after)
        )
      }
      await expectWhole(handles)
      // whoever asks again goes on
      having(
        200,
        await server.request("POST", "/api/v1/auth/refresh", { body: { refresh_token: before.refresh_token } })
      )
    }, 4 * patience)

    it("F21 at any byte of an answer, a long one and a stream", async () => {
      const task = { title: "x".repeat(200), description: "🎉".repeat(1_000) }
      const operations = Array.from({ length: 100 }, () => ({ op: "create", task }))
      const body = { mode: "atomic", operations }
      const reader = await server.register()
      having(200, await server.request("POST", "/api/v1/tasks/batch", { token: reader.access_token, body }))
      const bearer = `Authorization: Bearer ${reader.access_token}`
      const handles = handlesOf(server.pid)
      const answers: ReadonlyArray<readonly [path: string, length: number, step: number]> = [
        ["/api/v1/tasks?limit=1", 6_000, size(200, 20)],
        ["/api/v1/tasks?limit=100", 480_000, size(24_000, 2_000)],
        ["/api/v1/auth/export", 480_000, size(48_000, 4_000)],
        ["/api/v1/changes/stream", 100, size(10, 1)]
      ]
      for (const [path, length, step] of answers) {
        const bytes = Buffer.from(head(`GET ${path}`, "Host: a", bearer))
        await each(offsetsOf(length, step), (offset) => broken(bytes, offset))
      }
      await pause(200)
      await expectWhole(handles)
    }, 4 * patience)
  }
)
