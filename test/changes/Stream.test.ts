import { type IncomingMessage, request as httpRequest } from "node:http"
import { connect } from "node:net"
import { setTimeout as pause } from "node:timers/promises"
import process from "node:process"
import { afterEach, beforeAll, describe, expect, it } from "vitest"
import { login, me, refresh, sessionOf, type Tokens } from "../auth/accounts.ts"
import { head, send } from "../http/exchange.ts"
import { makeReader, type SentEvent } from "../support/EventStream.ts"
import { flipped } from "../support/cursors.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, type Answer, type TestServer, useServers } from "../support/TestServer.ts"
import {
  create,
  expired,
  families,
  type Family,
  having,
  listAll,
  newId,
  nextOf,
  patch,
  read,
  remove,
  shown,
  type TaskAnswer,
  taskMembers
} from "../tasks/families.ts"

const [server, second] = useServers(2)
/** The embedded database has one instance only: nothing is told twice there. */
const instances = [
  { name: "the same instance", on: server },
  { name: "the other instance", on: second }
].slice(0, server === second ? 1 : 2)
/** What the contract allows from a session's end to its streams' end, and from a change to its event. */
const second1 = 1_000
/** For what is awaited: a busy machine may take longer, but the heartbeat of 15 s must not be what brings it. */
const waiting = 5_000

let stranger: Account
beforeAll(async () => {
  stranger = await server.register()
})

const streamOf = ({ tasks }: Family, account: Pick<Account, "id">) =>
  tasks(account).replace(/\/tasks$/, "/changes/stream")

/** What an EventSource would have read so far. */
interface Stream {
  readonly status: number
  readonly headers: IncomingMessage["headers"]
  readonly events: ReadonlyArray<SentEvent>
  readonly comments: ReadonlyArray<string>
  /** the id that a client would resume from */
  readonly lastId: () => string
  readonly ended: () => boolean
  /** begins to read; `open` does so unless it was told to wait */
  readonly begin: () => void
  readonly close: () => void
}

const opened: Array<Stream> = []
afterEach(() => {
  for (const stream of opened.splice(0)) stream.close()
})

/** Opens a stream, which must be answered with one. */
const open = (
  account: Pick<Account, "access_token">,
  options: {
    readonly on?: TestServer
    readonly path?: string
    readonly lastEventId?: string
    readonly waiting?: boolean
  } = {}
): Promise<Stream> =>
  new Promise((resolve, reject) => {
    const { on = server, path = "/api/v1/changes/stream", lastEventId, waiting = false } = options
    const { hostname, port } = new URL(on.url)
    const request = httpRequest({
      hostname,
      port,
      path,
      agent: false,
      headers: {
        accept: "text/event-stream",
        authorization: `Bearer ${account.access_token}`,
        ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId })
      }
    }, (response) => {
      const reader = makeReader()
      let ended = false
      response.setEncoding("utf8")
      for (const end of ["end", "close", "error", "aborted"]) response.on(end, () => void (ended = true))
      const stream: Stream = {
        status: response.statusCode ?? 0,
        headers: response.headers,
        events: reader.events,
        comments: reader.comments,
        lastId: reader.lastId,
        ended: () => ended,
        begin: () => void response.on("data", reader.feed),
        close: () => {
          response.removeAllListeners("data")
          request.destroy()
        }
      }
      opened.push(stream)
      if (!waiting) stream.begin()
      if (stream.status === 200) resolve(stream)
      else reject(new Error(`no stream: ${stream.status}`))
    })
    request.on("error", reject)
    request.end()
  })

/** Milliseconds until this holds; it must within the time. */
const until = async (holds: () => boolean, within: number, what: string): Promise<number> => {
  const start = performance.now()
  while (!holds()) {
    if (performance.now() - start > within) throw new Error(`not within ${within} ms: ${what}`)
    await pause(5)
  }
  return performance.now() - start
}

const changesOf = (stream: Stream): Array<TaskAnswer> =>
  stream.events.filter(({ event }) => event === "change").map(({ data }) => shown(JSON.parse(data)))
const titles = (stream: Stream) => changesOf(stream).map(({ title }) => title)
const received = (stream: Stream, count: number, within = waiting) =>
  until(() => stream.events.length >= count, within, `${count} events, got ${JSON.stringify(stream.events)}`)
const started = (stream: Stream) => until(() => stream.lastId() !== "", waiting, "an id before any change")
const idOf = async (account: Account) => {
  const stream = await open(account)
  await started(stream)
  stream.close()
  return stream.lastId()
}
/** Nothing more comes; a little longer than a change needs. */
const quiet = async (stream: Stream, count: number) => {
  await pause(150)
  expect(stream.events, JSON.stringify(stream.events)).toHaveLength(count)
}

describe.each(families)("a stream beside $name", (family) => {
  it("is answered at once, with an id to resume from before anything changes", async () => {
    const account = await server.register()
    const stream = await open(account, { path: streamOf(family, account) })
    expect(stream.headers["content-type"]).toMatch(/^text\/event-stream(; ?charset=utf-8)?$/i)
    expect(stream.headers["cache-control"]).toMatch(/no-(store|cache)/)
    expect(stream.headers["x-request-id"]).toBeTruthy()
    expect(stream.headers["content-length"]).toBeUndefined()
    expect(stream.headers["content-encoding"]).toBeUndefined()
    await started(stream)
    expect(stream.lastId()).toMatch(/^[\w.~-]+$/)
    await quiet(stream, 0)
    expect(stream.ended()).toBe(false)
  })

  it("begins now, and sends each change with an id and the task as JSON, in order", async () => {
    const account = await server.register()
    const before = await create(server, account, { title: "before" })
    const stream = await open(account, { path: streamOf(family, account) })
    await started(stream)
    const expected: Array<TaskAnswer> = []
    const task = { title: "Grüße\n🎉\u2028", description: "data: x\n\nid: 1\r\n: \r", tags: ["ä"], priority: "low" }
    expected.push(await create(server, account, task))
    await received(stream, 1)
    expected.push(await patch(server, account, before.id, { completed: true }))
    await received(stream, 2)
    expect(changesOf(stream)).toEqual(expected)
    for (const one of expected) expect(one).toEqual(await read(server, account, one.id))
    await remove(server, account, before.id)
    await received(stream, 3)
    const tombstone = changesOf(stream)[2]
    expect(Object.keys(tombstone ?? {}).sort()).toEqual(taskMembers)
    expect(tombstone).toMatchObject({ id: before.id, version: 4 })
    expect(tombstone?.deleted_at).not.toBeNull()
    expect(stream.events.map(({ event }) => event)).toEqual(["change", "change", "change"])
    const ids = stream.events.map(({ id }) => id)
    expect(new Set(ids).size).toBe(3)
    for (const id of ids) expect(id).toMatch(/^[\w.~-]+$/)
  })

  it("resumes from Last-Event-ID without loss or repetition", async () => {
    const account = await server.register()
    const path = streamOf(family, account)
    const first = await open(account, { path })
    await started(first)
    const begin = first.lastId()
    const [a, b] = [await create(server, account, { title: "a" }), await create(server, account, { title: "b" })]
    await received(first, 2)
    first.close()
    await create(server, account, { title: "c" })
    await patch(server, account, a.id, { title: "a again" })
    const rest = await open(account, { path, lastEventId: first.lastId(), on: second })
    await received(rest, 2)
    expect(titles(rest)).toEqual(["c", "a again"])
    const all = await open(account, { path, lastEventId: begin })
    await received(all, 3)
    expect(titles(all)).toEqual(["b", "c", "a again"])
    const between = await open(account, { path, lastEventId: first.events[0]?.id ?? "" })
    await received(between, 3)
    expect(titles(between)).toEqual(["b", "c", "a again"])
    // each of several events that came at once has an id of its own
    const middle = await open(account, { path, lastEventId: all.events[0]?.id ?? "" })
    await received(middle, 2)
    expect(titles(middle)).toEqual(["c", "a again"])
    await patch(server, account, b.id, { title: "b again" })
    await Promise.all(([[rest, 3], [all, 4], [between, 4]] as const).map(async ([stream, count]) => {
      await received(stream, count)
      await quiet(stream, count)
      expect(titles(stream).at(-1)).toBe("b again")
    }))
    const idle = await open(account, { path, lastEventId: rest.lastId() })
    await started(idle)
    await quiet(idle, 0)
    expect(idle.lastId()).toBeTruthy()
  })

  it("answers HEAD at once, without a body", async () => {
    const headers = { authorization: `Bearer ${stranger.access_token}` }
    const start = performance.now()
    const answer = await send(server, "HEAD", streamOf(family, stranger), { headers })
    expect(performance.now() - start).toBeLessThan(second1)
    expect(answer).toMatchObject({ status: 200, text: "" })
    expect(answer.headers.get("content-type")).toMatch(/^text\/event-stream/)
  })

  it("R50 is refused without a live session, and to another user", async () => {
    const account = await server.register()
    const path = streamOf(family, account)
    expectProblem(await server.request("GET", path), 401, "token_missing")
    expectProblem(await server.request("GET", path, { token: "x.y.z" }), 401, "token_invalid")
    const late = expired(server, account.access_token)
    expectProblem(await server.request("GET", path, { token: late }), 401, "token_expired")
    const foreign = await server.request("GET", `/api/${account.id}/changes/stream`, {
      token: stranger.access_token,
      headers: { "last-event-id": "x" }
    })
    expectProblem(foreign, 403, "forbidden")
    having(204, await server.request("POST", "/api/v1/auth/logout", { token: account.access_token }))
    expectProblem(await server.request("GET", path, { token: account.access_token }), 401, "session_revoked")
  })

  it("has no query", async () => {
    const path = streamOf(family, stranger)
    for (const query of ["since=x", "limit=1", "access_token=x", "lastEventId=x", "foo=1"]) {
      const answer = await server.request("GET", `${path}?${query}`, { token: stranger.access_token })
      expectProblem(answer, 422, "validation_failed")
      expect(answer.json.errors).toMatchObject([{ pointer: `?${query.split("=")[0]}` }])
    }
  })
})

describe("Last-Event-ID", () => {
  const refused = async (account: Account, lastEventId: string) => {
    for (const family of families) {
      const headers = { authorization: `Bearer ${account.access_token}`, "last-event-id": lastEventId }
      const answer: Answer = await send(server, "GET", streamOf(family, account), { headers })
      expectProblem(answer, 400, "invalid_cursor")
    }
  }

  it("R55 that is cut, changed, made up or another user's is refused", async () => {
    const account = await server.register()
    const id = await idOf(account)
    expect(id.length).toBeGreaterThan(8)
    for (const length of [1, 8, id.length >> 1, id.length - 1]) {
      await refused(account, id.slice(0, length))
      await refused(account, id.slice(id.length - length))
    }
    for (let at = 0; at < id.length; at++) await refused(account, flipped(id, at))
    for (const forged of ["0", "1", "null", newId(), `${id}${id}`, "A".repeat(8_000), "\u00e9", "' or 1=1 --"]) {
      await refused(account, forged)
    }
    await refused(stranger, id)
  })

  it("R55 that was given by the list of tasks is refused", async () => {
    const account = await server.register()
    for (const title of ["a", "b"]) await create(server, account, { title })
    const list = await server.request("GET", "/api/v1/tasks?limit=1", { token: account.access_token })
    await refused(account, new URL(nextOf(server, list) ?? "", server.url).searchParams.get("cursor") ?? "")
  })

  it("may be a cursor of GET changes, and the other way around", async () => {
    const account = await server.register()
    for (const title of ["a", "b", "c"]) await create(server, account, { title })
    const readChanges = async (query: string) =>
      having(200, await server.request("GET", `/api/v1/changes${query}`, { token: account.access_token })).json
    const partly = await readChanges("?limit=1")
    const wholly = await readChanges("")
    await create(server, account, { title: "d" })
    const [one, two] = [
      await open(account, { lastEventId: partly.cursor }),
      await open(account, { lastEventId: wholly.cursor })
    ]
    await received(one, 3)
    await received(two, 1)
    expect([titles(one), titles(two)]).toEqual([["b", "c", "d"], ["d"]])
    const id = two.lastId()
    await create(server, account, { title: "e" })
    const since = await readChanges(`?since=${encodeURIComponent(id)}`)
    expect(since.changes.map(({ title }: TaskAnswer) => title)).toEqual(["e"])
  })
})

describe.each(instances)("a change made on $name", ({ on }) => {
  it("arrives within a second, for every kind of write", async () => {
    const account = await server.register()
    const token = account.access_token
    const stream = await open(account)
    await started(stream)
    const { id } = await create(on, account)
    await received(stream, 1)
    const writes = [
      ["PATCH", "", { title: "patched" }],
      ["PUT", "", { title: "put" }],
      ["PATCH", "/complete", { completed: true }],
      ["DELETE", "", undefined],
      ["POST", "/restore", undefined]
    ] as const
    for (const [index, [method, suffix, body]] of writes.entries()) {
      having(200, await on.request(method, `/api/v1/tasks/${id}${suffix}`, { token, body }))
      await received(stream, index + 2)
      expect(changesOf(stream).at(-1)).toMatchObject({ id, version: index + 2 })
    }
    await quiet(stream, 6)
  })

  it("arrives within a second also while another one is being read", async () => {
    const account = await server.register()
    const { id } = await create(on, account)
    const streams = [await open(account), await open(account)]
    for (const stream of streams) await started(stream)
    for (let round = 0; round < 80; round++) {
      await Promise.all([0, 1].map(async (index) => {
        if (index > 0 && round % 5 > 0) await pause(round % 5)
        // with a key it is a transaction of several statements, which may be seen when it is committed and not before
        const headers = round % 2 === 0 ? { "idempotency-key": `${round} ${index}` } : {}
        const options = { token: account.access_token, headers, body: { title: `${round} ${index}` } }
        having(200, await on.request("PATCH", `/api/v1/tasks/${id}`, options))
      }))
      for (const stream of streams) {
        const arrived = () => JSON.parse(stream.events.at(-1)?.data ?? "{}").version === 3 + 2 * round
        await until(arrived, second1, `the last change of round ${round}`)
      }
    }
  })

  it("arrives once at each of many streams, and at none of another user", async () => {
    const account = await server.register()
    const again = await login(server, account)
    const streams = await Promise.all([
      open(account),
      open(account),
      open(account, { on: second }),
      open(again),
      open(again, { on: second, path: streamOf(families[1]!, account) })
    ])
    const foreign = [await open(stranger), await open(stranger, { on: second })]
    for (const stream of [...streams, ...foreign]) await started(stream)
    const made = [await create(on, account, { title: "a" }), await create(on, account, { title: "b" })]
    for (const stream of streams) {
      await received(stream, 2)
      expect(changesOf(stream)).toEqual(made)
    }
    await Promise.all([...streams.map((stream) => quiet(stream, 2)), ...foreign.map((stream) => quiet(stream, 0))])
    streams[0]?.close()
    await create(on, account, { title: "c" })
    for (const stream of streams.slice(1)) await received(stream, 3)
  })
})

describe("the streams of one user", () => {
  it("are 50 at most at one instance: another one is told to come back, and may when one has ended", async () => {
    const account = await server.register()
    const streams: Array<Stream> = []
    for (let index = 0; index < 50; index++) streams.push(await open(account))
    for (const stream of streams) await started(stream)
    const path = "/api/v1/changes/stream"
    const refused = await server.request("GET", path, { token: account.access_token })
    expectProblem(refused, 503, "overloaded")
    expect(refused.headers.get("retry-after")).toMatch(/^\d+$/)
    await started(await open(stranger))
    await create(server, account, { title: "for all" })
    for (const stream of streams) await received(stream, 1)
    streams[7]?.close()
    const again = () => open(account).then(() => true, () => false)
    await expect.poll(again, { timeout: waiting }).toBe(true)
  })
})

describe("resync", () => {
  /** A user whose cursor `old` needs a tombstone that is gone. */
  const purged = async () => {
    const account = await server.register()
    const [a, b] = [await create(server, account, { title: "a" }), await create(server, account, { title: "b" })]
    const old = await idOf(account)
    await remove(server, account, a.id)
    await server.sql("update tasks set deleted_at = now() - interval '46 days' where user_id = $1 and id = $2", [
      account.id,
      a.id
    ])
    expect(await second.purge()).toMatchObject({ tombstones: 1 })
    return { account, old, b }
  }

  it("comes instead of 410, once, and the stream goes on", async () => {
    const { account, old, b } = await purged()
    for (const { on } of instances) {
      const stream = await open(account, { lastEventId: old, on })
      await received(stream, 1)
      expect(stream.events[0]).toMatchObject({ event: "resync" })
      // without data an EventSource would not tell anyone
      expect(stream.events[0]?.data).not.toBe("")
      await quiet(stream, 1)
      const changed = await patch(server, account, b.id, { title: `b ${stream.lastId()}`.slice(0, 50) })
      await received(stream, 2)
      await quiet(stream, 2)
      expect(stream.events.map(({ event }) => event)).toEqual(["resync", "change"])
      expect(changesOf(stream)).toEqual([changed])
    }
  })

  it("carries an id from which nothing is lost and no second resync comes", async () => {
    const { account, old, b } = await purged()
    const stream = await open(account, { lastEventId: old })
    await received(stream, 1)
    stream.close()
    const { id } = stream.events[0] ?? { id: "" }
    expect(id).not.toBe("")
    expect(id).not.toBe(old)
    const changed = await patch(server, account, b.id, { title: "after" })
    const resumed = await open(account, { lastEventId: id, on: second })
    await received(resumed, 1)
    await quiet(resumed, 1)
    expect(changesOf(resumed)).toEqual([changed])
  })

  it("does not come to clients that lack nothing", async () => {
    const account = await server.register()
    const [a, b] = [await create(server, account, { title: "a" }), await create(server, account, { title: "b" })]
    await remove(server, account, a.id)
    const live = await open(account)
    await started(live)
    await server.sql("update tasks set deleted_at = now() - interval '46 days' where user_id = $1 and id = $2", [
      account.id,
      a.id
    ])
    expect(await server.purge()).toMatchObject({ tombstones: 1 })
    const changed = await patch(server, account, b.id, { title: "after" })
    const resumed = await open(account, { lastEventId: await idOf(account) })
    await received(live, 1)
    await quiet(live, 1)
    expect(changesOf(live)).toEqual([changed])
    await started(resumed)
    await quiet(resumed, 0)
  })

  it("comes to a client that was told of more than there is", async () => {
    const account = await server.register()
    await create(server, account)
    const { id } = await create(server, account)
    const newest = await idOf(account)
    await server.sql("delete from tasks where user_id = $1 and id = $2", [account.id, id])
    await server.sql("update user_sequences set last_version = 1 where user_id = $1", [account.id])
    const stream = await open(account, { lastEventId: newest })
    await received(stream, 1)
    await quiet(stream, 1)
    expect(stream.events.map(({ event }) => event)).toEqual(["resync"])
  })

  it("comes to a client that can no longer tell, also when nothing is left", async () => {
    const account = await server.register()
    const { id } = await create(server, account)
    const old = await idOf(account)
    await remove(server, account, id)
    await server.sql("update tasks set deleted_at = now() - interval '46 days' where user_id = $1", [account.id])
    await server.purge()
    const stream = await open(account, { lastEventId: old })
    await received(stream, 1)
    expect(stream.events.map(({ event }) => event)).toEqual(["resync"])
  })
})

describe.each(instances)("the end of a session, told to $name", ({ on }) => {
  const call = (method: string, path: string, tokens: Pick<Tokens, "access_token">, body?: unknown) =>
    on.request(method, `/api/v1/auth${path}`, { token: tokens.access_token, body })

  const ends: ReadonlyArray<{
    readonly name: string
    /** Ends the session of `ended`, and, unless all end, not that of `other`. */
    readonly act: (account: Account, ended: Tokens, other: Tokens) => Promise<unknown>
    readonly all?: true
  }> = [
    { name: "logout", act: async (_, ended) => having(204, await call("POST", "/logout", ended)) },
    {
      name: "logout by refresh token",
      act: async (_, { refresh_token }) =>
        having(204, await on.request("POST", "/api/auth/logout", { body: { refresh_token } }))
    },
    {
      name: "logout of the others",
      act: async (_, _ended, other) => having(204, await call("POST", "/logout?scope=others", other))
    },
    {
      name: "logout of all",
      act: async (_, _ended, other) => having(204, await call("POST", "/logout?scope=global", other)),
      all: true
    },
    {
      name: "deletion of the session",
      act: async (_, ended, other) => having(204, await call("DELETE", `/sessions/${sessionOf(ended)}`, other))
    },
    {
      name: "a password change in another session",
      act: async ({ password }, _ended, other) =>
        having(
          204,
          await call("POST", "/password", other, {
            current_password: password,
            new_password: "lantern orbit 47 velvet"
          })
        )
    },
    {
      name: "reuse of a refresh token",
      act: async (_, { refresh_token }) => {
        const next = having(200, await refresh(on, refresh_token)).json
        having(200, await refresh(on, next.refresh_token))
        expectProblem(await refresh(on, refresh_token), 401, "refresh_token_reused")
      }
    },
    {
      name: "deletion of the account",
      act: async ({ password }, _ended, other) => having(204, await call("DELETE", "/me", other, { password })),
      all: true
    },
    {
      name: "the twenty-first login",
      act: async (account) => {
        for (let logins = 0; logins < 19; logins++) await login(on, account)
      }
    }
  ]

  it.each(ends)("by $name ends its streams within a second, and no others", async ({ act, all }) => {
    const account = await server.register()
    const other = await login(server, account)
    const ending = [await open(account), await open(account)]
    const rest = [await open(other), await open(other, { on: second })]
    const foreign = await open(stranger)
    for (const stream of [...ending, ...rest, foreign]) await started(stream)
    await act(account, account, other)
    await until(() => ending.every(({ ended }) => ended()), second1, "the end of the streams")
    expectProblem(
      await server.request("GET", "/api/v1/changes/stream", { token: account.access_token }),
      401,
      (await me(server, account.access_token)).json.code
    )
    if (all) {
      await until(() => rest.every(({ ended }) => ended()), second1, "the end of all the user's streams")
    } else {
      const task = await create(server, { ...account, ...other })
      for (const stream of rest) {
        await received(stream, 1)
        expect(changesOf(stream)).toEqual([task])
      }
      for (const stream of ending) expect(stream.events).toEqual([])
    }
    const task = await create(server, stranger)
    await received(foreign, 1)
    expect(changesOf(foreign)).toEqual([task])
    expect(foreign.ended()).toBe(false)
  })
})

describe("a session that reaches its end", () => {
  it("ends its streams within a second of it", async () => {
    const account = await server.register()
    await server.sql("update sessions set expires_at = now() + interval '3 seconds' where user_id = $1", [
      account.id
    ])
    const streams = [await open(account), await open(account, { on: second })]
    for (const stream of streams) await started(stream)
    await pause(700)
    for (const stream of streams) expect(stream.ended()).toBe(false)
    await until(() => streams.every(({ ended }) => ended()), 2_300 + second1, "the end of the streams")
    expectProblem(await me(server, account.access_token), 401, "session_expired")
  })

  it("that a refresh has moved does not end them at the old one", async () => {
    const account = await server.register()
    await server.sql("update sessions set expires_at = now() + interval '3 seconds' where user_id = $1", [
      account.id
    ])
    const streams = [await open(account), await open(account, { on: second })]
    for (const stream of streams) await started(stream)
    having(200, await refresh(second, account.refresh_token))
    await pause(3_500)
    const task = await create(server, account)
    for (const stream of streams) {
      await received(stream, 1)
      expect(changesOf(stream)).toEqual([task])
    }
  })

  it("sends nothing of what changes after it", async () => {
    const account = await server.register()
    const other = await login(server, account)
    const stream = await open(account)
    await started(stream)
    having(204, await second.request("POST", "/api/v1/auth/logout", { token: account.access_token }))
    await pause(second1)
    await create(server, { ...account, ...other })
    await pause(100)
    expect(stream.events).toEqual([])
    expect(stream.ended()).toBe(true)
  })
})

describe("clients that come and go", () => {
  it("leave nothing behind", async () => {
    const account = await server.register()
    const connections = async () => {
      const query = "select count(*)::int as count from pg_stat_activity where datname = current_database()"
      return (await server.sql<{ count: number }>(query))[0]?.count ?? 0
    }
    const steady = await open(account)
    await started(steady)
    const before = await connections()
    for (let round = 0; round < 10; round++) {
      const streams = await Promise.all(
        Array.from({ length: 20 }, (_, index) => open(account, { on: index % 2 === 0 ? server : second }))
      )
      if (round % 2 === 0) await Promise.all(streams.map(started))
      if (round % 3 === 0) await create(server, account, { title: `round ${round}` })
      for (const stream of streams) stream.close()
    }
    // gone before the answer
    for (let index = 0; index < 50; index++) {
      const { hostname, port } = new URL(index % 2 === 0 ? server.url : second.url)
      const headers = { authorization: `Bearer ${account.access_token}` }
      const request = httpRequest({ hostname, port, path: "/api/v1/changes/stream", agent: false, headers })
      request.on("error", () => {})
      request.end()
      if (index % 5 !== 0) await pause(index % 5)
      request.destroy()
    }
    await create(second, account, { title: "last" })
    await received(steady, 5)
    expect(titles(steady)).toEqual(["round 0", "round 3", "round 6", "round 9", "last"])
    const fresh = await open(account, { on: second })
    await started(fresh)
    await create(server, account, { title: "still here" })
    await received(fresh, 1)
    await quiet(fresh, 1)
    expect(await connections()).toBeLessThanOrEqual(before + 20)
    for (const one of [server, second]) {
      expect((await one.request("GET", "/health/ready")).status).toBe(200)
      expect(one.logs()).not.toMatch(/"(level|logLevel)":"(ERROR|FATAL|Error|Fatal)"/i)
    }
  })

  it("miss nothing and see nothing twice when they reconnect while others write", async () => {
    const account = await server.register()
    const token = account.access_token
    const tasks = await Promise.all(
      Array.from({ length: 5 }, (_, index) => create(server, account, { title: `${index}` }))
    )
    const replica = new Map(tasks.map((task) => [task.id, task]))
    let newest = 5
    let lastEventId = await idOf(account)
    const total = newest + 4 * 20
    const writer = async (index: number) => {
      const on = index % 2 === 0 ? server : second
      for (let times = 0; times < 20; times++) {
        const id = tasks[(index + times) % 5]?.id
        having(200, await on.request("PATCH", `/api/v1/tasks/${id}`, { token, body: { title: `${index} ${times}` } }))
        await pause(times % 3)
      }
    }
    const reader = async () => {
      for (let turn = 0; newest < total; turn++) {
        const stream = await open(account, { lastEventId, on: turn % 2 === 0 ? second : server })
        await until(
          () => stream.events.length >= 1 + turn % 4 || changesOf(stream).at(-1)?.version === total,
          5_000,
          "more"
        )
        stream.close()
        for (const task of changesOf(stream)) {
          expect(task.version).toBeGreaterThan(newest)
          newest = task.version
          replica.set(task.id, task)
        }
        lastEventId = stream.lastId()
      }
    }
    await Promise.all([reader(), ...[0, 1, 2, 3].map(writer)])
    const byId = (a: TaskAnswer, b: TaskAnswer) => a.id < b.id ? -1 : 1
    expect([...replica.values()].sort(byId)).toEqual([...await listAll(server, account)].sort(byId))
  })
})

describe("a client that reads slowly", () => {
  // three bytes a letter, so that no socket's buffer holds all of them
  const title = "長".repeat(100)
  const description = "漢字かな交じり文".repeat(125)

  /** Writes 90 tasks in one statement, as fast as a database can: nobody is told. */
  const write90 = ({ id }: Account) =>
    server.sql(
      `with taken as (
        update user_sequences set last_version = last_version + 90 where user_id = $1 returning last_version
      )
      insert into tasks (user_id, id, version, title, description, created_at, updated_at)
      select $1, made.id::uuid, taken.last_version - 90 + made.place, $2, $3, now(), now()
      from taken, unnest(string_to_array($4, ',')) with ordinality made (id, place)`,
      [id, title, description, Array.from({ length: 90 }, newId).join(",")]
    )

  it("receives all of 2,000 tasks afterwards, in order, and holds nobody up", async () => {
    const account = await server.register()
    const slow = await open(account, { waiting: true })
    const brisk = await open(account, { on: second })
    await started(brisk)
    for (let round = 0; round < 20; round++) {
      await write90(account)
      await Promise.all(
        Array.from(
          { length: 10 },
          (_, index) =>
            create(index % 2 === 0 ? server : second, account, { title, description, tags: [`${round} ${index}`] })
        )
      )
    }
    await received(brisk, 2_000, 5_000)
    expect(slow.events).toEqual([])
    slow.begin()
    await received(slow, 2_000, 10_000)
    expect(changesOf(slow).map(({ version }) => version)).toEqual(
      Array.from({ length: 2_000 }, (_, index) => index + 1)
    )
    expect(changesOf(slow)).toEqual(changesOf(brisk))
    const last = await create(second, account, { title: "last" })
    await received(slow, 2_001)
    expect(changesOf(slow).at(-1)).toEqual(last)
  })

  it("that never reads is cut off at the end of its session", async () => {
    const account = await server.register()
    const { hostname, port } = new URL(server.url)
    // a socket that nobody reads from takes what its buffers hold, and no more
    const socket = connect({ host: hostname, port: Number(port) })
    let closed = false
    for (const end of ["error", "close"]) socket.on(end, () => void (closed = true))
    try {
      const lines = ["Host: localhost", `Authorization: Bearer ${account.access_token}`]
      socket.write(head("GET /api/v1/changes/stream", ...lines))
      for (let round = 0; round < 30; round++) await write90(account)
      await create(server, account, { title, description })
      await pause(300)
      having(204, await server.request("POST", "/api/v1/auth/logout", { token: account.access_token }))
      await pause(second1)
      // only who writes learns that the other side has closed
      const probing = setInterval(() => closed || socket.write("\r\n"), 50)
      await until(() => closed, second1, "the end of the connection").finally(() => clearInterval(probing))
    } finally {
      socket.destroy()
    }
  })

  it("does not keep its stream alive after its session", async () => {
    const account = await server.register()
    const slow = await open(account, { waiting: true })
    for (let round = 0; round < 20; round++) await write90(account)
    await create(server, account, { title, description })
    having(204, await server.request("POST", "/api/v1/auth/logout", { token: account.access_token }))
    await pause(second1)
    slow.begin()
    await until(slow.ended, 5_000, "the end of the stream")
    expect(slow.events.length).toBeLessThan(1_801)
  })
})

describe("silence", () => {
  it.runIf(process.env["SLOW_TESTS"] === "1")("is filled with a comment every 15 s", async () => {
    const stream = await open(stranger)
    await started(stream)
    const before = stream.comments.length
    await pause(14_000)
    expect(stream.comments).toHaveLength(before)
    await until(() => stream.comments.length > before, 2_000, "a comment")
    await pause(14_000)
    expect(stream.comments).toHaveLength(before + 1)
    await until(() => stream.comments.length > before + 1, 2_000, "another comment")
    expect(stream.events).toEqual([])
  }, 40_000)
})
