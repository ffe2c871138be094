import { beforeAll, describe, expect, it } from "vitest"
import { gzipSync } from "node:zlib"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { checksum, create, families, having, listAll, newId, read } from "../tasks/families.ts"
import { converse, head, headerIn, type Received, send, sendBytes } from "./exchange.ts"

const server = useServer()
let user: Account
beforeAll(async () => {
  user = await server.register()
})

const json = { "content-type": "application/json" }
const raw = (method: string, path: string, body: string | Uint8Array, headers: Record<string, string> = json) =>
  server.request(method, path, { token: user.access_token, raw: body, headers })
const post = (body: string | Uint8Array, headers?: Record<string, string>) =>
  raw("POST", "/api/v1/tasks", body, headers)
const bearer = () => ({ authorization: `Bearer ${user.access_token}` })
const alive = async () => having(200, await server.request("GET", "/health/live"))
const count = async () => (await listAll(server, user)).length

describe("a body that is not JSON", () => {
  const malformed: ReadonlyArray<readonly [string, string | Uint8Array]> = [
    ["empty", ""],
    ["only blanks", " \n"],
    ["cut", '{"title":"a"'],
    ["only a brace", "{"],
    ["a trailing comma", '{"title":"a",}'],
    ["a comment", '{"title":"a"/* b */}'],
    ["single quotes", "{'title':'a'}"],
    ["a bare name", '{title:"a"}'],
    ["two values", '{"title":"a"}{"title":"b"}'],
    ["NaN", '{"title":NaN}'],
    ["undefined", "undefined"],
    ["a bad escape", '{"title":"\\x41"}'],
    ["a raw line break in a string", '{"title":"a\nb"}'],
    ["a leading zero", '{"title":01}'],
    ["form data", "title=a"],
    ["XML", "<task><title>a</title></task>"],
    ["open brackets, 100,000 deep", "[".repeat(100_000)],
    ["invalid UTF-8 in a string", Buffer.from([...Buffer.from('{"title":"'), 0xff, 0xfe, ...Buffer.from('"}')])],
    ["an overlong NUL", Buffer.from([...Buffer.from('{"title":"'), 0xc0, 0x80, ...Buffer.from('"}')])],
    ["a surrogate in UTF-8", Buffer.from([...Buffer.from('{"title":"'), 0xed, 0xa0, 0x80, ...Buffer.from('"}')])],
    ["a cut multi-byte letter", Buffer.from([...Buffer.from('{"title":"a"}'), 0xc3])],
    ["UTF-16", Buffer.from('{"title":"a"}', "utf16le")]
  ]

  it.each(malformed)("R61 %s is 400 and stores nothing", async (_, body) => {
    const before = await count()
    expectProblem(await post(body), 400, "malformed_body")
    expect(await count()).toBe(before)
    await alive()
  })

  it("R61 is refused by PUT, PATCH and complete too", async () => {
    const made = await create(server, user)
    for (const [method, suffix] of [["PUT", ""], ["PATCH", ""], ["PATCH", "/complete"]] as const) {
      for (const body of ["{", '{"completed":tru}', Buffer.from([0x22, 0xff, 0x22])]) {
        expectProblem(await raw(method, `/api/v1/tasks/${made.id}${suffix}`, body), 400, "malformed_body")
      }
    }
    for (const method of ["PUT", "PATCH"]) {
      expectProblem(await raw(method, `/api/v1/tasks/${made.id}`, ""), 400, "malformed_body")
    }
    expect(await read(server, user, made.id)).toEqual(made)
  })
})

describe("JSON that is not a task", () => {
  const wrong: ReadonlyArray<readonly [string, string]> = [
    ["an array", "[]"],
    ["an array with a task", '[{"title":"a"}]'],
    ["a string", '"title"'],
    ["a number", "1"],
    ["a number beyond any double", "1e400"],
    ["true", "true"],
    ["null", "null"],
    ["a title of 1e400", '{"title":1e400}'],
    ["a title of 2^53+1", '{"title":9007199254740993}'],
    ["an unknown member of 1e400", '{"title":"a","x":1e400}'],
    ["an array like an object", '{"title":["a"]}'],
    ["a title 60,000 deep", `{"title":${"[".repeat(60_000)}${"]".repeat(60_000)}}`],
    ["an unknown member 15,000 objects deep", `{"title":"a","x":${'{"a":'.repeat(15_000)}1${"}".repeat(15_000)}}`],
    ["10,000 unknown members", `{${Array.from({ length: 10_000 }, (_, index) => `"m${index}":1`).join(",")}}`],
    ["30,000 tags", `{"title":"a","tags":[${Array<string>(30_000).fill('"a"').join(",")}]}`]
  ]

  it.each(wrong)("R61 %s is 422, for POST, PUT and PATCH, and stores nothing", async (_, body) => {
    const made = await create(server, user)
    const before = await checksum(server, user)
    expectProblem(await post(body), 422, "validation_failed")
    expectProblem(await raw("PUT", `/api/v1/tasks/${made.id}`, body), 422, "validation_failed")
    expectProblem(await raw("PATCH", `/api/v1/tasks/${made.id}`, body), 422, "validation_failed")
    expect(await checksum(server, user)).toEqual(before)
    await alive()
  })

  it.each(["[]", '"x"', "1", "null", "[true]"])("R61 %s is refused by complete", async (body) => {
    const made = await create(server, user)
    expectProblem(await raw("PATCH", `/api/v1/tasks/${made.id}/complete`, body), 422, "validation_failed")
    expect(await read(server, user, made.id)).toEqual(made)
  })

  it("R61 brackets 100,000 deep on both sides are too large", async () => {
    expectProblem(await post(`{"title":${"[".repeat(100_000)}${"]".repeat(100_000)}}`), 413, "too_large")
    await alive()
  })

  it("R61 of duplicate members the last one wins", async () => {
    const made = having(201, await post('{"title":"first","priority":"low","title":"last"}')).json
    expect(made).toMatchObject({ title: "last", priority: "low" })
    const patched = await raw("PATCH", `/api/v1/tasks/${made.id}`, '{"completed":true,"completed":false}')
    expect(having(200, patched).json.completed).toBe(false)
    const twice = '{"completed":false,"completed":true}'
    const completed = await raw("PATCH", `/api/v1/tasks/${made.id}/complete`, twice)
    expect(having(200, completed).json.completed).toBe(true)
    expectProblem(await post('{"title":"a","title":""}'), 422, "validation_failed")
    expect(having(201, await post('{"title":"","title":"a"}')).json.title).toBe("a")
    expect(having(201, await post('{"title":"a","\\u0074itle":"escaped"}')).json.title).toBe("escaped")
  })

  it("R61 a byte order mark is ignored or refused, and never part of the data", async () => {
    const answer = await post('\ufeff{"title":"a"}')
    if (answer.status === 201) expect(answer.json.title).toBe("a")
    else expectProblem(answer, 400, "malformed_body")
  })
})

describe("the media type of a body", () => {
  const body = '{"title":"a"}'

  it("R61 may be JSON in any spelling, with parameters, or missing", async () => {
    for (const type of ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"]) {
      having(201, await post(body, { "content-type": type }))
    }
    having(201, await send(server, "POST", "/api/v1/tasks", { headers: bearer(), body }))
    const { id } = await create(server, user)
    for (const method of ["PUT", "PATCH"]) {
      const answer = await send(server, method, `/api/v1/tasks/${id}`, { headers: bearer(), body: '{"title":"b"}' })
      expect(having(200, answer).json.title).toBe("b")
    }
  })

  const others = [
    "text/plain",
    "text/plain;charset=UTF-8",
    "text/json",
    "application/xml",
    "application/jsonp",
    "application/json-seq",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/octet-stream",
    "application/merge-patch+json",
    "text/plain; application/json",
    "nonsense"
  ]

  it.each(others)("R61 %s is 415 for a create and stores nothing", async (type) => {
    const before = await count()
    expectProblem(await post(body, { "content-type": type }), 415, "unsupported_media_type")
    expect(await count()).toBe(before)
  })

  it.each(others.filter((type) => !type.includes("merge-patch")))("R61 %s is 415 for a change", async (type) => {
    const made = await create(server, user)
    for (const [method, suffix] of [["PUT", ""], ["PATCH", ""], ["PATCH", "/complete"]] as const) {
      const answer = await raw(method, `/api/v1/tasks/${made.id}${suffix}`, '{"completed":true}', {
        "content-type": type
      })
      expectProblem(answer, 415, "unsupported_media_type")
    }
    expect(await read(server, user, made.id)).toEqual(made)
  })

  it("R61 a compressed body is refused", async () => {
    const before = await count()
    for (const encoding of ["gzip", "br", "deflate"]) {
      const answer = await post(gzipSync(body), { ...json, "content-encoding": encoding })
      if (answer.status === 400) expectProblem(answer, 400, "malformed_body")
      else expectProblem(answer, 415, "unsupported_media_type")
    }
    expect(await count()).toBe(before)
    await alive()
  })
})

describe("complete and restore without a body", () => {
  it("work with no body at all, an empty one, and a content type with nothing behind it", async () => {
    const path = `/api/v1/tasks/${(await create(server, user)).id}`
    for (const headers of [{}, json, { "content-length": "0" }]) {
      having(200, await raw("PATCH", `${path}/complete`, '{"completed":false}'))
      const answer = await send(server, "PATCH", `${path}/complete`, { headers: { ...bearer(), ...headers } })
      expect(having(200, answer).json.completed).toBe(true)
    }
    for (const { tasks } of families) {
      await server.request("DELETE", path, { token: user.access_token })
      const restore = new URL(`${tasks(user)}/${path.split("/").at(-1)}/restore`, server.url).pathname
      having(200, await send(server, "POST", restore, { headers: { ...bearer(), ...json } }))
    }
  })
})

const limit = 128 * 1024
const authLimit = 16 * 1024
/** A task in exactly this many bytes of JSON. */
const sized = (bytes: number, text = '{"title":"sized"}') => `${text.slice(0, -1)}${" ".repeat(bytes - text.length)}}`
const taskHead = (...headers: ReadonlyArray<string>) =>
  head("POST /api/v1/tasks", "Host: localhost", `Authorization: Bearer ${user.access_token}`, ...headers)
const chunked = (body: string, size = 16_384) => {
  const chunks: Array<string> = []
  for (let at = 0; at < body.length; at += size) {
    const chunk = body.slice(at, at + size)
    chunks.push(`${chunk.length.toString(16)}\r\n${chunk}\r\n`)
  }
  return `${chunks.join("")}0\r\n\r\n`
}

/** The server said that it closes, and did: an idle connection that times out is not meant. */
const expectClosed = (answer: Received) => {
  expect(headerIn(answer.text, "connection")?.toLowerCase()).toBe("close")
  expect(answer.closed).toBe(true)
}

describe("a large body", () => {
  it("R62 of exactly the limit is accepted, with Content-Length and chunked", async () => {
    expect(Buffer.byteLength(sized(limit))).toBe(limit)
    having(201, await post(sized(limit)))
    const answer = await sendBytes(
      server,
      taskHead("Content-Type: application/json", "Transfer-Encoding: chunked", "Connection: close") +
        chunked(sized(limit))
    )
    expect(answer.statuses).toEqual([201])
  })

  it("R62 of one byte more is 413 and stores nothing, with Content-Length", async () => {
    const before = await count()
    expectProblem(await post(sized(limit + 1)), 413, "too_large")
    expectProblem(await post(`{"title":"${"é".repeat(limit / 2)}"}`), 413, "too_large")
    expect(await count()).toBe(before)
  })

  it("R62 of one byte more is 413 and the connection is closed, with Content-Length", async () => {
    const answer = await sendBytes(
      server,
      taskHead("Content-Type: application/json", `Content-Length: ${limit + 1}`) + sized(limit + 1)
    )
    expect(answer.statuses).toEqual([413])
    expect(answer.text).toContain('"too_large"')
    expectClosed(answer)
  }, 20_000)

  it("R62 of one byte more is 413 and the connection is closed, chunked", async () => {
    const before = await count()
    const answer = await sendBytes(
      server,
      taskHead("Content-Type: application/json", "Transfer-Encoding: chunked") + chunked(sized(limit + 1))
    )
    expect(answer.statuses).toEqual([413])
    expect(answer.text).toContain('"too_large"')
    expect(headerIn(answer.text, "content-type")).toMatch(/^application\/problem\+json/)
    expect(headerIn(answer.text, "x-request-id")).toBeTruthy()
    expectClosed(answer)
    expect(await count()).toBe(before)
  }, 20_000)

  it("R62 of many one-byte chunks counts its bytes and not its chunks", async () => {
    const small = await sendBytes(
      server,
      taskHead("Content-Type: application/json", "Transfer-Encoding: chunked", "Connection: close") +
        chunked('{"title":"drop by drop"}', 1)
    )
    expect(small.statuses).toEqual([201])
  })

  it("R62 that is announced as 1 GB is 413 before any of it was sent", async () => {
    const answer = await sendBytes(server, taskHead("Content-Type: application/json", "Content-Length: 1073741824"))
    expect(answer.statuses).toEqual([413])
    expectClosed(answer)
  }, 20_000)

  it("R62 that never ends is answered 413 and cut off early", async () => {
    const end = 64 * 1024 * 1024
    const piece = `10000\r\n${" ".repeat(0x10000)}\r\n`
    const answer = await converse(server, async (socket, { answered }) => {
      socket.write(taskHead("Content-Type: application/json", "Transfer-Encoding: chunked"))
      while (!answered() && socket.bytesWritten < end) {
        const flushed = socket.write(piece)
        await new Promise<void>((resolve) => {
          if (flushed || answered()) return void setImmediate(resolve)
          for (const event of ["drain", "data", "close"]) socket.once(event, () => resolve())
        })
      }
    })
    expect(answer.statuses).toEqual([413])
    expectClosed(answer)
    expect(answer.written).toBeLessThan(end)
    await alive()
  }, 20_000)

  it("R62 is 413 for PUT, PATCH and complete as well", async () => {
    const made = await create(server, user)
    for (const [method, suffix] of [["PUT", ""], ["PATCH", ""], ["PATCH", "/complete"]] as const) {
      expectProblem(await raw(method, `/api/v1/tasks/${made.id}${suffix}`, sized(limit + 1)), 413, "too_large")
    }
    expect(await read(server, user, made.id)).toEqual(made)
  })

  it.each(["/api/v1/auth/login", "/api/auth/login"])("R62 is bounded at 16 KiB by %s", async (path) => {
    const login = JSON.stringify({ email: `${newId()}@example.com`, password: "wrong horse battery" })
    const signIn = (body: string) => server.request("POST", path, { raw: body, headers: json })
    expectProblem(await signIn(sized(authLimit, login)), 401, "invalid_credentials")
    expectProblem(await signIn(sized(authLimit + 1, login)), 413, "too_large")
    const answer = await sendBytes(
      server,
      head(`POST ${path}`, "Host: localhost", "Content-Type: application/json", "Transfer-Encoding: chunked") +
        chunked(sized(authLimit + 1, login))
    )
    expect(answer.statuses).toEqual([413])
    expectClosed(answer)
  }, 20_000)
})
