/** What the real program writes: a line for each request, the events an operator looks for, and never a secret. */
import { randomBytes } from "node:crypto"
import { beforeAll, describe, expect, it } from "vitest"
import { head, headerIn, send, sendBytes } from "../http/exchange.ts"
import { flipped } from "../support/cursors.ts"
import type { Account, Answer } from "../support/TestServer.ts"
import { having, newId } from "../tasks/families.ts"
import { connectTo, emptyDatabase, startProxy, testDatabaseUrl } from "./postgres.ts"
import {
  emptyDataDir,
  emptyDirectory,
  emptyPlace,
  type Finished,
  launch,
  type Line,
  patience,
  type Program,
  start,
  useFinished
} from "./program.ts"

const atTheEnd = useFinished()

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

const idOf = (answer: Answer): string => answer.headers.get("x-request-id") ?? "none"

/** The lines of one request, once the one that ends it is there: it may be written after its answer has arrived. */
const linesOf = async (server: Program, id: string): Promise<ReadonlyArray<Line>> => {
  const until = Date.now() + 5_000
  for (;;) {
    const lines = server.lines().filter(({ annotations }) => annotations["request_id"] === id)
    if (lines.some(({ message }) => message === "request") || Date.now() > until) return lines
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

const sessionIn = (accessToken: string): string =>
  JSON.parse(Buffer.from(accessToken.split(".")[1] ?? "", "base64url").toString()).sid

describe("the log", () => {
  let server: Program
  let user: Account
  let begin = 0
  /** The ids of all answers: each must have left one line. */
  const answered: Array<string> = []

  beforeAll(async () => {
    begin = Date.now()
    server = await start({ ...await emptyPlace(atTheEnd), METRICS_TOKEN: "scraper" }, atTheEnd)
    user = await register()
  }, patience)

  const ask = async (...request: Parameters<Program["request"]>): Promise<Answer> => {
    const answer = await server.request(...request)
    answered.push(idOf(answer))
    return answer
  }
  const register = async (): Promise<Account> => {
    const body = { email: `${randomBytes(12).toString("hex")}@example.com`, password: "lantern orbit 47 velvet" }
    const { json } = having(201, await ask("POST", "/api/v1/auth/register", { body }))
    return { ...body, id: json.user.id, access_token: json.access_token, refresh_token: json.refresh_token }
  }
  const post = (path: string, body: unknown, token?: string) =>
    ask("POST", `/api/v1/auth${path}`, { body, ...(token !== undefined && { token }) })

  /** Bytes as they are, on a connection that ends with the answer. */
  const askRaw = async (request: string, headers: ReadonlyArray<string>, body = "") => {
    const length = `Content-Length: ${body.length}`
    const text = head(request, "Host: localhost", "Connection: close", length, ...headers) + body
    const bytes = Buffer.from(text, "latin1")
    const { statuses, text: answer } = await sendBytes(server, bytes)
    const id = headerIn(answer, "x-request-id") ?? "none"
    answered.push(id)
    return { id, status: statuses[0] }
  }

  describe("of a request is one line", () => {
    interface Case {
      readonly method: string
      /** `{me}` and `{new}` stand for the user's id and a new one */
      readonly path: string
      readonly status: number
      readonly route: string
      readonly token?: true
      readonly body?: unknown
      readonly headers?: Record<string, string>
    }
    const cases: ReadonlyArray<Case> = [
      { method: "GET", path: "/", status: 303, route: "/" },
      { method: "GET", path: "/docs", status: 200, route: "/docs" },
      { method: "GET", path: "/openapi.json?secret=1", status: 200, route: "/openapi.json" },
      { method: "GET", path: "/health/live", status: 200, route: "/health/live" },
      { method: "HEAD", path: "/health/live", status: 200, route: "/health/live" },
      { method: "GET", path: "/problems/not_found", status: 200, route: "/problems/:code" },
      { method: "GET", path: "/metrics", status: 401, route: "/metrics" },
      { method: "GET", path: "/nowhere/at/all", status: 404, route: "none" },
      { method: "DELETE", path: "/api/v1/tasks", status: 405, route: "none" },
      { method: "PROPFIND", path: "/api/v1/tasks", status: 405, route: "none" },
      { method: "GET", path: "/api/v1/tasks", status: 401, route: "/api/v1/tasks" },
      { method: "GET", path: "//API/v1/%74asks/?completed=true", status: 401, route: "/api/v1/tasks" },
      { method: "GET", path: "/api/v1/tasks", status: 200, route: "/api/v1/tasks", token: true },
      { method: "GET", path: "/api/v1/tasks/{new}", status: 404, route: "/api/v1/tasks/:id", token: true },
      { method: "GET", path: "/api/{me}/tasks", status: 200, route: "/api/:user_id/tasks", token: true },
      { method: "GET", path: "/api/{new}/tasks", status: 403, route: "/api/:user_id/tasks", token: true },
      { method: "POST", path: "/api/v1/tasks", status: 422, route: "/api/v1/tasks", token: true, body: {} },
      { method: "POST", path: "/api/v1/tasks", status: 201, route: "/api/v1/tasks", token: true, body: { title: "a" } },
      { method: "POST", path: "/api/auth/login", status: 400, route: "/api/auth/login" },
      {
        method: "POST",
        path: "/api/v1/auth/login",
        status: 413,
        route: "/api/v1/auth/login",
        body: { email: "a".repeat(20_000) }
      },
      {
        method: "POST",
        path: "/api/v1/auth/login",
        status: 415,
        route: "/api/v1/auth/login",
        headers: { "content-type": "text/plain" }
      }
    ]

    it.each(cases)(
      "$method $path: $status at $route",
      async ({ body, headers, method, path, route, status, token }) => {
        const answer = having(
          status,
          await ask(method, path.replace("{me}", user.id).replace("{new}", newId()), {
            ...(token && { token: user.access_token }),
            ...(body !== undefined && { body }),
            ...(headers && { headers })
          })
        )
        const lines = (await linesOf(server, idOf(answer))).filter(({ message }) => message === "request")
        expect(lines).toHaveLength(1)
        expect(lines[0]).toMatchObject({
          level: "INFO",
          annotations: {
            event: "request",
            request_id: idOf(answer),
            method: method === "PROPFIND" ? "other" : method,
            route,
            status,
            duration_ms: expect.any(Number),
            user_id: token ? user.id : null,
            address: "127.0.0.1"
          }
        })
        expect(lines[0]?.annotations["duration_ms"]).toBeGreaterThan(0)
        const time = Date.parse(lines[0]?.timestamp ?? "")
        expect(time).toBeGreaterThanOrEqual(begin)
        expect(time).toBeLessThanOrEqual(Date.now())
      }
    )

    it("whose text has nothing of the URL but the route", async () => {
      const secret = randomBytes(8).toString("hex")
      const asked = [`/${secret}`, `/api/v1/tasks/${secret}`, `/api/v1/tasks?q=${secret}`, `/problems/${secret}`]
      for (const path of asked) await linesOf(server, idOf(await ask("GET", path)))
      expect(server.stdout()).not.toContain(secret)
    })
  })

  describe("R72 of a security event has who, what, when and from where", () => {
    const userAgent = "curl/8 (a test)"
    const expectEvent = async (
      answer: Answer,
      event: string,
      userId: string | null,
      sessionId?: string
    ): Promise<void> => {
      const events = (await linesOf(server, idOf(answer))).filter(({ message }) => message === "security event")
      expect(events.map(({ annotations }) => annotations["event"])).toEqual([event])
      expect(events[0]?.annotations).toEqual({
        event,
        request_id: idOf(answer),
        user_id: userId,
        address: "127.0.0.1",
        user_agent: expect.any(String),
        ...(sessionId !== undefined && { session_id: sessionId })
      })
      const time = Date.parse(events[0]?.timestamp ?? "")
      expect(time).toBeGreaterThanOrEqual(begin)
      expect(time).toBeLessThanOrEqual(Date.now())
    }
    const told = (path: string, body: unknown, token?: string) =>
      ask("POST", `/api/v1/auth${path}`, {
        body,
        headers: { "user-agent": userAgent },
        ...(token !== undefined && { token })
      })

    it("a registration and its end", async () => {
      const email = `${randomBytes(12).toString("hex")}@example.com`
      const password = "lantern orbit 47 velvet"
      const registered = having(201, await told("/register", { email, password }))
      const { access_token, user: { id } } = registered.json
      await expectEvent(registered, "registered", id)
      const remove = (password: string) =>
        ask("DELETE", "/api/v1/auth/me", {
          token: access_token,
          body: { password },
          headers: { "user-agent": userAgent }
        })
      const session = sessionIn(access_token)
      await expectEvent(having(422, await remove("another")), "confirmation_failed", id, session)
      await expectEvent(having(204, await remove(password)), "account_deleted", id, session)
    })

    it("logins, right and wrong, of somebody and of nobody", async () => {
      const { email, id, password } = user
      const right = having(200, await told("/login", { email, password }))
      await expectEvent(right, "logged_in", id)
      await expectEvent(having(401, await told("/login", { email, password: "another" })), "login_failed", id)
      const nobody = having(401, await told("/login", { email: "nobody@example.com", password }))
      await expectEvent(nobody, "login_failed", null)
      const [event] = await linesOf(server, idOf(nobody))
      expect(event?.annotations["user_agent"]).toBe(userAgent)
    })

    it("logins of OAuth 2 clients, right and wrong, and their reuse of a refresh token", async () => {
      const { email, id, password } = user
      const token = (members: Record<string, string>) =>
        ask("POST", "/api/auth/token", {
          body: new URLSearchParams(members),
          headers: { "user-agent": userAgent }
        })
      const grant = { grant_type: "password", username: email, password }
      const right = having(200, await token(grant))
      await expectEvent(right, "logged_in", id)
      await expectEvent(having(400, await token({ ...grant, password: "another" })), "login_failed", id)
      const refresh = (refresh_token: string) => token({ grant_type: "refresh_token", refresh_token })
      const next = having(200, await refresh(right.json.refresh_token)).json.refresh_token
      having(200, await refresh(next))
      const reused = having(400, await refresh(right.json.refresh_token))
      await expectEvent(reused, "refresh_token_reused", id, sessionIn(right.json.access_token))
    })

    it("an export", async () => {
      const exported = await ask("GET", "/api/v1/auth/export", {
        token: user.access_token,
        headers: { "user-agent": userAgent }
      })
      await expectEvent(having(200, exported), "exported", user.id, sessionIn(user.access_token))
    })

    it("the ends of all sessions, and of all others", async () => {
      const { access_token, email, id, password } = await register()
      const login = having(200, await post("/login", { email, password })).json
      const others = having(204, await told("/logout?scope=others", {}, login.access_token))
      await expectEvent(others, "logged_out_others", id, sessionIn(login.access_token))
      having(401, await ask("GET", "/api/v1/auth/me", { token: access_token }))
      const all = having(204, await told("/logout?scope=global", {}, login.access_token))
      await expectEvent(all, "logged_out_everywhere", id, sessionIn(login.access_token))
    })

    it("the ends of sessions", async () => {
      const { email, id, password } = user
      const login = async () => having(200, await post("/login", { email, password })).json
      const [first, second] = [await login(), await login()]
      const ended = await ask("DELETE", `/api/v1/auth/sessions/${sessionIn(first.access_token)}`, {
        token: second.access_token,
        headers: { "user-agent": userAgent }
      })
      await expectEvent(having(204, ended), "session_ended", id, sessionIn(first.access_token))
      const out = having(204, await told("/logout", {}, second.access_token))
      await expectEvent(out, "logged_out", id, sessionIn(second.access_token))
    })

    it("a refresh token that was used again", async () => {
      const { email, id, password } = user
      const login = having(200, await post("/login", { email, password })).json
      const [stolen, session] = [login.refresh_token, sessionIn(login.access_token)]
      const next = having(200, await post("/refresh", { refresh_token: stolen })).json.refresh_token
      having(200, await post("/refresh", { refresh_token: next }))
      const reused = having(401, await told("/refresh", { refresh_token: stolen }))
      expect(reused.json.code).toBe("refresh_token_reused")
      await expectEvent(reused, "refresh_token_reused", id, session)
    })

    it("a change of the password, refused and done", async () => {
      const { access_token, id, password } = await register()
      const change = (current_password: string) =>
        told("/password", { current_password, new_password: "copper meadow 12 anchor" }, access_token)
      const session = sessionIn(access_token)
      await expectEvent(having(422, await change("another")), "confirmation_failed", id, session)
      await expectEvent(having(204, await change(password)), "password_changed", id, session)
    })

    it("an attempt at what is another user's is in the request's line", async () => {
      const victim = await register()
      const { id } =
        having(201, await ask("POST", "/api/v1/tasks", { token: victim.access_token, body: { title: "a" } }))
          .json
      const attempts: ReadonlyArray<readonly [path: string, status: number, route: string]> = [
        [`/api/v1/tasks/${id}`, 404, "/api/v1/tasks/:id"],
        [`/api/${victim.id}/tasks`, 403, "/api/:user_id/tasks"]
      ]
      for (const [path, status, route] of attempts) {
        const answer = having(status, await ask("GET", path, { token: user.access_token }))
        const lines = await linesOf(server, idOf(answer))
        expect(lines.at(-1)?.annotations).toMatchObject({ user_id: user.id, route, status, address: "127.0.0.1" })
        // a path that names somebody else is no accident; an id that is not there may be one
        const events = lines.slice(0, -1).map(({ annotations }) => annotations["event"])
        expect(events).toEqual(status === 403 ? ["forbidden"] : [])
      }
    })
  })

  describe("R72 can't be forged by", () => {
    const forged = `{"message":"forged","annotations":{"event":"logged_in"}}`

    it.each([
      ["a line of its own", `a","event":"logged_in`],
      ["JSON", forged],
      ["blanks", "a b"],
      ["more than 100 characters", "a".repeat(101)],
      ["nothing", ""],
      ["bytes that are lines in Unicode", "a\u0085b\u00e2\u0080\u00a8c"],
      ["a tab", "a\tb"]
    ])("an X-Request-Id of %s, which is replaced", async (_, given) => {
      const { id, status } = await askRaw("GET /health/live", [`X-Request-Id: ${given}`])
      expect(status).toBe(200)
      expect(id).toMatch(uuid)
      expect((await linesOf(server, id)).map(({ message }) => message)).toEqual(["request"])
    })

    it("an X-Request-Id of a proxy, which is kept, or two, which are not", async () => {
      const given = `trace-${newId()}.1:2_3`
      expect((await askRaw("GET /health/live", [`X-Request-Id: ${given}`])).id).toBe(given)
      expect((await linesOf(server, given)).map(({ message }) => message)).toEqual(["request"])
      expect((await askRaw("GET /health/live", ["X-Request-Id: a", "X-Request-Id: b"])).id).toMatch(uuid)
    })

    it.each([
      ["JSON and quotes", `"},${forged},{"`],
      ["tabs", `a\t${forged}`],
      ["bytes that are lines in Unicode", `a\u0085${forged}\u00e2\u0080\u00a8${forged}`],
      ["5,000 characters", "a".repeat(5_000)]
    ])("a User-Agent of %s", async (_, agent) => {
      const body = JSON.stringify({ email: "nobody@example.com", password: "wrong" })
      const { id, status } = await askRaw(
        "POST /api/v1/auth/login",
        [`User-Agent: ${agent}`, "Content-Type: application/json"],
        body
      )
      expect(status).toBe(401)
      const lines = await linesOf(server, id)
      expect(lines.map(({ message }) => message)).toEqual(["security event", "request"])
      expect(lines[0]?.annotations["user_agent"]).toMatch(/^[\x20-\x7e]{1,300}$/)
    })

    it.each([
      ["a bare line feed", `a\n${forged}`],
      ["a bare carriage return", `a\r${forged}`],
      ["a folded header", `a\r\n ${forged}`],
      ["colours and bells", `a\u001b[2J\u001b]0;${forged}\u0007`],
      ["a DEL", `a\u007f${forged}`]
    ])("%s in a header", async (_, value) => {
      for (const name of ["User-Agent", "X-Request-Id", "X-Forwarded-For"]) {
        const { id } = await askRaw("GET /health/live", [`${name}: ${value}`])
        expect(id).toMatch(uuid)
      }
    })

    it("a path or a query with an encoded line feed", async () => {
      const encoded = encodeURIComponent(`\r\n${forged}\n`)
      having(404, await ask("GET", `/${encoded}`))
      having(422, await ask("GET", `/health/live?${encoded}`))
    })
  })

  it(
    "R72 is JSON from the first line to the last, as many of them as there were requests, and nothing else",
    async () => {
      server.kill("SIGTERM")
      const { code, stderr, stdout } = await server.ended
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
      expect(stdout).toMatch(/\n$/)
      expect(stdout).not.toMatch(/[^\x20-\x7e\n]/)
      const lines: ReadonlyArray<Line> = stdout.trimEnd().split("\n").map((line) => JSON.parse(line))
      for (const { annotations, level, message, timestamp } of lines) {
        expect([typeof message, typeof level, typeof annotations]).toEqual(["string", "string", "object"])
        expect(new Date(timestamp).toISOString()).toBe(timestamp)
      }
      const requests = lines.filter(({ message }) => message === "request")
      expect(requests.map(({ annotations }) => annotations["request_id"]).sort()).toEqual([...answered].sort())
      expect([...new Set(lines.map(({ message }) => message))].sort()).toEqual(
        ["draining", "listening", "migrated", "request", "security event"]
      )
    },
    patience
  )
})

describe("R72 the log at its most talkative", () => {
  /** Unlike anything that could be in a log by chance. */
  const unique = () => randomBytes(12).toString("hex")

  it("has no secret of a whole session, however it was sent", async ({ onTestFinished: finished }) => {
    const secrets = new Map<string, string>()
    const secret = (what: string, value = unique()): string => {
      secrets.set(what, value)
      return value
    }
    const database = testDatabaseUrl === undefined ? undefined : await emptyDatabase(finished)
    const proxy = database && await startProxy(database.url, finished)
    const proxied = proxy && new URL(proxy.url)
    if (proxied !== undefined) proxied.password = secret("the password of the database")
    const server = await start({
      LOG_LEVEL: "trace",
      JWT_SECRET: secret("JWT_SECRET", unique() + unique()),
      JWT_SECRET_PREVIOUS: secret("JWT_SECRET_PREVIOUS", unique() + unique()),
      METRICS_TOKEN: secret("METRICS_TOKEN"),
      ...(proxied === undefined
        ? { DATA_DIR: await emptyDataDir(finished) }
        : { DATABASE_URL: proxied.href, DATA_DIR: emptyDirectory(finished) })
    }, finished)

    const post = (path: string, body: unknown, token?: string) =>
      server.request("POST", `/api/v1/auth${path}`, { body, ...(token !== undefined && { token }) })
    const raw = (body: string, contentType: string) =>
      sendBytes(
        server,
        head(
          "POST /api/v1/auth/login",
          "Host: localhost",
          "Connection: close",
          `Content-Type: ${contentType}`,
          `Content-Length: ${Buffer.byteLength(body)}`
        ) + body
      )
    let logins = 0
    const keep = ({ json }: Answer) => {
      secret(`access token ${++logins}`, json.access_token)
      secret(`signature ${logins}`, json.access_token.split(".")[2])
      secret(`refresh token ${logins}`, json.refresh_token)
      return json
    }

    const email = `${secret("the local part of the address")}@example.com`
    const username = secret("the username", `u${unique()}`)
    const password = secret("the password")
    const account = { email, username, password, confirm_password: password }
    const first = keep(having(201, await post("/register", account)))
    having(409, await post("/register", account))
    having(422, await post("/register", { ...account, password: secret("a short password", "q9#Zt") }))
    having(422, await post("/register", { ...account, extra: secret("an unknown member") }))
    const login = keep(having(200, await post("/login", { email, password })))
    having(200, await post("/login", { username, password }))
    const token = (members: Record<string, string>) =>
      server.request("POST", "/api/v1/auth/token", { body: new URLSearchParams(members) })
    keep(having(200, await token({ grant_type: "password", username, password })))
    having(400, await token({ grant_type: "password", username, password: secret("another wrong password") }))
    having(400, await token({ grant_type: secret("a grant type"), [secret("a member")]: secret("its value") }))
    having(200, await server.request("GET", "/api/v1/auth/export", { token: login.access_token }))
    having(401, await post("/login", { email, password: secret("a wrong password") }))
    // typed into the wrong field
    having(401, await post("/login", { email: password, password: email }))
    having(422, await post("/login", { email, password, username: password }))
    having(422, await post(`/login?password=${password}`, { email, password }))
    for (const body of [`{"email":"${email}","password":"${password}"`, `password=${password}`, `"${password}"`]) {
      for (const type of ["application/json", "application/x-www-form-urlencoded"]) await raw(body, type)
    }
    await raw(`{"password":"${password}"}`.padEnd(20_000), "application/json")

    // tokens where they belong, and where they do not
    const { access_token, refresh_token } = login
    having(200, await server.request("GET", "/api/v1/auth/me", { token: access_token }))
    having(401, await server.request("GET", `/api/v1/tasks?access_token=${access_token}`))
    having(422, await server.request("GET", `/api/v1/tasks?access_token=${access_token}`, { token: access_token }))
    having(422, await server.request("GET", `/api/v1/tasks/${password}`, { token: access_token }))
    having(404, await server.request("GET", `/${access_token}/${password}`))
    having(404, await server.request("GET", `/problems/${refresh_token}`))
    const basic = secret("basic credentials", Buffer.from(`${email}:${password}`).toString("base64"))
    for (const authorization of [`Basic ${basic}`, `Bearer ${access_token}x`, `Bearer ${refresh_token}`, password]) {
      having(401, await server.request("GET", "/api/v1/tasks", { headers: { authorization } }))
    }
    const cookie = secret("a cookie")
    const unwelcome = { cookie: `session=${cookie}`, "x-request-id": access_token, "x-forwarded-for": password }
    having(200, await server.request("GET", "/health/live", { headers: unwelcome }))
    const metricsToken = secrets.get("METRICS_TOKEN") ?? ""
    having(200, await server.request("GET", "/metrics", { token: metricsToken }))
    having(401, await server.request("GET", "/metrics", { token: `${metricsToken}x` }))

    const refreshed = keep(having(200, await post("/refresh", { refresh_token })))
    keep(having(200, await post("/refresh", { refresh_token: refreshed.refresh_token })))
    having(401, await post("/refresh", { refresh_token }))
    having(401, await post("/refresh", { refresh_token: flipped(refresh_token, refresh_token.length - 2) }))
    having(401, await post("/refresh", { refresh_token: access_token }))
    having(204, await post("/logout", { refresh_token }))

    const next = secret("the next password")
    const change = (current_password: string, new_password: string) =>
      post("/password", { current_password, new_password }, first.access_token)
    having(422, await change(secrets.get("a wrong password") ?? "", next))
    having(204, await change(password, next))
    having(401, await post("/login", { email, password }))

    if (database !== undefined && proxy !== undefined) {
      const [{ password_hash } = { password_hash: "" }] = await database.sql<{ password_hash: string }>(
        "select password_hash from users where id = $1",
        [first.user.id]
      )
      secret("the hash", password_hash)
      // failures of statements that carry what must not be told
      const holder = connectTo(database.url, finished)
      await holder.sql("begin")
      await holder.sql("lock table users in access exclusive mode")
      const stuck = [
        change(next, secret("a password that was not stored")),
        post("/register", { email: `${secret("another local part")}@example.com`, password })
      ]
      for (const answer of await Promise.all(stuck)) having(503, answer)
      await holder.sql("rollback")
      await proxy.cut()
      having(503, await post("/login", { email, password: next }))
      having(503, await post("/refresh", { refresh_token: first.refresh_token }))
      await proxy.restore()
      while ((await server.request("GET", "/health/ready")).status !== 200) continue
      await server.logged("the database is busy")
      await server.logged("the database is not available")
    }
    having(422, await server.request("DELETE", "/api/v1/auth/me", { token: first.access_token, body: { password } }))
    having(
      204,
      await server.request("DELETE", "/api/v1/auth/me", { token: first.access_token, body: { password: next } })
    )

    server.kill("SIGTERM")
    const { code, stderr, stdout } = await server.ended
    expect(code).toBe(0)
    expect(stdout).toContain("login_failed")
    const written = (stdout + stderr).toLowerCase()
    for (const [what, value] of secrets) {
      for (
        const form of [
          value,
          encodeURIComponent(value),
          Buffer.from(value).toString("base64").replace(/=+$/, ""),
          Buffer.from(value).toString("base64url"),
          Buffer.from(value).toString("hex")
        ]
      ) expect(written.includes(form.toLowerCase()), what).toBe(false)
    }
    expect(written).not.toMatch(/\$argon2|\$2[aby]\$|bearer +ey|eyj/)
  }, patience)
})

it("F25 that nobody reads holds up no request, and says afterwards what was left out", async ({ onTestFinished }) => {
  const program = await start(await emptyPlace(onTestFinished), onTestFinished)
  program.read(false)
  // 8,000 lines: twice what a pipe and what waits for it hold, 1,000,000 characters and some
  const agent = "a".repeat(300)
  const body = JSON.stringify({ email: "nobody@example.com", password: "wrong" })
  const headers = { "content-type": "application/json", "user-agent": agent }
  for (let round = 0; round < 80; round++) {
    const statuses = await Promise.all(
      Array.from({ length: 100 }, () => send(program, "GET", "/health/live", { headers }).then(({ status }) => status))
    )
    expect(new Set(statuses)).toEqual(new Set([200]))
  }
  expect((await send(program, "POST", "/api/v1/auth/login", { headers, body })).status).toBe(401)
  program.read(true)
  await program.logged("lines of the log were left out")
  program.kill("SIGTERM")
  const { code, stdout } = await program.ended
  expect(code).toBe(0)
  for (const line of stdout.trimEnd().split("\n")) JSON.parse(line)
}, patience)

it("F25 that nobody reads does not keep the process from ending", async ({ onTestFinished }) => {
  const program = await start(await emptyPlace(onTestFinished), onTestFinished)
  program.read(false)
  for (let round = 0; round < 10; round++) {
    await Promise.all(Array.from({ length: 100 }, () => send(program, "GET", "/health/live")))
  }
  program.kill("SIGTERM")
  setTimeout(() => program.read(true), 5_000)
  expect((await program.ended).code).toBe(0)
}, patience)

it.each(["json", "pretty"])("F25 whose reader went away, %s, ends no request", async (format) => {
  const works: Array<() => Promise<void> | void> = []
  const finished: Finished = (work) => void works.push(work)
  try {
    const program = launch(
      "src/main.ts",
      { ...await emptyPlace(finished), PORT: "0", LOG_FORMAT: format, LOG_LEVEL: "trace" },
      finished
    )
    const address = () => /address"?: ?"?(http:[\w.:/]+)/.exec(program.stdout())?.[1]
    await expect.poll(address, { timeout: patience }).toBeDefined()
    const ask = () => send({ url: address()! }, "GET", "/health/live")
    const answer = having(200, await ask())
    await expect.poll(program.stdout).toContain(idOf(answer))
    if (format === "pretty") {
      expect(program.stdout()).toMatch(/^\[[\d:.]+\] INFO \(#\d+\): request\n {2}\w+: .*\n/m)
      expect(program.stdout()).toMatch(/^ {2}route: \/health\/live\n {2}status: 200\n/m)
    }
    program.hangUp()
    // one after the other: each is written on its own
    for (let i = 0; i < 30; i++) {
      having(200, await ask())
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    program.kill("SIGTERM")
    const { code, signal, stderr } = await program.ended
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: "" })
  } finally {
    for (const work of works.reverse()) await work()
  }
}, patience)
