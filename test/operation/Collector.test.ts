/** What a collector is sent by OTLP. */
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { expect, it } from "vitest"
import { having } from "../tasks/families.ts"
import { emptyDirectory, emptyPlace, type Finished, patience, start } from "./program.ts"

interface Attributes {
  readonly attributes: ReadonlyArray<{ readonly key: string; readonly value: Readonly<Record<string, unknown>> }>
}
interface Span extends Attributes {
  readonly name: string
  readonly spanId: string
  readonly parentSpanId?: string
}

/** A collector that remembers what it was sent; one that is `silent` takes it, and never answers. */
const startCollector = async (finished: Finished, isSilent = false) => {
  const received: Array<{ readonly path: string; readonly text: string }> = []
  const server: Server = createServer((request, response) => {
    let text = ""
    request.on("data", (chunk) => text += chunk)
    request.on("end", () => {
      received.push({ path: request.url ?? "", text })
      if (!isSilent) response.setHeader("content-type", "application/json").end("{}")
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  finished(() => {
    server.closeAllConnections()
    server.close()
  })
  const bodies = (path: string) => received.filter((one) => one.path === path).map(({ text }) => JSON.parse(text))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    spans: (): ReadonlyArray<Span> =>
      bodies("/v1/traces").flatMap(({ resourceSpans }) =>
        resourceSpans.flatMap(({ scopeSpans }: { scopeSpans: ReadonlyArray<{ spans: ReadonlyArray<Span> }> }) =>
          scopeSpans.flatMap(({ spans }) => spans)
        )
      ),
    bodies,
    /** What each message says of the process that sent it, by the message's path. */
    resources: (path: string): ReadonlyArray<Record<string, unknown>> =>
      bodies(path).flatMap((body) => Object.values(body).flat() as ReadonlyArray<{ readonly resource: Attributes }>)
        .map(({ resource }) => valuesOf(resource))
  }
}

const valuesOf = ({ attributes }: Attributes): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))

const settings = (url: string, finished: Finished) => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: url,
  DATA_DIR: emptyDirectory(finished)
})

it(
  "gets traces, metrics and logs of requests, without what users wrote or what lets them in",
  async ({ onTestFinished }) => {
    const collector = await startCollector(onTestFinished)
    const program = await start(settings(collector.url, onTestFinished), onTestFinished)
    const user = await program.register()
    const token = user.access_token
    const body = { title: "a title that is nobody's business" }
    const headers = { "x-request-id": "of-this-test" }
    having(201, await program.request("POST", "/api/v1/tasks", { token, body }))
    having(200, await program.request("GET", "/api/v1/tasks?q=searched", { token, headers }))
    program.kill("SIGTERM")
    expect((await program.ended).code).toBe(0)

    const spans = collector.spans()
    const list = spans.map((span) => ({ ...span, values: valuesOf(span) })).find(({ values }) =>
      values["request_id"] === "of-this-test"
    )
    expect(list).toMatchObject({
      name: "GET",
      values: {
        "http.route": "/api/v1/tasks",
        "http.request.method": "GET",
        "http.response.status_code": expect.toSatisfy((status) => Number(status) === 200),
        "user.id": user.id
      }
    })
    const inner = spans.filter(({ parentSpanId }) => parentSpanId === list?.spanId)
    expect(inner.map(({ name }) => name)).toContain("Tasks.list")
    const [query] = spans.filter(({ parentSpanId }) => inner.some(({ spanId }) => spanId === parentSpanId))
    expect(valuesOf(query!)["db.query.text"]).toContain("from tasks")

    const lines = JSON.stringify(collector.bodies("/v1/logs"))
    for (const text of ["listening", "security event", "registered", "of-this-test"]) expect(lines).toContain(text)
    expect(JSON.stringify(collector.bodies("/v1/metrics"))).toContain("http_request_duration_seconds")

    const everything = collector.received.map(({ text }) => text).join("\n")
    for (const secret of [token, user.refresh_token, user.password, user.email, "nobody's business", "searched"]) {
      expect(everything, secret).not.toContain(secret)
    }
    // what is logged for a collector is logged here, too
    expect(program.lines().map(({ message }) => message)).toContain("listening")
  },
  patience
)

it("knows processes from each other, in all that it gets", async ({ onTestFinished }) => {
  const collector = await startCollector(onTestFinished)
  const place = await emptyPlace(onTestFinished)
  const paths = ["/v1/traces", "/v1/metrics", "/v1/logs"]
  /** The one resource of all that a new process sends. */
  const resourceOf = async (env: Record<string, string> = {}) => {
    collector.received.splice(0)
    const program = await start({ ...place, ...env, OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }, onTestFinished)
    having(200, await program.request("GET", "/health/live"))
    program.kill("SIGTERM")
    expect((await program.ended).code).toBe(0)
    const resources = paths.flatMap((path) => {
      const found = collector.resources(path)
      expect(found.length, path).toBeGreaterThan(0)
      return found
    })
    expect(new Set(resources.map((resource) => JSON.stringify(resource))).size).toBe(1)
    return resources[0]!
  }
  const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
  const first = await resourceOf()
  expect(first).toMatchObject({ "service.name": "tasks-api", "service.instance.id": expect.stringMatching(uuid) })
  const second = await resourceOf({ OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=staging" })
  expect(second).toMatchObject({
    "deployment.environment.name": "staging",
    "service.instance.id": expect.stringMatching(uuid)
  })
  expect(second["service.instance.id"]).not.toBe(first["service.instance.id"])
  const named = await resourceOf({ OTEL_RESOURCE_ATTRIBUTES: "service.instance.id=pod%201" })
  expect(named["service.instance.id"]).toBe("pod 1")
}, patience)

it.each([["is not there", undefined], ["never answers", true]])(
  "that %s keeps no request waiting, nor the end",
  async (_, isSilent) => {
    const works: Array<() => Promise<void> | void> = []
    const finished: Finished = (work) => void works.push(work)
    try {
      const url = isSilent === undefined ? "http://127.0.0.1:9" : (await startCollector(finished, isSilent)).url
      const program = await start(settings(url, finished), finished)
      const { access_token: token } = await program.register()
      for (let i = 0; i < 50; i++) having(200, await program.request("GET", "/api/v1/tasks", { token }))
      const begin = performance.now()
      program.kill("SIGTERM")
      const { code } = await program.ended
      expect(code).toBe(0)
      expect(performance.now() - begin).toBeLessThan(15_000)
    } finally {
      for (const work of works.reverse()) await work()
    }
  },
  patience
)
