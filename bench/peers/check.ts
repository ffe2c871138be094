/**
 * Whether the peers do the same work: sends the same requests to this server and to each peer, and compares what they
 * answer. `node bench/peers/check.ts`
 */
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { isDeepStrictEqual } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { BenchFailed } from "../machine/Children.ts"
import { startCluster } from "../machine/Postgres.ts"
import { assemble, install, startServer } from "../targets/Servers.ts"
import { ours, peers } from "../targets/Targets.ts"
import { type Answer, nextPage, play } from "./scenario.ts"

const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/g
const cursor = /cursor=[^& ]+/

/** Replaces what differs between two runs: ids by the order of their appearance, the rest by what it is. */
const normalizer = (email: string) => {
  const ids = new Map<string, string>()
  const id = (uuid: string) => ids.get(uuid) ?? ids.set(uuid, `<id ${ids.size + 1}>`).get(uuid)!
  const text = (text: string) =>
    instant.test(text)
      ? "<instant>"
      : text.replace(uuid, id).replaceAll(email, "<email>").replaceAll(email.toUpperCase(), "<EMAIL>")
  const decode = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString())
  const members: Record<string, (value: unknown) => unknown> = {
    access_token: (token) => {
      const [header, { exp, iat, jti, sid, sub, ...claims }] = String(token).split(".", 2).map(decode)
      return { ...header, ...claims, lifetime: exp - iat, jti: typeof jti, sid: typeof sid, sub: text(sub) }
    },
    refresh_token: (token) => String(token).length,
    request_id: (id) => typeof id,
    // words for developers
    detail: (detail) => typeof detail,
    // in whatever order
    errors: (errors) =>
      (errors as ReadonlyArray<{ readonly pointer: string; readonly code: string }>)
        .map(({ code, pointer }) => `${pointer} ${code}`).sort()
  }
  const normal = (value: unknown): unknown => {
    if (typeof value === "string") return text(value)
    if (Array.isArray(value)) return value.map(normal)
    if (typeof value !== "object" || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([name, value]) => [name, (members[name] ?? normal)(value)]))
  }
  return normal
}

/** What is compared of an answer: of a failure without a body, only its status. */
const comparable = ({ body, headers, request, status }: Answer, normal: (value: unknown) => unknown) => {
  if (status >= 400 && body === null) return { request: String(normal(request)), status }
  const next = nextPage(headers)
  return {
    request: String(normal(request.replace(cursor, "cursor=<cursor>"))),
    status,
    type: headers.get("content-type")?.split(";")[0],
    hasRequestId: headers.has("x-request-id"),
    authenticate: headers.get("www-authenticate"),
    etag: headers.get("etag"),
    location: normal(headers.get("location")),
    next: next &&
      Array.from(
        new URLSearchParams(next.split("?")[1]),
        ([name, value]) => `${name}=${name === "cursor" ? "<cursor>" : value}`
      ).sort(),
    body: normal(body)
  }
}

interface Run {
  readonly email: string
  readonly answers: ReadonlyArray<Answer>
}

/** One line for each request, and what was answered where that differs. */
const differences = (here: Run, there: Run): ReadonlyArray<string> => {
  const [normalHere, normalThere] = [normalizer(here.email), normalizer(there.email)]
  return here.answers.flatMap((answer, index) => {
    const other = there.answers[index]
    const actual = other && comparable(other, normalThere)
    // a peer that answers failures by their status alone is not asked for more
    const alone = other !== undefined && other.status >= 400 && other.body === null
    const expected = comparable(alone && answer.status >= 400 ? { ...answer, body: null } : answer, normalHere)
    return isDeepStrictEqual(expected, actual)
      ? []
      : [`${expected.request}\n  here:  ${JSON.stringify(expected)}\n  there: ${JSON.stringify(actual)}`]
  })
}

/** Whether a token of one server is good on another. */
const accepts = async (origin: string, authorization: string) =>
  (await fetch(`${origin}/api/v1/tasks`, { headers: { authorization } })).status === 200

const check = Effect.gen(function* () {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "tasks-api-peers-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )
  const cluster = yield* startCluster(directory)
  const databaseUrl = yield* cluster.create("peers")
  const environment = { directory, databaseUrl, jwtSecret: randomBytes(32).toString("hex") }
  const { url: here } = yield* startServer(ours(yield* assemble(join(directory, "app")), []), environment)

  let failures = 0
  for (const peer of peers) {
    yield* install(peer)
    const { url: there } = yield* startServer(peer, environment)
    // the bare server checks nothing
    const strict = peer.name !== "bare"
    const lines = yield* Effect.promise(async () => {
      const emails = { here: `ada@${peer.name}.example`, there: `eve@${peer.name}.example` }
      const expected = await play(here, emails.here, strict)
      const actual = await play(there, emails.there, strict)
      const lines = differences({ ...expected, email: emails.here }, { ...actual, email: emails.there })
      const mutual = await accepts(there, expected.authorization) && await accepts(here, actual.authorization)
      return [`${peer.name}: ${expected.answers.length} answers, ${lines.length} differ`, ...lines].concat(
        mutual ? [] : "the servers refuse each other's tokens"
      )
    })
    failures += lines.length - 1
    yield* Console.log(lines.join("\n"))
  }
  if (failures > 0) return yield* new BenchFailed({ message: "the peers do not do the same work" })
})

Effect.scoped(check).pipe(
  Effect.tapError(({ message }) => Console.error(message)),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
