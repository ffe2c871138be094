import { randomUUID } from "node:crypto"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { startIssuer, trusting } from "../auth/issuer.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import {
  checksum,
  create,
  expired,
  families,
  having,
  listAll,
  newId,
  patch,
  read,
  remove,
  userScoped,
  visible
} from "./families.ts"

type User = Pick<Account, "id" | "access_token">

const ends: Array<() => unknown> = []
afterAll(async () => {
  for (const end of ends.reverse()) await end()
})
const issuer = await startIssuer((end) => void ends.push(end))
issuer.publish(issuer.key)
const server = useServer({ TRUSTED_ISSUERS: JSON.stringify([trusting(issuer)]) })
let owner: Account
let stranger: Account
/** A user of another issuer, and what that issuer has for it besides. */
let guest: User & { readonly expired: string; readonly revoked: string }
let revoked: string
/** Whose tasks are asked for: one alive, one completed, one deleted, of each. */
const ids = new Map<User, ReadonlyArray<string>>()
const idsOf = (user: User) => ids.get(user) ?? []

beforeAll(async () => {
  owner = await server.register()
  stranger = await server.register()
  const sub = randomUUID()
  const [access_token, ended_token] = [await issuer.token({ sub }), await issuer.token({ sub, jti: "ended" })]
  const { json: user } = having(200, await server.request("GET", "/api/v1/auth/me", { token: access_token }))
  having(204, await server.request("POST", "/api/v1/auth/logout", { token: ended_token }))
  const now = Math.floor(Date.now() / 1000)
  const expired = await issuer.token({ sub, iat: now - 1_000, exp: now - 100 })
  guest = { id: user.id, access_token, expired, revoked: ended_token }
  for (const user of [owner, guest]) {
    const [open, done, gone] = [await create(server, user), await create(server, user), await create(server, user)]
    await patch(server, user, done.id, { completed: true })
    await remove(server, user, gone.id)
    ids.set(user, [open.id, done.id, gone.id])
  }
  await create(server, stranger)
  const ended = await server.register()
  having(204, await server.request("POST", "/api/v1/auth/logout", { token: ended.access_token }))
  revoked = ended.access_token
})

const malformed = [
  "not-a-uuid",
  "1",
  "-1",
  "%20",
  "%00",
  "null",
  "00000000-0000-7000-8000-00000000000g",
  "x".repeat(90)
]

const routes = [
  { name: "GET", method: "GET", suffix: "", body: undefined, headers: {} },
  { name: "HEAD", method: "HEAD", suffix: "", body: undefined, headers: {} },
  { name: "PUT", method: "PUT", suffix: "", body: { title: "taken over" }, headers: {} },
  { name: "PATCH", method: "PATCH", suffix: "", body: { title: "taken over" }, headers: {} },
  { name: "PATCH with If-Match: *", method: "PATCH", suffix: "", body: { title: "x" }, headers: { "if-match": "*" } },
  { name: "DELETE", method: "DELETE", suffix: "", body: undefined, headers: {} },
  { name: "DELETE with If-Match", method: "DELETE", suffix: "", body: undefined, headers: { "if-match": '"1"' } },
  { name: "PATCH complete", method: "PATCH", suffix: "/complete", body: undefined, headers: {} },
  { name: "PATCH complete false", method: "PATCH", suffix: "/complete", body: { completed: false }, headers: {} },
  { name: "POST restore", method: "POST", suffix: "/restore", body: undefined, headers: {} }
] as const

/** The same token with one letter of its signature changed. */
const forged = (token: string) => {
  const at = token.length - 10
  return `${token.slice(0, at)}${token[at] === "A" ? "B" : "A"}${token.slice(at + 1)}`
}

const matrix = families.flatMap((family) => routes.map((route) => ({ family, route, name: family.name })))

const on = (route: (typeof routes)[number], base: string, id: string, token?: string) =>
  server.request(route.method, `${base}/${id}${route.suffix}`, {
    ...(token === undefined ? {} : { token }),
    ...(route.body === undefined ? {} : { body: route.body }),
    headers: { ...route.headers }
  })

/** Whose tasks somebody else asks for. */
const pairs = [
  { name: "a user, by a user", of: () => owner, by: () => stranger },
  { name: "a user, by one of another issuer", of: () => owner, by: () => guest },
  { name: "one of another issuer, by a user", of: () => guest, by: () => stranger }
] as const

describe.each(matrix)("$route.name under $name", ({ family, route }) => {
  it.each(pairs)("R50 answers 404 to a task of $name, byte-equal to an id that does not exist", async ({ by, of }) => {
    const [caller, before] = [by(), await checksum(server, owner, stranger, guest)]
    const base = family.tasks(caller)
    const random = await on(route, base, newId(), caller.access_token)
    if (route.method === "HEAD") expect(random.status).toBe(404)
    else expectProblem(random, 404, "not_found")
    expect(idsOf(of())).toHaveLength(3)
    for (const id of idsOf(of())) {
      expect(visible(await on(route, base, id, caller.access_token))).toEqual(visible(random))
    }
    expect(await checksum(server, owner, stranger, guest)).toEqual(before)
  })

  it("R50 answers 422 to a malformed id, the same to every user", async () => {
    for (const id of malformed) {
      const mine = await on(route, family.tasks(owner), id, owner.access_token)
      if (route.method === "HEAD") expect(mine.status).toBe(422)
      else expectProblem(mine, 422, "validation_failed")
      for (const user of [stranger, guest]) {
        expect(visible(await on(route, family.tasks(user), id, user.access_token))).toEqual(visible(mine))
      }
    }
  })

  it("R50 answers 401 without a live session, the same whatever the id", async () => {
    const tokens = [
      ["token_missing", undefined],
      ["token_invalid", forged(owner.access_token)],
      ["token_invalid", owner.refresh_token],
      ["token_expired", expired(server, owner.access_token)],
      ["session_revoked", revoked],
      ["token_invalid", forged(guest.access_token)],
      ["token_expired", guest.expired],
      ["session_revoked", guest.revoked]
    ] as const
    for (const [code, token] of tokens) {
      const answers = []
      for (const id of [idsOf(owner)[0] ?? "", newId(), "not-a-uuid"]) {
        const answer = await on(route, family.tasks(owner), id, token)
        if (route.method === "HEAD") expect(answer.status).toBe(401)
        else expectProblem(answer, 401, code)
        const challenge = answer.headers.get("www-authenticate") ?? ""
        expect(challenge).toMatch(/^Bearer\b/)
        expect(challenge.includes('error="invalid_token"')).toBe(token !== undefined)
        answers.push(visible(answer))
      }
      expect(answers[1]).toEqual(answers[0])
      expect(answers[2]).toEqual(answers[0])
    }
  })
})

describe.each(routes)("$name below another user's path", (route) => {
  it.each(pairs)("R50 answers 403 below that of $name, byte-equal for every id", async ({ by, of }) => {
    const [caller, before] = [by(), await checksum(server, owner, stranger, guest)]
    const own = (await listAll(server, caller))[0]?.id ?? ""
    const base = userScoped.tasks(of())
    const random = await on(route, base, newId(), caller.access_token)
    if (route.method === "HEAD") expect(random.status).toBe(403)
    else expectProblem(random, 403, "forbidden")
    for (const id of [...idsOf(of()), own, "not-a-uuid"]) {
      expect(visible(await on(route, base, id, caller.access_token))).toEqual(visible(random))
    }
    expect(await checksum(server, owner, stranger, guest)).toEqual(before)
  })
})

describe("one's own deleted task", () => {
  it.each(routes.filter((route) => route.suffix !== "/restore"))(
    "R50 $name answers byte-equal to an id that does not exist",
    async (route) => {
      for (const { tasks } of families) {
        const random = await on(route, tasks(owner), newId(), owner.access_token)
        expect(random.status).toBe(404)
        expect(visible(await on(route, tasks(owner), idsOf(owner)[2] ?? "", owner.access_token))).toEqual(
          visible(random)
        )
      }
    }
  )
})

describe("a list", () => {
  it("R50 holds its owner's tasks only", async () => {
    const [a, b] = [await server.register(), await server.register()]
    for (let count = 0; count < 6; count++) {
      await create(server, a, { title: `a${count}` })
      await create(server, b, { title: `b${count}` })
    }
    for (const query of ["?limit=100", "?limit=2", "?limit=5&sort=created_at", "?limit=1&completed=false"]) {
      for (const [account, letter] of [[a, "a"], [b, "b"]] as const) {
        const listed = await listAll(server, account, query)
        expect(listed.map((task) => task.title).sort()).toEqual([0, 1, 2, 3, 4, 5].map((n) => `${letter}${n}`))
        expect(listed.every((task) => task.user_id === account.id)).toBe(true)
      }
    }
    expect((await server.request("GET", "/api/v1/tasks?completed=true", { token: a.access_token })).json).toEqual([])
  })
})

describe("an id that two users use", () => {
  it("R50 names two independent tasks through every method", async () => {
    const [a, b] = [await server.register(), await server.register()]
    const id = newId()
    await create(server, a, { id, title: "a" })
    const theirs = await create(server, b, { id, title: "b" })
    const call = (route: (typeof routes)[number]) => on(route, "/api/v1/tasks", id, a.access_token)
    for (const route of routes.filter((route) => route.method !== "DELETE")) await call(route)
    await remove(server, a, id)
    expect(await read(server, b, id)).toEqual(theirs)
    await remove(server, b, id)
    having(200, await server.request("POST", `/api/v1/tasks/${id}/restore`, { token: a.access_token }))
    expectProblem(await server.request("GET", `/api/v1/tasks/${id}`, { token: b.access_token }), 404, "not_found")
  })
})
