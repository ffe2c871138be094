/**
 * A request is stopped at a point of its way, and there its answer is lost, or something else happens to its session. No
 * answer that is lost logs anybody out, and nothing that was on its way outlives the end of its session.
 */
import { randomBytes } from "node:crypto"
import { beforeAll, describe, expect, it } from "vitest"
import { emptyDatabase, type TestDatabase, testDatabaseUrl, untilLocked } from "../operation/postgres.ts"
import { emptyDirectory, patience, type Program, start, useFinished } from "../operation/program.ts"
import { expectProblem } from "../support/expect.ts"
import type { Account, Answer } from "../support/TestServer.ts"
import { type Point, startWireProxy, type Stop, type WireProxy } from "../support/WireProxy.ts"
import { having } from "../tasks/families.ts"
import { expectAlive, expectNoticed, expectRefused, generationOf, login, me, refresh, respelled } from "./accounts.ts"

const atTheEnd = useFinished()

const newPassword = "another lantern 5e entirely"

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** The statements of a refresh: the generation is spent, or its second use ends the session, or it is read where it is. */
const spend = /^update sessions set generation/i
const endReused = /^update sessions set revoked_at = now\(\), revoked_reason = 'refresh_reuse'/i
const readAgain = /^select generation,/i
/** What asks whether a session is alive. */
const look = /^select case when revoked_at/i
const begin = /^begin/i
const commit = /^commit/i

describe.skipIf(testDatabaseUrl === undefined)(
  "with a PostgreSQL server (TEST_DATABASE_URL; the embedded database has no network to stop)",
  () => {
    let db: TestDatabase
    let proxy: WireProxy
    const env = { JWT_SECRET: randomBytes(32).toString("hex") }
    /** behind the proxy */
    let server: Program
    let other: Program

    const startServer = () => start({ ...env, DATABASE_URL: proxy.url, DATA_DIR: emptyDirectory(atTheEnd) }, atTheEnd)

    beforeAll(async () => {
      db = await emptyDatabase(atTheEnd)
      proxy = await startWireProxy(db.url)
      atTheEnd(proxy.close)
      server = await startServer()
      other = await start({ ...env, DATABASE_URL: db.url, DATA_DIR: emptyDirectory(atTheEnd) }, atTheEnd)
    }, patience)

    interface Row {
      readonly generation: number
      readonly revoked_reason: string | null
    }
    /** The only session of the account, by a connection of the test's own. */
    const row = async ({ id }: Account): Promise<Row> => {
      const [found] = await db.sql<Row>("select generation, revoked_reason from sessions where user_id = $1", [id])
      if (found === undefined) throw new Error("no such session")
      return found
    }
    const passGrace = ({ id }: Account) =>
      db.sql("update sessions set rotated_at = rotated_at - interval '31 seconds' where user_id = $1", [id])

    interface Stopped {
      readonly stop: Stop
      readonly answer: Promise<Answer>
    }

    /** Begins a request at the server behind the proxy and waits until it has come to the point. */
    const stopped = async (point: Point, ask: () => Promise<Answer>): Promise<Stopped> => {
      const stop = proxy.stopAt(point, 1)
      const answer = ask()
      const tooSoon = answer.then(({ text }) => {
        throw new Error(`answered before that point: ${text}`)
      })
      await Promise.race([stop.reached, tooSoon])
      tooSoon.catch(() => {})
      return { stop, answer }
    }

    const resumed = ({ answer, stop }: Stopped): Promise<Answer> => {
      stop.release()
      return answer
    }

    /** Sends a refresh whose client goes away as soon as it has come to the point. */
    const abandoned = async (point: Point, refresh_token: string): Promise<Stop> => {
      const client = new AbortController()
      const stop = proxy.stopAt(point, 1)
      const answer = fetch(`${server.url}/api/v1/auth/refresh`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ refresh_token }),
        signal: client.signal
      }).then(({ status }) => status, () => "gone")
      await stop.reached
      client.abort()
      expect(await answer).toBe("gone")
      // until the server has heard of it
      await pause(50)
      return stop
    }

    const expectLost = (answer: Answer) => {
      expectProblem(answer, 503, "database_unavailable")
      expect(answer.headers.get("retry-after")).toMatch(/^[1-9]\d*$/)
    }

    /** Neither token of an ended session works anywhere, nor does what an answer handed out meanwhile. */
    const expectDead = async (account: Account, ...answers: ReadonlyArray<Answer>) => {
      const handedOut = answers.flatMap(({ json, status }) => status === 200 ? [json] : [])
      for (const instance of [server, other]) {
        for (const { access_token, refresh_token } of [account, ...handedOut]) {
          await expectNoticed(instance, access_token, "session_revoked")
          expectProblem(await refresh(instance, refresh_token), 401, "session_revoked")
        }
      }
    }

    const expectNoDefect = () =>
      expect([server, other].flatMap((one) => one.lines().filter(({ message }) => message === "defect"))).toEqual([])

    describe("a refresh whose answer is lost", () => {
      /** The client asks again, here and there, and has the one successor. */
      const expectOneSuccessor = async (account: Account) => {
        const answers = [server, other, server].map((instance) => refresh(instance, account.refresh_token))
        const tokens = (await Promise.all(answers)).map((answer) => having(200, answer).json)
        expect(new Set(tokens.map(({ refresh_token }) => refresh_token)).size).toBe(1)
        expect(generationOf(tokens[0].refresh_token)).toBe(1)
        expect(await row(account)).toEqual({ generation: 1, revoked_reason: null })
        await expectAlive(other, tokens[0])
        expectNoDefect()
      }
      const moments = [["asked", 0], ["answered", 1]] as const

      it.each(moments)("R42 with the network to the database, when it was %s", async (when, generation) => {
        const account = await server.register()
        const { answer, stop } = await stopped({ sql: spend, when }, () => refresh(server, account.refresh_token))
        stop.cut()
        expectLost(await answer)
        expect(await row(account)).toEqual({ generation, revoked_reason: null })
        await expectOneSuccessor(account)
      })

      it.each(moments)("R42 with the client's connection, when the database was %s", async (when, generation) => {
        const account = await server.register()
        const stop = await abandoned({ sql: spend, when }, account.refresh_token)
        expect(await row(account)).toEqual({ generation, revoked_reason: null })
        // the first request is still under way
        having(200, await refresh(other, account.refresh_token))
        stop.release()
        await expectOneSuccessor(account)
      })

      it.each(moments)("R42 by kill -9, when the database was %s", async (when, generation) => {
        const account = await server.register()
        const { answer } = await stopped({ sql: spend, when }, () => refresh(server, account.refresh_token))
        server.kill("SIGKILL")
        await server.ended
        await expect(answer).rejects.toThrow()
        expect(await row(account)).toEqual({ generation, revoked_reason: null })
        server = await startServer()
        await expectOneSuccessor(account)
      }, patience)
    })

    describe("the end of a session whose refresh token was reused", () => {
      /** An account whose first refresh token was spent longer ago than the grace. */
      const spent = async () => {
        const account = await server.register()
        const next = having(200, await refresh(other, account.refresh_token))
        await passGrace(account)
        return { account, next }
      }

      it("R40 is stored when it was answered, and the server ends right then", async () => {
        const { account, next } = await spent()
        expectProblem(await refresh(server, account.refresh_token), 401, "refresh_token_reused")
        server.kill("SIGKILL")
        expect((await row(account)).revoked_reason).toBe("refresh_reuse")
        await server.ended
        server = await startServer()
        await expectDead(account, next)
      }, patience)

      it("R40 is stored when the network fails before the answer", async () => {
        const { account, next } = await spent()
        const { answer, stop } = await stopped(
          { sql: endReused, when: "answered" },
          () => refresh(server, account.refresh_token)
        )
        expect((await row(account)).revoked_reason).toBe("refresh_reuse")
        stop.cut()
        expectLost(await answer)
        await expectDead(account, next)
        expectNoDefect()
      })

      const points: ReadonlyArray<readonly [string, Point]> = [
        ["before the attempt to spend it", { sql: spend, when: "asked" }],
        ["after the attempt to spend it", { sql: spend, when: "answered" }],
        ["before the end of the session", { sql: endReused, when: "asked" }]
      ]
      it.each(points)(
        "R40 comes although the client goes away %s",
        async (_, point) => {
          const { account, next } = await spent()
          const stop = await abandoned(point, account.refresh_token)
          expect((await row(account)).revoked_reason).toBeNull()
          stop.release()
          for (let turn = 0; turn < 100 && (await row(account)).revoked_reason === null; turn++) await pause(20)
          expect((await row(account)).revoked_reason).toBe("refresh_reuse")
          await expectDead(account, next)
          expectNoDefect()
        }
      )
    })

    describe("a refresh that is stopped where the token is spent and its successor is not known", () => {
      const winner = async () => {
        const account = await server.register()
        const paused = await stopped({ sql: spend, when: "answered" }, () => refresh(server, account.refresh_token))
        return { account, paused }
      }

      it("R44 gets the same successor as who replays its token meanwhile", async () => {
        const { account, paused } = await winner()
        const replayed = having(200, await refresh(other, account.refresh_token)).json
        const tokens = having(200, await resumed(paused)).json
        expect(tokens.refresh_token).toBe(replayed.refresh_token)
        await expectAlive(server, tokens)
      })

      it("R44 gets nothing that works once a replay after the grace has ended the session", async () => {
        const { account, paused } = await winner()
        await passGrace(account)
        expectProblem(await refresh(other, account.refresh_token), 401, "refresh_token_reused")
        await expectDead(account, await resumed(paused))
      })

      it("R44 gets nothing that works once a replay has ended the session that went on", async () => {
        const { account, paused } = await winner()
        const next = having(200, await refresh(other, account.refresh_token))
        const last = having(200, await refresh(other, next.json.refresh_token))
        expectProblem(await refresh(other, account.refresh_token), 401, "refresh_token_reused")
        await expectDead(account, next, last, await resumed(paused))
      })
    })

    describe("a refresh that lost the race, stopped before it learns how its session is", () => {
      const loser = async (when: Point["when"]) => {
        const account = await server.register()
        const next = having(200, await refresh(other, account.refresh_token))
        const paused = await stopped({ sql: readAgain, when }, () => refresh(server, account.refresh_token))
        return { account, next, paused }
      }

      it.each(["asked", "answered"] as const)("R44 (%s) gets nothing that works after a reuse", async (when) => {
        const { account, next, paused } = await loser(when)
        const last = having(200, await refresh(other, next.json.refresh_token))
        expectProblem(await refresh(other, account.refresh_token), 401, "refresh_token_reused")
        await expectDead(account, next, last, await resumed(paused))
      })

      it.each(["asked", "answered"] as const)("R48 (%s) gets nothing that works after a logout", async (when) => {
        const { account, next, paused } = await loser(when)
        having(204, await other.request("POST", "/api/v1/auth/logout", { token: next.json.access_token }))
        await expectDead(account, next, await resumed(paused))
      })

      it("R41 gets the successor of its own token, however far the session went on", async () => {
        const { account, next, paused } = await loser("asked")
        const last = having(200, await refresh(other, next.json.refresh_token)).json
        expect(having(200, await resumed(paused)).json.refresh_token).toBe(next.json.refresh_token)
        expect(await row(account)).toEqual({ generation: 2, revoked_reason: null })
        await expectAlive(other, last)
      })
    })

    it.each(["asked", "answered"] as const)(
      "R48 a refresh that is stopped (%s) gets nothing that works after a logout",
      async (when) => {
        const account = await server.register()
        const paused = await stopped({ sql: spend, when }, () => refresh(server, account.refresh_token))
        having(204, await other.request("POST", "/api/v1/auth/logout", { token: account.access_token }))
        const answer = await resumed(paused)
        if (when === "asked") expectProblem(answer, 401, "session_revoked")
        await expectDead(account, answer)
      }
    )

    it("R46 a malformed token costs no statement", async () => {
      const { refresh_token } = await server.register()
      const bytes = Buffer.from(refresh_token, "base64url")
      const malformed = [
        "",
        "x",
        refresh_token.slice(1),
        `${refresh_token}A`,
        `${refresh_token}==`,
        respelled(refresh_token),
        bytes.toString("hex"),
        Buffer.from([2, ...bytes.subarray(1)]).toString("base64url"),
        "A".repeat(10_000)
      ]
      const stop = proxy.stopAt({ sql: /\b(?:users|sessions)\b/i, when: "asked" }, 1)
      let isReached = false
      void stop.reached.then(() => isReached = true)
      try {
        for (const token of malformed) {
          for (const path of ["refresh", "logout"]) {
            const body = { refresh_token: token }
            expectProblem(
              await server.request("POST", `/api/v1/auth/${path}`, { body }),
              401,
              "invalid_refresh_token"
            )
          }
        }
        expect(isReached).toBe(false)
        // a token of the right form does: the proxy would have seen it
        const answer = refresh(server, Buffer.from([...bytes.subarray(0, 69), bytes[69]! ^ 1]).toString("base64url"))
        await stop.reached
        stop.release()
        expectProblem(await answer, 401, "invalid_refresh_token")
      } finally {
        stop.release()
      }
    })

    it("R37 a refresh that is stopped is refused after the deletion of its account", async () => {
      const account = await server.register()
      const paused = await stopped({ sql: spend, when: "asked" }, () => refresh(server, account.refresh_token))
      const deletion = { token: account.access_token, body: { password: account.password } }
      having(204, await other.request("DELETE", "/api/v1/auth/me", deletion))
      expectProblem(await resumed(paused), 401, "invalid_refresh_token")
      expectNoDefect()
    })

    it("R38 an answer about a session, on its way while the session ended, lets no later request through", async () => {
      const account = await other.register()
      const paused = await stopped({ sql: look, when: "answered" }, () => me(server, account.access_token))
      having(204, await other.request("POST", "/api/v1/auth/logout", { token: account.access_token }))
      await pause(1_000)
      await resumed(paused)
      expectRefused(await me(server, account.access_token), "session_revoked")
    })

    describe("a change of the password", () => {
      const change = (account: Account, token: string) =>
        other.request("POST", "/api/v1/auth/password", {
          token,
          body: { current_password: account.password, new_password: newPassword }
        })
      const signIn = ({ email, password }: Account) =>
        server.request("POST", "/api/v1/auth/login", { body: { email, password } })

      it("R11 refuses a login whose old password was good a moment ago", async () => {
        const account = await other.register()
        const paused = await stopped({ sql: begin, when: "asked" }, () => signIn(account))
        having(204, await change(account, account.access_token))
        expectProblem(await resumed(paused), 401, "invalid_credentials")
        const rows = await db.sql("select 1 from sessions where user_id = $1", [account.id])
        expect(rows).toHaveLength(1)
      })

      it("R11 ends the session of a login that is being stored", async () => {
        const account = await other.register()
        const paused = await stopped({ sql: commit, when: "asked" }, () => signIn(account))
        const changing = change(account, account.access_token)
        // it waits for the login
        await untilLocked(db)
        const tokens = having(200, await resumed(paused)).json
        having(204, await changing)
        for (const instance of [server, other]) {
          await expectNoticed(instance, tokens.access_token, "session_revoked")
          expectProblem(await refresh(instance, tokens.refresh_token), 401, "session_revoked")
        }
        having(200, await me(other, account.access_token))
      })

      it("R11 keeps a session that it ended from deleting the account with the old password", async () => {
        const account = await other.register()
        const own = await login(other, account)
        const paused = await stopped({ sql: begin, when: "asked" }, () =>
          server.request("DELETE", "/api/v1/auth/me", {
            token: account.access_token,
            body: { password: account.password }
          }))
        having(204, await change(account, own.access_token))
        expectProblem(await resumed(paused), 422, "wrong_password")
        having(200, await me(other, own.access_token))
        having(200, await signIn({ ...account, password: newPassword }))
      })

      it("R11 of two at once is done by one, which ends the session of the other", async () => {
        const account = await other.register()
        const rival = await login(other, account)
        const paused = await stopped(
          { sql: begin, when: "asked" },
          () =>
            server.request("POST", "/api/v1/auth/password", {
              token: rival.access_token,
              body: { current_password: account.password, new_password: "never to be stored 5e" }
            })
        )
        having(204, await change(account, account.access_token))
        expectProblem(await resumed(paused), 422, "wrong_password")
        having(200, await signIn({ ...account, password: newPassword }))
        await expectNoticed(server, rival.access_token, "session_revoked")
      })
    })

    it("a login that is being stored and one that comes meanwhile leave at most twenty live sessions", async () => {
      const account = await other.register()
      const signIn = (instance: Program) => login(instance, account)
      for (let count = 1; count < 20; count++) await signIn(other)
      const stop = proxy.stopAt({ sql: commit, when: "asked" }, 1)
      const first = signIn(server)
      await stop.reached
      const second = signIn(other)
      // it waits for the first, as it should
      await untilLocked(db)
      stop.release()
      const tokens = [await first, await second]
      const live = await db.sql(
        "select 1 from sessions where user_id = $1 and revoked_at is null and expires_at > now()",
        [account.id]
      )
      expect(live).toHaveLength(20)
      for (const one of tokens) await expectAlive(other, one)
      await expectNoticed(other, account.access_token, "session_revoked")
    })

    describe("the deletion of an account", () => {
      const erase = (instance: Program, { access_token, password }: Account) =>
        instance.request("DELETE", "/api/v1/auth/me", { token: access_token, body: { password } })

      it("R37 refuses a login whose password was good a moment ago", async () => {
        const account = await other.register()
        const { email, password } = account
        const paused = await stopped(
          { sql: begin, when: "asked" },
          () => server.request("POST", "/api/v1/auth/login", { body: { email, password } })
        )
        having(204, await erase(other, account))
        expectProblem(await resumed(paused), 401, "invalid_credentials")
        expectNoDefect()
      })

      it.each(
        [
          ["a second deletion", "DELETE", "/me", (password: string) => ({ password })],
          [
            "a change of the password",
            "POST",
            "/password",
            (password: string) => ({ current_password: password, new_password: newPassword })
          ]
        ] as const
      )("R37 refuses the token of %s that was under way", async (_, method, path, body) => {
        const account = await other.register()
        const paused = await stopped(
          { sql: begin, when: "asked" },
          () =>
            server.request(method, `/api/v1/auth${path}`, {
              token: account.access_token,
              body: body(account.password)
            })
        )
        having(204, await erase(other, account))
        expectRefused(await resumed(paused), "token_invalid")
        expectNoDefect()
      })
    })
  }
)
