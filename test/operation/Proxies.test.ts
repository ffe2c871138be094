/** Plain HTTP and the headers of proxies, as the real program in production treats them. */
import { randomBytes } from "node:crypto"
import { request as httpRequest } from "node:http"
import { beforeAll, describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import type { Answer } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import { emptyPlace, type Line, patience, type Program, start, useFinished } from "./program.ts"

const atTheEnd = useFinished()

/** Addresses of this machine, as which the tests connect. */
const proxy = "127.0.0.2"
const secondProxy = "127.0.0.20"
const stranger = "127.0.0.9"
const client = "203.0.113.7"

let server: Program
beforeAll(async () => {
  server = await start({
    ...await emptyPlace(atTheEnd),
    APP_ENV: "production",
    JWT_SECRET: randomBytes(32).toString("hex"),
    METRICS_TOKEN: "scraper",
    TRUSTED_PROXIES: `${proxy}, 127.0.0.16/28`
  }, atTheEnd)
}, patience)

it("R66 has no metrics without a token of their own", async () => {
  const open = await start({
    ...await emptyPlace(atTheEnd),
    APP_ENV: "production",
    JWT_SECRET: randomBytes(32).toString("hex"),
    REQUIRE_HTTPS: "false"
  }, atTheEnd)
  for (const token of [undefined, "", "undefined", "scraper"]) {
    const answer = await open.request("GET", "/metrics", { ...(token !== undefined && { token }) })
    expectProblem(answer, 404, "not_found")
  }
}, patience)

interface Sent {
  readonly method?: string
  readonly headers?: Record<string, string | ReadonlyArray<string>>
  readonly body?: unknown
}

/** A request on a connection that comes from this address. */
const from = (localAddress: string, path: string, { body, headers, method = "GET" }: Sent = {}): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server.url)
    const text = body === undefined ? undefined : JSON.stringify(body)
    const request = httpRequest({
      hostname,
      port,
      localAddress,
      method,
      path,
      agent: false,
      headers: {
        ...(text !== undefined && { "content-type": "application/json", "content-length": String(text.length) }),
        ...headers as Record<string, string | Array<string>>
      }
    }, (response) => {
      let text = ""
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk
      })
      response.on("error", reject)
      response.on("end", () => {
        const headers = new Headers()
        for (const [name, value] of Object.entries(response.headers)) headers.set(name, String(value))
        const isJson = /[/+]json/.test(headers.get("content-type") ?? "")
        resolve({ status: response.statusCode ?? 0, headers, text, json: isJson ? JSON.parse(text) : undefined })
      })
    })
    request.on("error", reject)
    request.end(text)
  })

/** What the log has of a request. */
const linesOf = async (answer: Answer): Promise<ReadonlyArray<Line>> => {
  const until = Date.now() + 10_000
  for (;;) {
    const lines = server.lines().filter(
      ({ annotations }) => annotations["request_id"] === answer.headers.get("x-request-id")
    )
    if (lines.some(({ message }) => message === "request") || Date.now() > until) return lines
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
const addressOf = async (answer: Answer) => (await linesOf(answer)).at(-1)?.annotations["address"]

const https = { "x-forwarded-for": client, "x-forwarded-proto": "https" }

describe("REQUIRE_HTTPS, which is on in production,", () => {
  it.each(["/", "/docs", "/openapi.json", "/metrics", "/api/v1/tasks", "/nowhere", "/api/v1/health", "//health"])(
    "refuses %s by plain HTTP",
    async (path) => {
      const answer = await from(proxy, path)
      expectProblem(answer, 403, "https_required")
      expect(answer.headers.get("strict-transport-security")).toBeNull()
    }
  )

  it("lets health be asked by plain HTTP, and nothing else by way of its path", async () => {
    for (const path of ["/health", "/health/live", "/health/ready"]) {
      for (const address of [proxy, stranger]) having(200, await from(address, path))
    }
    for (const path of ["/health/../api/v1/auth/me", "/health/%2e%2e/api/v1/auth/me", "/health\\..\\api/v1/auth/me"]) {
      expect([400, 403, 404]).toContain((await from(proxy, path)).status)
    }
  })

  it("does nothing of what a refused request asks for", async () => {
    const account = { email: `${randomBytes(8).toString("hex")}@example.com`, password: "lantern orbit 47 velvet" }
    const register = (headers: Record<string, string>) =>
      from(proxy, "/api/v1/auth/register", { method: "POST", headers, body: account })
    const refused = await register({ ...https, "x-forwarded-proto": "http" })
    expectProblem(refused, 403, "https_required")
    expect((await linesOf(refused)).map(({ message }) => message)).toEqual(["request"])
    having(201, await register(https))
  })

  it("believes a trusted proxy that the client came by HTTPS, and tells the client to stay with it", async () => {
    for (const address of [proxy, secondProxy]) {
      const answer = having(401, await from(address, "/api/v1/tasks", { headers: https }))
      expect(answer.headers.get("strict-transport-security")).toMatch(/^max-age=\d{8}/)
    }
    having(200, await from(proxy, "/docs", { headers: { ...https, "x-forwarded-proto": "HTTPS" } }))
  })

  it.each([
    ["http", "http"],
    ["nothing", undefined],
    ["an empty one", ""],
    ["another scheme", "wss"],
    ["something like it", "https://"]
  ])("refuses what came through a trusted proxy that says %s of the scheme", async (_, scheme) => {
    const headers = { "x-forwarded-for": client, ...(scheme !== undefined && { "x-forwarded-proto": scheme }) }
    expectProblem(await from(proxy, "/api/v1/tasks", { headers }), 403, "https_required")
  })

  it.each<readonly [string, Record<string, string>]>([
    ["X-Forwarded-Proto", https],
    ["a chain that pretends to come from the proxy", { ...https, "x-forwarded-for": `${client}, ${proxy}` }],
    ["X-Forwarded-Proto alone", { "x-forwarded-proto": "https" }],
    ["X-Forwarded-Ssl and Front-End-Https", { "x-forwarded-ssl": "on", "front-end-https": "on" }],
    ["X-Forwarded-Scheme and X-Url-Scheme", { "x-forwarded-scheme": "https", "x-url-scheme": "https" }],
    ["Forwarded", { forwarded: `for=${client};proto=https` }]
  ])("ignores %s of anybody else", async (_, headers) => {
    for (const address of [stranger, "127.0.0.1"]) {
      const answer = await from(address, "/api/v1/tasks", { headers })
      expectProblem(answer, 403, "https_required")
      expect(answer.headers.get("strict-transport-security")).toBeNull()
      expect(await addressOf(answer)).toBe(address)
    }
  })

  it("believes one scheme for a longer chain, which is what most proxies send", async () => {
    // nginx with $proxy_add_x_forwarded_for and $scheme, or a load balancer, where the client sent a header of its own
    for (const chain of [`6.6.6.6, ${client}`, `${client}, ${secondProxy}`]) {
      const headers = { "x-forwarded-for": chain, "x-forwarded-proto": "https" }
      const answer = having(401, await from(proxy, "/api/v1/tasks", { headers }))
      expect(answer.headers.get("strict-transport-security")).toMatch(/^max-age=/)
      expect(await addressOf(answer)).toBe(client)
    }
  })

  it("believes a scheme without a chain", async () => {
    const answer = having(401, await from(proxy, "/api/v1/tasks", { headers: { "x-forwarded-proto": "https" } }))
    expect(await addressOf(answer)).toBe(proxy)
  })
})

describe("R16 the client's address", () => {
  const asked = async (address: string, chain: string | ReadonlyArray<string>, others: Record<string, string> = {}) =>
    addressOf(await from(address, "/health/live", { headers: { ...others, "x-forwarded-for": chain } }))

  it.each<readonly [string, string | ReadonlyArray<string>, string]>([
    ["the only hop", client, client],
    ["the last hop, whatever the client put before it", `6.6.6.6, ::1, 127.0.0.1, ${client}`, client],
    ["the last hop of several headers", ["6.6.6.6", client], client],
    ["the last hop that is not a proxy", `6.6.6.6, ${client}, ${secondProxy}, 127.0.0.31`, client],
    ["no proxy that the client names", `${proxy}, ${client}`, client],
    ["the last hop beyond a proxy of no trusted network", `${client}, 127.0.0.32`, "127.0.0.32"],
    ["of version 6", "6.6.6.6, 2001:db8::7", "2001:db8::7"],
    ["of version 6 with a port", `[2001:db8::7]:4711`, "2001:db8::7"],
    ["of version 4 with a port", `${client}:4711`, client],
    ["of version 4 within version 6", `::ffff:${client}`, client],
    ["the proxy's own where a hop is unknown", "unknown", proxy],
    ["the proxy's own where a hop is no address", `${client}, <script>`, proxy],
    ["the proxy's own where a hop is empty", "", proxy]
  ])("is %s", async (_, chain, expected) => {
    expect(await asked(proxy, chain)).toBe(expected)
  })

  it.each([stranger, "127.0.0.1", "127.0.0.15", "127.0.0.32"])(
    "is %s, which is no proxy, whatever it says",
    async (address) => {
      for (const chain of [client, proxy, `${client}, ${proxy}`, "127.0.0.1"]) {
        expect(await asked(address, chain)).toBe(address)
      }
    }
  )

  it("is never what a header of another name says", async () => {
    const others = Object.fromEntries(
      ["X-Real-IP", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP", "X-Cluster-Client-IP", "Fastly-Client-IP"]
        .map((name) => [name, "6.6.6.6"])
    )
    expect(await asked(proxy, client, { ...others, Forwarded: "for=6.6.6.6" })).toBe(client)
    expect(await asked(stranger, client, { ...others, Forwarded: "for=6.6.6.6" })).toBe(stranger)
  })

  it("is the one of security events and of the session", async () => {
    const account = { email: `${randomBytes(8).toString("hex")}@example.com`, password: "lantern orbit 47 velvet" }
    const registered = having(
      201,
      await from(proxy, "/api/v1/auth/register", { method: "POST", headers: https, body: account })
    )
    const [event] = await linesOf(registered)
    expect(event?.annotations).toMatchObject({ event: "registered", address: client })
    const sessions = await from(proxy, "/api/v1/auth/sessions", {
      headers: { ...https, authorization: `Bearer ${registered.json.access_token}` }
    })
    expect(having(200, sessions).json).toMatchObject([{ current: true, ip: client }])
  })
})
