/** Ids in the paths of the auth endpoints, of every kind, sent by every kind of caller. */
import { randomUUID } from "node:crypto"
import { beforeAll, describe, expect, it } from "vitest"
import { endpoints } from "../support/endpoints.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, type Answer, useServer } from "../support/TestServer.ts"
import { expired, having, newId, visible } from "../tasks/families.ts"
import { bases, expectAlive, expectRefused, login, me, sessionOf, type Tokens } from "./accounts.ts"

const server = useServer()
let ada: Account
let bob: Account
beforeAll(async () => {
  ada = await server.register()
  bob = await server.register()
})

/** All that is stored of this user's sessions. */
const stored = async ({ id }: Pick<Account, "id">) =>
  (await server.sql<{ row: string }>("select s::text as row from sessions s where user_id = $1 order by id", [id]))
    .map(({ row }) => row)

const malformed = ["1", "x", "%00", "..%2fme", "null", "*", "%20", "0".repeat(36), `${newId()}0`, "a".repeat(90)]

it("R50 the auth endpoints have no other path with an id", () => {
  const paths = endpoints.filter(({ path }) => /^\/api(\/v1)?\/auth\//.test(path) && path.includes(":"))
  expect(paths.map(({ name }) => name).sort()).toEqual(
    bases.map((base) => `DELETE ${base}/sessions/:id`).sort()
  )
})

describe.each(bases)("DELETE %s/sessions/{id}", (base) => {
  const end = (id: string, token?: string) =>
    server.request("DELETE", `${base}/sessions/${id}`, token === undefined ? {} : { token })

  /** An id of each kind, of Ada's point of view. */
  const idsOf = async () => {
    const [own, ended] = [await login(server, ada), await login(server, ada)]
    having(204, await end(sessionOf(ended), ada.access_token))
    return {
      own: sessionOf(own),
      ended: sessionOf(ended),
      foreign: sessionOf(bob),
      random: newId(),
      "of another version": randomUUID(),
      "of the user": ada.id
    }
  }

  it("R50 ends an own session, whatever the case of its id", async () => {
    const ids = [await login(server, ada), await login(server, ada)].map(sessionOf)
    having(204, await end(ids[0]!, ada.access_token))
    having(204, await end(ids[1]!.toUpperCase(), ada.access_token))
  })

  it("R50 answers every id but that of a live own session as one of nobody's, and changes nothing", async () => {
    const { own: _, ...ids } = await idsOf()
    const before = [await stored(ada), await stored(bob)]
    const nobody = visible(await end(newId(), ada.access_token))
    expect(nobody.status).toBe(404)
    for (const [kind, id] of Object.entries(ids)) {
      expect(visible(await end(id, ada.access_token)), kind).toEqual(nobody)
    }
    for (const id of malformed) expectProblem(await end(id, ada.access_token), 422, "validation_failed")
    expect([await stored(ada), await stored(bob)]).toEqual(before)
  })

  const callers: ReadonlyArray<readonly [string, string, () => Promise<string | undefined>]> = [
    ["without a token", "token_missing", () => Promise.resolve(undefined)],
    ["with rubbish", "token_invalid", () => Promise.resolve("a.b.c")],
    ["with a refresh token", "token_invalid", () => Promise.resolve(ada.refresh_token)],
    ["with an expired token", "token_expired", () => Promise.resolve(expired(server, ada.access_token))],
    ["of a session that has ended", "session_revoked", async () => {
      const { access_token } = await login(server, ada)
      having(204, await server.request("POST", `${base}/logout`, { token: access_token }))
      return access_token
    }],
    ["of a session that has expired", "session_expired", async () => {
      const tokens = await login(server, ada)
      const sql = "update sessions set expires_at = now() - interval '1 second' where user_id = $1 and id = $2"
      await server.sql(sql, [ada.id, sessionOf(tokens)])
      return tokens.access_token
    }],
    ["whose account was deleted", "token_invalid", async () => {
      const { access_token, password } = await server.register()
      having(204, await server.request("DELETE", `${base}/me`, { token: access_token, body: { password } }))
      return access_token
    }]
  ]

  it.each(callers)(
    "R50 tells a caller %s nothing about any id, malformed ones included",
    async (_, code, makeToken) => {
      const token = await makeToken()
      const { own, ...ids } = await idsOf()
      const before = [await stored(ada), await stored(bob)]
      const expectSame = (answer: Answer) => {
        if (code === "token_missing") expectProblem(answer, 401, code)
        else expectRefused(answer, code)
        expect(visible(answer)).toEqual(first)
      }
      const first = visible(await end(own, token))
      for (const id of [own, ...Object.values(ids), ...malformed]) expectSame(await end(id, token))
      expect([await stored(ada), await stored(bob)]).toEqual(before)
    }
  )

  it("R50 ends sessions for their own user only", async () => {
    const [mine, theirs]: ReadonlyArray<Tokens> = [await login(server, ada), await login(server, bob)]
    expectProblem(await end(sessionOf(mine!), bob.access_token), 404, "not_found")
    expectProblem(await end(sessionOf(theirs!), ada.access_token), 404, "not_found")
    await expectAlive(server, mine!)
    await expectAlive(server, theirs!)
    having(200, await me(server, bob.access_token))
  })
})
