/** Two instances in production behind the proxy of deploy/Caddyfile: what clients see of them, and of the end of one. */
import { randomBytes } from "node:crypto"
import { Agent } from "node:https"
import process from "node:process"
import { setTimeout as pause } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type Cluster, type Instance, startCluster } from "../../scripts/cluster/Cluster.ts"
import { missingPackages } from "../../scripts/cluster/Services.ts"
import { send } from "../http/exchange.ts"
import { expectLoginLimited, statuses, times, wrongPassword } from "../limits/clients.ts"
import { followChanges } from "../support/EventStream.ts"
import { expectProblem } from "../support/expect.ts"
import type { Account, Answer } from "../support/TestServer.ts"
import { having, newId, type TaskAnswer } from "../tasks/families.ts"
import { patience } from "./program.ts"

const missing = missingPackages()
// wherever the suite is to prove what is hosted, it must not be passed over in silence
if (missing.length > 0 && process.env["CI"] !== undefined) throw new Error(`missing: ${missing.join(", ")}`)
if (missing.length > 0) console.log(`missing: ${missing.join(", ")}: the tests of a cluster are skipped`)

/** Addresses of this machine, as which the clients of a test connect. */
let hosts = 0
const newAddress = (): string => `127.1.${Math.floor(++hosts / 250)}.${1 + hosts % 250}`

interface Sent {
  readonly token?: string
  readonly body?: unknown
  readonly headers?: Record<string, string>
  readonly agent?: Agent
  /** the client's address; unset: 127.0.0.1 */
  readonly from?: string
  /** by plain HTTP */
  readonly plain?: boolean
}

describe.skipIf(missing.length > 0)("two instances behind a proxy", { timeout: 2 * patience }, () => {
  let cluster: Cluster
  beforeAll(async () => {
    cluster = await startCluster()
  }, 2 * patience)
  afterAll(() => cluster?.kill(), patience)

  const request = (
    method: string,
    path: string,
    { agent, body, from, headers, plain = false, token }: Sent = {}
  ): Promise<Answer> =>
    send(
      {
        url: plain ? cluster.plainUrl : cluster.url,
        ca: cluster.ca,
        ...(agent !== undefined && { agent }),
        localAddress: from ?? "127.0.0.1"
      },
      method,
      path,
      {
        headers: {
          ...(body !== undefined && { "content-type": "application/json" }),
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
          ...headers
        },
        ...(body !== undefined && { body: JSON.stringify(body) })
      }
    )

  const register = async (from = newAddress()): Promise<Account> => {
    const account = { email: `${randomBytes(12).toString("hex")}@example.com`, password: "lantern orbit 47 velvet" }
    const { json } = having(201, await request("POST", "/api/v1/auth/register", { body: account, from }))
    return { ...account, id: json.user.id, access_token: json.access_token, refresh_token: json.refresh_token }
  }

  const me = (token: string) => request("GET", "/api/v1/auth/me", { token })

  /** Which instance has answered, by its log. */
  const serverOf = async (requestId: string): Promise<Instance> => {
    const id = `"request_id":"${requestId}"`
    for (const end = Date.now() + 10_000; Date.now() < end; await pause(10)) {
      const found = cluster.instances.find((instance) => instance.output().includes(id))
      if (found !== undefined) return found
    }
    throw new Error(`no instance has logged ${id}`)
  }

  const serversOf = async (answers: ReadonlyArray<Answer>) =>
    new Set(await Promise.all(answers.map(({ headers }) => serverOf(headers.get("x-request-id") ?? "")))).size

  /** Asks until both instances have answered: the proxy chooses at random. */
  const askBoth = async (ask: () => Promise<Answer>): Promise<ReadonlyArray<Answer>> => {
    const answers: Array<Answer> = []
    do {
      answers.push(...await times(8, ask))
    } while (await serversOf(answers) < 2 && answers.length < 64)
    expect(await serversOf(answers)).toBe(2)
    return answers
  }

  /** Starts one that has ended; resolves when the proxy asks both again. */
  const restart = async (instance: Instance) => {
    await instance.start()
    while (await serversOf(await times(4, () => request("GET", "/health/live"))) < 2) await pause(100)
  }

  /** Every task of the account, from all pages, by the links of the answers. */
  const tasksOf = async ({ access_token: token }: Account): Promise<Map<string, TaskAnswer>> => {
    const tasks = new Map<string, TaskAnswer>()
    for (let path: string | undefined = "/api/v1/tasks?limit=20"; path !== undefined;) {
      const page: Answer = having(200, await request("GET", path, { token }))
      for (const task of page.json) tasks.set(task.id, task)
      const link: string | undefined = /^<([^<>]+)>; rel="next"$/.exec(page.headers.get("link") ?? "")?.[1]
      const next: URL | undefined = link === undefined ? undefined : new URL(link, cluster.url)
      if (next !== undefined) expect(next.origin).toBe(cluster.url)
      path = next === undefined ? undefined : next.pathname + next.search
    }
    return tasks
  }

  const until = async (isSo: () => boolean, milliseconds: number) => {
    for (const end = Date.now() + milliseconds; !isSo() && Date.now() < end;) await pause(10)
    expect(isSo()).toBe(true)
  }

  /** Asks again where no instance took it: Debian's Caddy finds out after a second that one is gone. */
  const create = async ({ access_token: token }: Account, title: string): Promise<TaskAnswer> => {
    const body = { id: newId(), title }
    for (const end = Date.now() + 5_000;;) {
      const answer = await request("POST", "/api/v1/tasks", { token, body })
      if (answer.status !== 503 || Date.now() > end) return having(201, answer).json
      await pause(100)
    }
  }

  /**
   * Six users create one task after the other, each with an id of its own and again until it is acknowledged; what they
   * saw when they were told to stop.
   */
  const startLoad = async () => {
    const users = await Promise.all(Array.from({ length: 6 }, () => register()))
    const stored = new Map(users.map((user) => [user, new Map<string, TaskAnswer>()]))
    const failures: Array<Answer | Error> = []
    let count = 0
    let longest = 0
    let isGoing = true
    const write = async (user: Account) => {
      // HTTP clients keep their connections
      const agent = new Agent({ keepAlive: true, maxSockets: 1 })
      while (isGoing) {
        const body = { id: newId(), title: "Acknowledged once" }
        const begin = performance.now()
        for (;;) {
          const answer = await request("POST", "/api/v1/tasks", { token: user.access_token, body, agent })
            .catch((error: Error) => error)
          if (answer instanceof Error || (answer.status !== 201 && answer.status !== 200)) {
            failures.push(answer)
            if (performance.now() - begin > patience) throw new Error("a client can't go on")
            // as Retry-After says
            await pause(1_000)
            continue
          }
          stored.get(user)?.set(body.id, answer.json)
          break
        }
        count++
        longest = Math.max(longest, performance.now() - begin)
        // well below the limit of 600 requests in a minute
        await pause(120)
      }
      agent.destroy()
    }
    const going = Promise.all(users.map(write))
    return {
      count: () => count,
      stop: async () => {
        isGoing = false
        await going
        for (const [user, acknowledged] of stored) {
          const found = await tasksOf(user)
          for (const [id, task] of acknowledged) expect(found.get(id), id).toEqual(task)
          expect(found.size).toBe(acknowledged.size)
          const versions = [...acknowledged.values()].map(({ version }) => version)
          expect(versions).toEqual(versions.map((_, at) => at + 1))
        }
        return { failures, longest }
      }
    }
  }

  describe("by plain HTTP", () => {
    it("refuse everything but health, whatever the client says of its way", async () => {
      for (const headers of [{}, { "x-forwarded-proto": "https" }, { "x-forwarded-proto": "https,https" }]) {
        const answer = await request("GET", "/api/v1/tasks", { plain: true, headers })
        expectProblem(answer, 403, "https_required")
        expect(answer.headers.get("strict-transport-security")).toBeNull()
      }
      having(200, await request("GET", "/health/ready", { plain: true }))
    })
  })

  describe("by HTTPS", () => {
    it("tell clients to stay with it, and name nothing but the place that the client knows", async () => {
      const user = await register()
      const token = user.access_token
      // what the client says of its way does not count here either
      const home = await request("GET", "/", { headers: { "x-forwarded-proto": "http" } })
      expect(home.status).toBe(303)
      expect(home.headers.get("strict-transport-security")).toMatch(/^max-age=\d{8}/)
      expect(home.headers.get("server")).toBeNull()
      expect(new URL(home.headers.get("location") ?? "", cluster.url).href).toBe(`${cluster.url}/docs`)

      const made = having(201, await request("POST", "/api/v1/tasks", { token, body: { title: "One of 25" } }))
      const location = new URL(made.headers.get("location") ?? "", cluster.url)
      expect(location.href).toBe(`${cluster.url}/api/v1/tasks/${made.json.id}`)
      having(200, await request("GET", location.pathname, { token }))
      for (let i = 1; i < 25; i++) await create(user, "One of 25")
      expect((await tasksOf(user)).size).toBe(25)
    })

    it("refuse a name that is not theirs, and what is too large, as a problem", async () => {
      expect((await request("GET", "/", { headers: { host: "example.com" } })).status).toBe(421)
      const body = { email: "a".repeat(20_000), password: "lantern orbit 47 velvet" }
      expectProblem(await request("POST", "/api/v1/auth/login", { body }), 413, "too_large")
    })
  })

  it("R38 share a session, and its end within 1 s", async () => {
    const { access_token, refresh_token } = await register()
    for (const answer of await askBoth(() => me(access_token))) having(200, answer)
    const refreshed = await times(2, () => request("POST", "/api/v1/auth/refresh", { body: { refresh_token } }))
    expect(statuses(refreshed)).toEqual([200, 200])
    expect(refreshed[1]?.json.refresh_token).toBe(refreshed[0]?.json.refresh_token)

    having(204, await request("POST", "/api/v1/auth/logout", { token: access_token }))
    await pause(1_000)
    for (const answer of await askBoth(() => me(access_token))) expectProblem(answer, 401, "session_revoked")
  })

  // on a machine that is busy for half a second Redis seems to be away, and each instance counts for itself
  it("R16 count a network's logins together, and believe the proxy alone whose they are", { retry: 3 }, async () => {
    const email = `${randomBytes(12).toString("hex")}@example.com`
    const [from, other] = [newAddress(), newAddress()]
    const logIn = (from: string, headers: Record<string, string> = {}) =>
      request("POST", "/api/v1/auth/login", { body: { email, password: wrongPassword }, from, headers })
    const failed = await times(
      10,
      (at) => logIn(from, { "x-forwarded-for": `203.0.113.${at}`, "x-real-ip": `203.0.113.${at}` })
    )
    expect(statuses(failed)).toEqual(Array.from({ length: 10 }, () => 401))
    expect(await serversOf(failed)).toBe(2)
    for (const claim of [{}, { "x-forwarded-for": "203.0.113.77" }, { "x-forwarded-for": `203.0.113.78, ${other}` }]) {
      for (const answer of await times(2, () => logIn(from, claim))) expectLoginLimited(answer)
    }
    // somebody else behind the same proxy
    expect((await logIn(other)).status).toBe(401)
  })

  it("R16 know the client's address, which nobody but the proxy can tell them", async () => {
    const from = newAddress()
    const { access_token: token } = await register(from)
    const sessions = await request("GET", "/api/v1/auth/sessions", { token })
    expect(having(200, sessions).json).toMatchObject([{ current: true, ip: from }])
    // who gets past the proxy is not one
    for (const { url } of cluster.instances) {
      const headers = { "x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https" }
      const answer = await send({ url, localAddress: from }, "GET", "/api/v1/tasks", { headers })
      expectProblem(answer, 403, "https_required")
    }
  })

  it("send events on as they come, and go on with a stream whose instance was killed", async ({ onTestFinished }) => {
    const user = await register()
    const stream = await followChanges(cluster, user, onTestFinished)
    const titles: Array<string> = []
    for (const title of ["one", "two", "three"]) {
      await create(user, title)
      titles.push(title)
      await until(() => stream.events.length === titles.length, 5_000)
    }
    const server = await serverOf(stream.requestId)
    await server.kill()
    await stream.ended
    await create(user, "while nobody listens")
    const next = await followChanges(cluster, user, onTestFinished, stream.lastId())
    await create(user, "after it")
    await until(() => next.events.length === 2, 5_000)
    const seen = [...stream.events, ...next.events].map(({ data }) => JSON.parse(data).title)
    expect(seen).toEqual([...titles, "while nobody listens", "after it"])
    await restart(server)
  })

  it("are asked again only for what none of them can have done", async () => {
    const user = await register()
    const token = user.access_token
    const [frozen] = cluster.instances
    frozen.freeze()
    const reading: Array<Promise<Answer>> = []
    const writing: Array<Promise<Answer>> = []
    let [read, written] = [0, 0]
    // until some of each wait for it
    do {
      for (let i = 0; i < 12; i++) {
        reading.push(request("GET", "/api/v1/tasks", { token }).finally(() => read++))
        const sent = request("POST", "/api/v1/tasks", { token, body: { title: "Perhaps done" } })
        writing.push(sent.finally(() => written++))
      }
      await pause(500)
    } while ((read === reading.length || written === writing.length) && writing.length < 64)
    expect([read < reading.length, written < writing.length]).toEqual([true, true])
    await frozen.kill()
    for (const answer of await Promise.all(reading)) having(200, answer)
    const answers = await Promise.all(writing)
    const refused = answers.filter(({ status }) => status !== 201)
    expect(refused.length).toBeGreaterThan(0)
    for (const answer of refused) {
      expectProblem(answer, 503, "overloaded")
      expect(answer.headers.get("retry-after")).toBe("1")
      expect(answer.headers.get("strict-transport-security")).toMatch(/^max-age=\d{8}/)
    }
    expect((await tasksOf(user)).size).toBe(answers.length - refused.length)
    await restart(frozen)
  })

  it("F12 lose nothing that was acknowledged when one is killed, and the other one goes on", async () => {
    const load = await startLoad()
    await until(() => load.count() >= 60, patience)
    const [killed] = cluster.instances
    await killed.kill()
    const before = load.count()
    await until(() => load.count() >= before + 60, patience)
    await restart(killed)
    const { failures, longest } = await load.stop()
    for (const failure of failures) {
      if (failure instanceof Error) throw failure
      expectProblem(failure, 503, "overloaded")
    }
    expect(longest).toBeLessThan(5_000)
  })

  it("F11 lose no request while one after the other is restarted", async () => {
    const load = await startLoad()
    for (const instance of cluster.instances) {
      const before = load.count()
      await until(() => load.count() >= before + 20, patience)
      expect(await instance.stop()).toEqual({ code: 0, signal: null })
      // an operator waits for 2 s: the proxy sees within one that this instance is ready
      await restart(instance)
    }
    const before = load.count()
    await until(() => load.count() >= before + 20, patience)
    const { failures } = await load.stop()
    expect(failures).toEqual([])
  })

  it("are missed as a problem when there is none", async () => {
    await Promise.all(cluster.instances.map((instance) => instance.kill()))
    const answer = await request("GET", "/api/v1/tasks")
    expectProblem(answer, 503, "overloaded")
    expect(answer.headers.get("retry-after")).toBe("1")
    await Promise.all(cluster.instances.map(restart))
    expect((await request("GET", "/api/v1/tasks")).status).toBe(401)
  })
})
