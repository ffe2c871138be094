import { beforeAll, describe, expect, it } from "vitest"
import { type Account, useServer } from "../support/TestServer.ts"
import { create, listAll, newId } from "../tasks/families.ts"
import { converse, head, headerIn, sendBytes } from "./exchange.ts"

const server = useServer()
let user: Account
let taskId = ""
beforeAll(async () => {
  user = await server.register()
  taskId = (await create(server, user)).id
})

const host = "Host: localhost"
const json = "Content-Type: application/json"
const bearer = () => `Authorization: Bearer ${user.access_token}`
/** A second request that must never be seen as one. */
const smuggled = () => head(`DELETE /api/v1/tasks/${taskId}`, host, bearer())
const body = '{"title":"a"}'
const slow = 20_000

const ambiguous: ReadonlyArray<readonly [string, () => string]> = [
  [
    "Transfer-Encoding and Content-Length",
    () =>
      head("POST /api/v1/tasks", host, bearer(), json, "Content-Length: 5", "Transfer-Encoding: chunked") +
      `0\r\n\r\n${smuggled()}`
  ],
  [
    "Content-Length and Transfer-Encoding, the other way round",
    () =>
      head("POST /api/v1/tasks", host, bearer(), json, "Transfer-Encoding: chunked", `Content-Length: ${body.length}`) +
      `${body}${smuggled()}`
  ],
  [
    "two different Content-Lengths",
    () =>
      head("POST /api/v1/tasks", host, bearer(), json, `Content-Length: ${body.length}`, "Content-Length: 0") +
      `${body}${smuggled()}`
  ],
  [
    "two equal Content-Lengths",
    () => head("POST /api/v1/tasks", host, bearer(), json, "Content-Length: 13", "Content-Length: 13") + body
  ],
  [
    "a Content-Length that is no number",
    () => head("POST /api/v1/tasks", host, bearer(), json, "Content-Length: 13x") + body
  ],
  ["a negative Content-Length", () => head("POST /api/v1/tasks", host, bearer(), json, "Content-Length: -1") + body],
  ["a blank before the colon", () => head("POST /api/v1/tasks", host, bearer(), json, "Content-Length : 13") + body],
  [
    "chunked that is not the last coding",
    () =>
      head("POST /api/v1/tasks", host, bearer(), json, "Transfer-Encoding: chunked, identity") +
      `0\r\n\r\n${smuggled()}`
  ],
  [
    "a chunk size that is no number",
    () => head("POST /api/v1/tasks", host, bearer(), json, "Transfer-Encoding: chunked") + `0xd\r\n${body}\r\n0\r\n\r\n`
  ],
  ["a NUL in a header", () => head("GET /health/live", host, "X-A: a\u0000b")],
  ["no Host", () => head("GET /health/live")],
  ["no request line", () => "hello\r\n\r\n"],
  ["a version that does not exist", () => `GET /health/live HTTP/9.9\r\n${host}\r\n\r\n`],
  ["a TLS hello", () => "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003\r\n\r\n"]
]

describe.concurrent("a request that can be read in two ways or not at all", () => {
  it.each(ambiguous)("R64 with %s is 400 once, and the connection is closed", async (_, bytes) => {
    const answer = await sendBytes(server, Buffer.from(bytes(), "latin1"))
    expect(answer.statuses).toEqual([400])
    expect(answer.closed).toBe(true)
  }, slow)

  it("R64 never runs a request that was smuggled", async () => {
    for (const [, bytes] of ambiguous.slice(0, 3)) await sendBytes(server, Buffer.from(bytes(), "latin1"))
    expect((await listAll(server, user)).map((task) => task.id)).toEqual([taskId])
  }, slow)

  it("R64 is a problem with a request id, as every other failure", async () => {
    const answer = await sendBytes(server, Buffer.from(ambiguous[0]?.[1]() ?? "", "latin1"))
    expect(headerIn(answer.text, "content-type")).toMatch(/^application\/problem\+json/)
    const id = headerIn(answer.text, "x-request-id")
    expect(id).toBeTruthy()
    const problem = JSON.parse(answer.text.slice(answer.text.indexOf("\r\n\r\n") + 4))
    expect(problem).toMatchObject({ status: 400, request_id: id })
    expect(problem.type).toBe(`/problems/${problem.code}`)
  }, slow)
})

describe.concurrent("headers that are too large", () => {
  const large: ReadonlyArray<readonly [string, () => string]> = [
    ["one header of 20 KB", () => head("GET /health/live", host, `X-A: ${"a".repeat(20_480)}`)],
    ["a token of 20 KB", () => head("GET /api/v1/tasks", host, `Authorization: Bearer ${"a".repeat(20_480)}`)],
    [
      "400 headers of 50 bytes",
      () => head("GET /health/live", host, ...Array.from({ length: 400 }, (_, at) => `X-${at}: ${"a".repeat(45)}`))
    ],
    ["a path of 20 KB", () => head(`GET /${"a".repeat(20_480)}`, host)]
  ]

  it.each(large)("R64 %s: 431, and the connection is closed", async (_, bytes) => {
    const answer = await sendBytes(server, bytes())
    expect(answer.statuses).toEqual([431])
    expect(answer.closed).toBe(true)
  }, slow)

  it("R64 are a problem with a request id, as every other failure", async () => {
    const answer = await sendBytes(server, large[0]?.[1]() ?? "")
    expect(headerIn(answer.text, "content-type")).toMatch(/^application\/problem\+json/)
    expect(headerIn(answer.text, "x-request-id")).toBeTruthy()
  }, slow)

  it("R64 of 12 KB are read", async () => {
    const answer = await sendBytes(
      server,
      head("GET /health/live", host, `X-A: ${"a".repeat(12_288)}`, "Connection: close")
    )
    expect(answer.statuses).toEqual([200])
  }, slow)
})

describe.concurrent("a client that drips", () => {
  const drip = (first: () => string, drop: () => string, everyMs: number, deadlineMs: number) =>
    converse(server, (socket) => {
      socket.write(first())
      const timer = setInterval(() => socket.write(drop()), everyMs)
      socket.on("close", () => clearInterval(timer))
    }, deadlineMs)

  it.each<readonly [string, () => string, string]>([
    ["headers", () => `GET /health/live HTTP/1.1\r\n${host}\r\n`, "X-A: b\r\n"],
    ["one endless header", () => `GET /health/live HTTP/1.1\r\n${host}\r\nX-A: `, "b"],
    ["the request line", () => "GET /", "a"]
  ])("R64 %s is cut off within 12 s", async (_, first, drop) => {
    let drops = 0
    const next = () => {
      drops++
      return drop
    }
    const answer = await drip(first, next, 500, 20_000)
    expect(answer.closed).toBe(true)
    // they tell the time of this process, which both sides share: a clock of the wall also tells how busy the machine is
    expect(drops).toBeLessThan(24)
    expect([[], [408]]).toContainEqual(answer.statuses)
  }, slow)

  it.runIf(process.env["SLOW_TESTS"] === "1")("R64 a body is answered 408 within 31 s", async () => {
    const answer = await drip(
      () => head("POST /api/v1/tasks", host, bearer(), json, "Content-Length: 1000"),
      () => " ",
      500,
      32_000
    )
    expect(answer.closed).toBe(true)
    expect(answer.statuses).toEqual([408])
  }, 40_000)

  it("R64 does not keep others waiting", async () => {
    const dripping = drip(() => `GET /health/live HTTP/1.1\r\n${host}\r\n`, () => "X-A: b\r\n", 500, 12_000)
    const statuses = await Promise.all(
      Array.from({ length: 20 }, async () => (await server.request("GET", "/health/live")).status)
    )
    expect(statuses).toEqual(Array<number>(20).fill(200))
    await dripping
  }, slow)
})

describe.concurrent("a connection", () => {
  it("answers pipelined requests one by one, in their order", async () => {
    const answer = await sendBytes(
      server,
      head("GET /health/live", host) +
        head(`GET /api/v1/tasks/${newId()}`, host, bearer()) +
        head("POST /api/v1/tasks", host, json, "Content-Length: 13") + body +
        head("GET /health/live", host, "Connection: close")
    )
    expect(answer.statuses).toEqual([200, 404, 401, 200])
  }, slow)

  it("that breaks off in the middle of a body stores nothing and harms nobody", async () => {
    const before = (await listAll(server, user)).length
    await converse(server, async (socket) => {
      socket.write(head("POST /api/v1/tasks", host, bearer(), json, "Content-Length: 13") + body.slice(0, 8))
      await new Promise((resolve) => setTimeout(resolve, 100))
      socket.destroy()
    })
    expect((await server.request("GET", "/health/live")).status).toBe(200)
    expect((await listAll(server, user)).length).toBe(before)
  }, slow)
})

describe.concurrent("a request for another protocol", () => {
  const upgrades = [
    ["Connection: Upgrade", "Upgrade: h2c"],
    ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"],
    [
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    ]
  ]

  it.each(upgrades)("R64 is an ordinary one, and its connection, too: %s", async (...headers) => {
    const account = await server.register()
    const bearer = () => `Authorization: Bearer ${account.access_token}`
    const title = `asked by ${headers.join()} ${newId()}`
    const task = JSON.stringify({ title })
    const chunked = `${task.length.toString(16)}\r\n${task}\r\n0\r\n\r\n`
    // one after the other: nobody sends more before it is known which protocol that is in
    const requests = [
      head("POST /api/v1/tasks", host, bearer(), json, ...headers, `Content-Length: ${task.length}`) + task,
      head("POST /api/v1/tasks", host, bearer(), json, ...headers, "Transfer-Encoding: chunked") + chunked,
      head("GET /health/live", host, ...headers),
      head("GET /health/live", host, "Connection: close")
    ]
    const answer = await converse(server, async (socket, { answers }) => {
      for (const [index, request] of requests.entries()) {
        socket.write(request)
        while (answers() <= index) await new Promise((resolve) => setTimeout(resolve, 10))
      }
    })
    expect(answer.statuses).toEqual([201, 201, 200, 200])
    expect(answer.closed).toBe(true)
    expect((await listAll(server, account)).filter((task) => task.title === title)).toHaveLength(2)
  }, slow)
})

describe.concurrent("a request with expectations", () => {
  it("is told to go on, and done", async () => {
    const account = await server.register()
    const bearer = () => `Authorization: Bearer ${account.access_token}`
    const answer = await converse(server, async (socket, { answered }) => {
      const expecting = ["Expect: 100-continue", `Content-Length: ${body.length}`, "Connection: close"]
      socket.write(head("POST /api/v1/tasks", host, bearer(), json, ...expecting))
      while (!answered()) await new Promise((resolve) => setTimeout(resolve, 10))
      socket.write(body)
    })
    expect(answer.statuses).toEqual([100, 201])
  }, slow)

  it("R65 that nobody knows is done without them", async () => {
    const answer = await sendBytes(
      server,
      head("GET /api/v1/tasks", host, bearer(), "Expect: tea", "Connection: close")
    )
    expect(answer.statuses).toEqual([200])
    expect(headerIn(answer.text, "x-request-id")).toBeTruthy()
  }, slow)
})
