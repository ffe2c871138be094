/**
 * Clients of one session who refresh at once, with fresh tokens and stale ones, on both instances, while answers are
 * lost, time passes, and the session is ended: by random schedules, whatever order the server takes them in.
 */
import fc from "fast-check"
import { expect, it } from "vitest"
import { isFull } from "../faults/sizes.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, type Answer, useServers } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import {
  expectNoticed,
  expectRefused,
  generationOf,
  goodPassword,
  login,
  me,
  refresh,
  sessionOf,
  type Tokens
} from "./accounts.ts"

const servers = useServers(2)

/** How many there are in full; in short, as many as begin in so many milliseconds. */
const [numRuns, budget] = [1_000, isFull ? Infinity : 12_000]
/** Milliseconds for all of them on a machine that is busy with other tests, and for the last that begin in time. */
const timeout = isFull ? 3_600_000 : budget + 30_000

/** Clients that share the session, as the tabs of a browser and a copy that was stolen do. */
const clients = 3

const client = fc.nat(clients - 1)
const action = fc.record({
  what: fc.oneof(
    // with the newest token that this client was told; when the answer is lost, it keeps the token
    { weight: 12, arbitrary: fc.record({ kind: fc.constant("refresh" as const), client, isLost: fc.boolean() }) },
    // with any token that the session ever had
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("replay" as const), back: fc.nat(3) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("read" as const), client }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("time" as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("logout" as const), client, hasBearer: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("password" as const) }) }
  ),
  instance: fc.nat(1)
})
type Action = typeof action extends fc.Arbitrary<infer A> ? A : never

/** What happens at once; one round begins when all of the one before it has been answered. */
const round = fc.array(action, { minLength: 1, maxLength: 6 })
const schedule = fc.array(round, { minLength: 1, maxLength: 10, size: "max" })

interface Row {
  readonly generation: number
  readonly reason: string | null
  readonly is_in_grace: boolean | null
}

type Done = { readonly action: Action; readonly spent: number | undefined; readonly answer: Answer | undefined }

const reasons: Record<string, string> = { logout: "logout", password: "password_change" }

class Schedule {
  /** the one token of each generation, by whoever was told it first */
  private readonly chain: Array<string>
  private readonly held: Array<Tokens>
  private readonly handedOut: Array<Tokens>
  /** with another session, which changes the password */
  private readonly account: Account
  private before: Row = { generation: 0, reason: null, is_in_grace: null }

  constructor(account: Account, first: Tokens) {
    this.account = account
    this.chain = [first.refresh_token]
    this.held = Array.from({ length: clients }, () => first)
    this.handedOut = [first]
  }

  private get session() {
    return sessionOf(this.handedOut[0]!)
  }

  private async row(): Promise<Row> {
    const [row] = await servers[0].sql<Row>(
      `select generation, revoked_reason as reason, rotated_at > now() - interval '30 seconds' as is_in_grace
        from sessions where user_id = $1 and id = $2`,
      [this.account.id, this.session]
    )
    if (row === undefined) throw new Error("no such session")
    return row
  }

  private async spend(action: Action, token: string, keep: (tokens: Tokens) => void): Promise<Done> {
    const answer = await refresh(servers[action.instance]!, token)
    if (answer.status === 200) keep(answer.json)
    return { action, spent: generationOf(token), answer }
  }

  private async run(action: Action): Promise<Done> {
    const { instance, what } = action
    const server = servers[instance]!
    const done = (answer?: Answer) => ({ action, spent: undefined, answer })
    switch (what.kind) {
      case "refresh":
        return this.spend(action, this.held[what.client]!.refresh_token, (tokens) => {
          if (!what.isLost) this.held[what.client] = tokens
        })
      case "replay":
        return this.spend(action, this.chain[Math.max(0, this.chain.length - 1 - what.back)]!, () => {})
      case "read":
        return done(await me(server, this.held[what.client]!.access_token))
      case "time":
        await server.sql(
          "update sessions set rotated_at = rotated_at - interval '31 seconds' where user_id = $1 and id = $2",
          [this.account.id, this.session]
        )
        return done()
      case "logout": {
        const { access_token, refresh_token } = this.held[what.client]!
        return done(
          await server.request(
            "POST",
            "/api/v1/auth/logout",
            what.hasBearer ? { token: access_token } : { body: { refresh_token } }
          )
        )
      }
      case "password": {
        const { access_token, password } = this.account
        const body = { current_password: password, new_password: password }
        return done(await server.request("POST", "/api/v1/auth/password", { token: access_token, body }))
      }
    }
  }

  /** Runs what is to happen at once, and checks that each answer is one that some order explains. */
  async round(actions: ReadonlyArray<Action>) {
    const before = this.before
    const all = await Promise.all(actions.map((action) => this.run(action)))
    const after = await this.row()
    this.before = after

    const has = (kind: Action["what"]["kind"]) => actions.some(({ what }) => what.kind === kind)
    const hasEnded = before.reason !== null
    const told = new Set<number>()
    const causes = new Set<string>()
    for (const { action: { what }, answer, spent } of all) {
      if (answer === undefined) continue
      if (what.kind === "logout" || what.kind === "password") {
        // one of two changes at once is refused, since both name the same hash
        if (answer.status === 204) causes.add(reasons[what.kind]!)
        else expect({ kind: what.kind, code: answer.json?.code }).toEqual({ kind: "password", code: "wrong_password" })
      } else if (spent === undefined) {
        // a session that has just ended may be trusted for a second; whether it is longer is tried at the end
        if (answer.status !== 200) {
          expectRefused(answer, "session_revoked")
          expect(after.reason, "a session that lives is not refused").not.toBeNull()
        }
      } else if (answer.status === 200) {
        expect(hasEnded, "a session that has ended is not refreshed").toBe(false)
        const next: Tokens = answer.json
        const generation = generationOf(next.refresh_token)
        expect(generation, "the successor of the token that was sent").toBe(spent + 1)
        expect(next.refresh_token).toBe(this.chain[generation] ??= next.refresh_token)
        expect(generation).toBeLessThanOrEqual(after.generation)
        expect(spent, "only the immediate predecessor has a grace").toBeGreaterThanOrEqual(before.generation - 1)
        if (spent === before.generation - 1) expect(before.is_in_grace, "and only for its time").toBe(true)
        told.add(generation)
        this.handedOut.push(next)
      } else if (answer.json.code === "refresh_token_reused") {
        expectProblem(answer, 401, "refresh_token_reused")
        expect(hasEnded).toBe(false)
        causes.add("refresh_reuse")
        const isParent = spent === after.generation - 1
        const isLate = has("time") || (spent === before.generation - 1 && !before.is_in_grace)
        expect(spent <= after.generation - 2 || (isParent && isLate), "nobody is logged out for a race").toBe(true)
      } else {
        expectProblem(answer, 401, "session_revoked")
        expect(after.reason).not.toBeNull()
      }
    }

    for (let generation = before.generation + 1; generation <= after.generation; generation++) {
      expect(told, "who spends a token is told its successor").toContain(generation)
    }
    if (hasEnded) expect(after).toMatchObject({ generation: before.generation, reason: before.reason })
    else if (causes.size === 0) expect(after.reason).toBeNull()
    else expect([...causes], "the first of the causes has ended it").toContain(after.reason)
  }

  /** At the end one generation works, or none. */
  async settle() {
    const { generation, reason } = this.before
    const tokens = this.chain.slice(0, generation + 1)
    expect(tokens.every((token, index) => generationOf(token) === index)).toBe(true)
    if (reason === null) {
      for (const { access_token } of this.handedOut.slice(-2)) having(200, await me(servers[0], access_token))
      const newest = tokens.at(-1)!
      const next = await Promise.all(servers.map((server) => refresh(server, newest)))
      for (const answer of next) expect(generationOf(having(200, answer).json.refresh_token)).toBe(generation + 1)
      if (generation === 0) return
      expectProblem(await refresh(servers[1], tokens.at(-2)!), 401, "refresh_token_reused")
      tokens.push(next[0]!.json.refresh_token)
      this.handedOut.push(next[0]!.json)
    }
    for (const server of servers) {
      for (const answer of await Promise.all(tokens.map((token) => refresh(server, token)))) {
        expectProblem(answer, 401, "session_revoked")
      }
      await expectNoticed(server, this.handedOut[0]!.access_token, "session_revoked")
      for (const answer of await Promise.all(this.handedOut.map(({ access_token }) => me(server, access_token)))) {
        expectRefused(answer, "session_revoked")
      }
    }
    having(200, await me(servers[1], this.account.access_token))
  }
}

it("R41 R43 F22 any schedule keeps at most one live generation, and nothing works after a reuse", async () => {
  let schedules = 0
  const until = performance.now() + budget
  await fc.assert(
    fc.asyncProperty(schedule, async (rounds) => {
      if (performance.now() > until) return
      schedules++
      const account = await servers[0].register({ password: goodPassword })
      const run = new Schedule(account, await login(servers[1], account))
      for (const actions of rounds) await run.round(actions)
      await run.settle()
    }),
    // a schedule that failed is no proof that a smaller one fails: timing is part of it
    { numRuns, endOnFailure: true }
  )
  if (isFull) {
    console.log(`F22 ${schedules} schedules`)
    expect(schedules).toBe(numRuns)
  } else expect(schedules).toBeGreaterThan(1)
}, timeout)
