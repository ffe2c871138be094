/** Whoever reads the whole database, as from a lost backup, has no token from it. */
import { createHash, createHmac } from "node:crypto"
import { decodeProtectedHeader } from "jose"
import { beforeAll, expect, it } from "vitest"
import { type Account, type TestServer, useServer } from "../support/TestServer.ts"
import { create, having } from "../tasks/families.ts"
import { expectAlive, generationOf, goodPassword, login, me, newUsername, refresh, sessionOf } from "./accounts.ts"

const server = useServer()

/** Milliseconds for some thousands of requests, on a machine that is busy with other tests. */
const patience = 60_000

const password = "seven lanterns 9c in a dump"
let victim: Account
let newest: Account
/** what the attacker knows besides: an account and tokens of one's own on the same server */
let attacker: Account
beforeAll(async () => {
  attacker = await server.register()
  victim = await server.register({ password, username: newUsername(), name: "Ada" })
  newest = { ...victim, ...having(200, await refresh(server, victim.refresh_token)).json }
  // something in every table
  having(
    204,
    await server.request("POST", "/api/v1/auth/logout", { token: (await login(server, victim)).access_token })
  )
  const keyed = { token: victim.access_token, body: { title: "keyed" }, headers: { "idempotency-key": "a" } }
  having(201, await server.request("POST", "/api/v1/tasks", keyed))
  await create(server, victim, { title: "Buy milk", tags: ["home"] })
  const body = { current_password: password, new_password: goodPassword }
  having(204, await server.request("POST", "/api/v1/auth/password", { token: victim.access_token, body }))
})

/** Every value of every column of every table, as text. */
const dump = async (server: TestServer): Promise<ReadonlySet<string>> => {
  const columns = await server.sql<{ place: string; name: string }>(
    `select quote_ident(c.table_schema) || '.' || quote_ident(c.table_name) as place, quote_ident(c.column_name) as name
      from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
      where t.table_schema not in ('pg_catalog', 'information_schema') and t.table_type = 'BASE TABLE'`
  )
  expect(new Set(columns.map(({ place }) => place)).size).toBeGreaterThan(6)
  const values = new Set<string>()
  for (const { name, place } of columns) {
    const rows = await server.sql<{ value: string | null }>(`select distinct ${name}::text as value from ${place}`)
    for (const { value } of rows) if (value !== null) values.add(value)
  }
  return values
}

/** Every byte string that a text may stand for: itself, the parts of it, and what they encode. */
const bytesIn = (text: string): ReadonlyArray<Buffer> => {
  const parts = [text, ...text.split(/[$.,:;"'{}()\s]+/), text.replaceAll("-", "")]
  return parts.flatMap((part) => {
    const hex = part.replace(/^\\x/, "")
    return [
      Buffer.from(part),
      ...(hex.length % 2 === 0 && /^[0-9a-f]+$/i.test(hex) ? [Buffer.from(hex, "hex")] : []),
      ...(/^[\w+/-]+=*$/.test(part) ? [Buffer.from(part, "base64")] : [])
    ]
  })
}

const distinct = (
  all: ReadonlyArray<Buffer>
) => [...new Map(all.map((bytes) => [bytes.toString("hex"), bytes])).values()]

/** Sends them a few at a time. */
const sendAll = async <A>(all: ReadonlyArray<A>, send: (one: A) => Promise<void>) => {
  for (let at = 0; at < all.length; at += 20) await Promise.all(all.slice(at, at + 20).map(send))
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest()
const hmac = (key: Uint8Array, message: Uint8Array | string) => createHmac("sha256", key).update(message).digest()

const sessionRow = async () => {
  const sql = "select s::text as row, salt from sessions s where user_id = $1 and id = $2"
  const [row] = await server.sql<{ row: string; salt: Uint8Array }>(sql, [victim.id, sessionOf(victim)])
  if (row === undefined) throw new Error("no such session")
  return { ...row, salt: Buffer.from(row.salt) }
}

it("R47 no secret of anybody is in it, in any encoding", async () => {
  const values = [...await dump(server)]
  expect(values).toContain(sessionOf(victim))
  const bytes = distinct(values.flatMap(bytesIn))
  const tokens = [attacker, victim, newest].flatMap(({ access_token, refresh_token }) => {
    const whole = Buffer.from(refresh_token, "base64url")
    const signature = Buffer.from(access_token.split(".")[2] ?? "", "base64url")
    return [Buffer.from(access_token), Buffer.from(refresh_token), whole, whole.subarray(-32), signature]
  })
  for (const secret of [...tokens, ...[server.secret, password, goodPassword].map((text) => Buffer.from(text))]) {
    for (const found of bytes) expect(found.includes(secret)).toBe(false)
  }
})

// format(1) ‖ key id(1) ‖ user id(16) ‖ session id(16) ‖ generation(4) ‖ MAC(32)
it("R47 no refresh token can be made from it", async () => {
  const known = distinct([...await dump(server)].flatMap(bytesIn))
  const before = await sessionRow()
  const issued = Buffer.from(newest.refresh_token, "base64url")
  const generation = generationOf(newest.refresh_token)
  const prefix = Buffer.from(attacker.refresh_token, "base64url").subarray(0, 2)
  const keys = [...known, Buffer.alloc(0), Buffer.alloc(32)]

  const named = Buffer.concat([issued.subarray(2, 34), Buffer.alloc(4)])
  named.writeUInt32BE(generation, 32)
  const messages = [
    Buffer.concat([Buffer.from("rt1"), named, before.salt]),
    Buffer.concat([Buffer.from("rt1"), named]),
    Buffer.concat([named, before.salt])
  ]
  const macs = [
    ...messages.map(sha256),
    ...keys.flatMap((key) => messages.map((message) => hmac(key, message))),
    ...known.map(sha256),
    // or a part of what is stored is the MAC itself
    ...known.filter(({ length }) => length >= 32 && length <= 128).flatMap((bytes) =>
      Array.from({ length: bytes.length - 31 }, (_, at) => bytes.subarray(at, at + 32))
    )
  ].map((mac) => Buffer.concat([prefix, named, mac]).toString("base64url"))
  const whole = known.flatMap((bytes) => [bytes.toString(), bytes.toString("base64url")])
  const candidates = [...new Set([...whole, ...macs])].filter((token) => token.length < 2_000)
  expect(candidates.length).toBeGreaterThan(1_000)

  const accepted: Array<string> = []
  await sendAll(candidates, async (token) => {
    const { status } = await refresh(server, token)
    if (status < 400 || status >= 500) accepted.push(`${status} ${token}`)
  })
  expect(accepted).toEqual([])
  expect((await sessionRow()).row).toBe(before.row)
  await expectAlive(server, newest)
}, patience)

it("R47 no access token can be made from it", async () => {
  const known = distinct([...await dump(server)].flatMap(bytesIn))
  const { kid } = decodeProtectedHeader(attacker.access_token)
  const now = Math.floor(Date.now() / 1000)
  const encoded = (part: object) => Buffer.from(JSON.stringify(part)).toString("base64url")
  const claims = encoded({
    iss: "tasks-api",
    aud: "tasks-api",
    sub: victim.id,
    sid: sessionOf(victim),
    jti: "a",
    iat: now,
    exp: now + 600
  })
  const signed = (key: Uint8Array) => {
    const input = `${encoded({ alg: "HS256", kid, typ: "at+jwt" })}.${claims}`
    return `${input}.${hmac(key, input).toString("base64url")}`
  }
  having(200, await me(server, signed(Buffer.from(server.secret))))

  const printable = known.map((bytes) => bytes.toString("latin1")).filter((text) => /^[\x21-\x7e]{1,2000}$/.test(text))
  const candidates = [
    ...[...known, Buffer.alloc(0), Buffer.alloc(32), ...known.map(sha256)].map(signed),
    ...printable,
    `${encoded({ alg: "none", kid, typ: "at+jwt" })}.${claims}.`
  ]
  const accepted: Array<string> = []
  await sendAll(candidates, async (token) => {
    const { status } = await me(server, token)
    if (status !== 401) accepted.push(`${status} ${token}`)
  })
  expect(accepted).toEqual([])
}, patience)
