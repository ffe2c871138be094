/**
 * The least that answers the contract's requests: node:http, postgres.js and one HMAC. Whoever sends what the contract
 * does not allow gets a bare status, or whatever the database makes of it.
 */
import { createHmac, hkdfSync, randomBytes, randomUUID, timingSafeEqual } from "node:crypto"
import { createServer, type IncomingMessage } from "node:http"
import process from "node:process"
import { hash, verify } from "@node-rs/argon2"
import postgres from "postgres"

const { DATABASE_POOL_SIZE = "10", DATABASE_URL = "", HOST = "127.0.0.1", JWT_SECRET = "", PORT = "3000" } = process.env

const sql = postgres(DATABASE_URL, {
  max: Number(DATABASE_POOL_SIZE),
  // versions as numbers
  types: { bigint: { to: 20, from: [20], parse: Number, serialize: String } }
})

const derive = (purpose: string, bytes: number) =>
  Buffer.from(hkdfSync("sha256", JWT_SECRET, "", `tasks-api/${purpose}`, bytes))
const keyId = derive("key id", 8)
const refreshKey = derive("refresh token", 32)

const uuidv7 = (): string => {
  const bytes = randomBytes(16)
  bytes.writeUIntBE(Date.now(), 0, 6)
  bytes[6] = 0x70 | bytes[6]! & 0x0f
  bytes[8] = 0x80 | bytes[8]! & 0x3f
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")
}

interface Answer {
  readonly status: number
  readonly body?: unknown
  readonly headers?: Record<string, string>
}

/** Answered by its status alone. */
class Refused extends Error {
  readonly status: number

  constructor(status: number) {
    super()
    this.status = status
  }
}

const json = async (request: IncomingMessage) => {
  let text = ""
  for await (const chunk of request.setEncoding("utf8")) text += chunk
  return text === "" ? {} : JSON.parse(text)
}

// access tokens

const issuer = "tasks-api"
const tokenLifetime = 24 * 60 * 60
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")
const mac = (text: string) => createHmac("sha256", JWT_SECRET).update(text).digest()
// every token of ours begins with the same bytes: they are its algorithm, its type and its key
const tokenHeader = encode({ alg: "HS256", kid: keyId.toString("hex"), typ: "at+jwt" })

/** The owner of a request's token, whose session is alive. */
const authenticate = async (request: IncomingMessage): Promise<string> => {
  const [header, payload = "", signature = ""] = (request.headers.authorization ?? "").slice("Bearer ".length).split(
    "."
  )
  const sent = Buffer.from(signature, "base64url")
  const expected = mac(`${header}.${payload}`)
  if (sent.length !== expected.length || !timingSafeEqual(sent, expected)) throw new Refused(401)
  const { typ } = JSON.parse(Buffer.from(header!, "base64url").toString())
  const { aud, exp, iss, sid, sub } = JSON.parse(Buffer.from(payload, "base64url").toString())
  if (typ !== "at+jwt" || iss !== issuer || aud !== issuer || !(exp > Date.now() / 1000)) throw new Refused(401)
  const [session] = await sql`
    select 1 from sessions where user_id = ${sub} and id = ${sid} and revoked_at is null and expires_at > now()`
  if (session === undefined) throw new Refused(401)
  return sub
}

// accounts

const key = (text: string | undefined) => text?.normalize("NFKC").toLowerCase() ?? null
const argon2 = { algorithm: 2, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const
const uuidBytes = (uuid: string) => Buffer.from(uuid.replaceAll("-", ""), "hex")

const startSession = async (sub: string) => {
  const [sid, salt, iat] = [uuidv7(), randomBytes(16), Math.floor(Date.now() / 1000)]
  await sql`
    insert into sessions (user_id, id, salt, expires_at, absolute_expires_at)
    values (${sub}, ${sid}, ${salt}, now() + interval '30 days', now() + interval '90 days')`
  const claims = encode({ iss: issuer, aud: issuer, sub, sid, jti: uuidv7(), iat, exp: iat + tokenLifetime })
  const named = Buffer.concat([uuidBytes(sub), uuidBytes(sid), Buffer.alloc(4)])
  const refreshMac = createHmac("sha256", refreshKey).update("rt1").update(named).update(salt).digest()
  return {
    access_token: `${tokenHeader}.${claims}.${mac(`${tokenHeader}.${claims}`).toString("base64url")}`,
    refresh_token: Buffer.concat([Buffer.of(1, keyId[0]!), named, refreshMac]).toString("base64url"),
    token_type: "bearer",
    expires_in: tokenLifetime
  }
}

const userColumns = sql`id, email, username, name, time_zone, created_at, updated_at`

const register = async (request: IncomingMessage): Promise<Answer> => {
  const { email, name = null, password, time_zone = "UTC", username = null } = await json(request)
  const passwordHash = await hash(password, argon2)
  const [user] = await sql`
    with new_user as (
      insert into users (id, email, email_key, username, username_key, name, password_hash, time_zone)
      values (${uuidv7()}, ${email}, ${key(email)}, ${username}, ${username && key(username)}, ${name}, ${passwordHash},
        ${time_zone})
      on conflict do nothing
      returning ${userColumns}
    ), new_sequence as (
      insert into user_sequences (user_id) select id from new_user
    )
    select * from new_user`
  if (user === undefined) throw new Refused(409)
  return {
    status: 201,
    body: { message: "User created successfully", user, ...await startSession(user["id"]) }
  }
}

const logIn = async (request: IncomingMessage): Promise<Answer> => {
  const { email, password, username, username_or_email } = await json(request)
  const name = key(email ?? username ?? username_or_email)
  const [found] = await sql`
    select ${userColumns}, password_hash from users where email_key = ${name} or username_key = ${name}`
  if (found === undefined) throw new Refused(401)
  const { password_hash, ...user } = found
  if (!await verify(password_hash, password)) throw new Refused(401)
  return { status: 200, body: { user, ...await startSession(user["id"]) } }
}

// tasks

const priorities = ["none", "low", "medium", "high", "urgent"]
const rank = (priority: string | undefined) => priority === undefined ? null : priorities.indexOf(priority)

const taskColumns = sql`
  id, user_id, title, description, completed, completed_at,
  (array['none', 'low', 'medium', 'high', 'urgent'])[priority + 1] as priority,
  tags, version, created_at, updated_at, deleted_at`

const etag = (task: postgres.Row) => `"${task["version"]}"`
const taskAnswer = (task: postgres.Row, status = 200, headers: Record<string, string> = {}): Answer => ({
  status,
  body: task,
  headers: { etag: etag(task), ...headers }
})

const list = async (owner: string, query: URLSearchParams): Promise<Answer> => {
  const limit = Number(query.get("limit") ?? 50)
  const completed = query.get("completed")
  const cursor = query.get("cursor")
  const newestFirst = query.get("sort") !== "created_at"
  // the last task of the page before
  const last = sql`(select created_at, id from tasks where user_id = ${owner} and id = ${cursor})`
  const beyond = newestFirst ? sql`and (created_at, id) < ${last}` : sql`and (created_at, id) > ${last}`
  const tasks = await sql`
    select ${taskColumns} from tasks
    where user_id = ${owner} and deleted_at is null
      ${completed === null ? sql`` : sql`and completed = ${completed === "true"}`}
      ${cursor === null ? sql`` : beyond}
    order by ${newestFirst ? sql`created_at desc, id desc` : sql`created_at, id`} limit ${limit + 1}`
  if (tasks.length <= limit) return { status: 200, body: tasks }
  tasks.pop()
  query.set("cursor", tasks[limit - 1]!["id"])
  return { status: 200, body: tasks, headers: { link: `</api/v1/tasks?${query}>; rel="next"` } }
}

const create = async (owner: string, request: IncomingMessage): Promise<Answer> => {
  const { description = null, priority, tags = [], title } = await json(request)
  const [task] = await sql`
    with next as (
      update user_sequences set last_version = last_version + 1 where user_id = ${owner}
      returning last_version, clock_timestamp() as written_at
    )
    insert into tasks (user_id, id, version, title, description, priority, tags, created_at, updated_at)
    select ${owner}, ${uuidv7()}, last_version, ${title}, ${description}, ${rank(priority) ?? 0}, ${tags}::text[],
      written_at, written_at
    from next
    returning ${taskColumns}`
  return taskAnswer(task!, 201, { location: `/api/v1/tasks/${task!["id"]}` })
}

const find = (owner: string, id: string) =>
  sql`select ${taskColumns} from tasks where user_id = ${owner} and id = ${id} and deleted_at is null`

const get = async (owner: string, id: string, request: IncomingMessage): Promise<Answer> => {
  const [task] = await find(owner, id)
  if (task === undefined) throw new Refused(404)
  return request.headers["if-none-match"] === etag(task)
    ? { status: 304, headers: { etag: etag(task) } }
    : taskAnswer(task)
}

const update = async (
  owner: string,
  id: string,
  request: IncomingMessage,
  changes: {
    readonly title?: string
    readonly description?: string | null
    readonly completed?: boolean
    readonly priority?: string
    readonly tags?: ReadonlyArray<string>
  }
): Promise<Answer> => {
  const version = request.headers["if-match"]?.replaceAll(`"`, "") ?? null
  const target = sql`
    user_id = ${owner} and id = ${id} and deleted_at is null and (${version}::bigint is null or version = ${version})`
  const completed = changes.completed ?? null
  const [task] = await sql`
    with next as (
      update user_sequences set last_version = last_version + 1
      where user_id = ${owner} and exists (select 1 from tasks where ${target})
      returning last_version, clock_timestamp() as written_at
    )
    update tasks set
      version = next.last_version,
      updated_at = next.written_at,
      title = coalesce(${changes.title ?? null}, title),
      description = case when ${"description" in changes} then ${changes.description ?? null} else description end,
      completed = coalesce(${completed}, completed),
      completed_at = case when coalesce(${completed}, completed) then coalesce(completed_at, next.written_at) end,
      priority = coalesce(${rank(changes.priority)}, priority),
      tags = coalesce(${changes.tags ?? null}::text[], tags)
    from next where ${target}
    returning ${taskColumns}`
  if (task !== undefined) return taskAnswer(task)
  throw new Refused((await find(owner, id)).length === 0 ? 404 : 412)
}

// routes

const route = async (request: IncomingMessage): Promise<Answer> => {
  const [path = "", search] = request.url!.split("?", 2)
  if (path === "/health/ready") {
    await sql`select 1`
    return { status: 200, body: { status: "ok" } }
  }
  if (path === "/api/v1/auth/register") return register(request)
  if (path === "/api/v1/auth/login") return logIn(request)
  const match = /^\/api\/v1\/tasks(?:\/([^/]+)(\/complete)?)?$/.exec(path)
  if (match === null) throw new Refused(404)
  const [, id, complete] = match
  const owner = await authenticate(request)
  switch (`${request.method} ${id === undefined ? "all" : complete ?? "one"}`) {
    case "GET all":
      return list(owner, new URLSearchParams(search))
    case "POST all":
      return create(owner, request)
    case "GET one":
      return get(owner, id!, request)
    case "PATCH one":
      return update(owner, id!, request, await json(request))
    case "PATCH /complete":
      return update(owner, id!, request, { completed: true, ...await json(request) })
  }
  throw new Refused(405)
}

const fail = (error: unknown): Answer => {
  if (error instanceof Refused) return { status: error.status }
  if (error instanceof SyntaxError) return { status: 400 }
  console.error(error)
  return { status: 500 }
}

const server = createServer(async (request, response) => {
  const begin = performance.now()
  const { body, headers, status } = await route(request).catch(fail)
  const id = randomUUID()
  if (body === undefined) {
    response.writeHead(status, { ...headers, "x-request-id": id }).end()
  } else {
    const text = JSON.stringify(body)
    response.writeHead(status, {
      ...headers,
      "x-request-id": id,
      "content-type": "application/json",
      "content-length": Buffer.byteLength(text)
    }).end(text)
  }
  const { method, url } = request
  const line = { event: "request", request_id: id, method, url, status, duration_ms: performance.now() - begin }
  process.stdout.write(`${JSON.stringify(line)}\n`)
})
server.listen(Number(PORT), HOST)

process.once("SIGTERM", () => {
  server.close(() => sql.end())
  server.closeIdleConnections()
})
