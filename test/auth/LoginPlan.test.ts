/** How the database executes what a login really sends, for a user who has logged in very often. */
import { expect, it } from "vitest"
import { useServer } from "../support/TestServer.ts"
import { login, me, type Tokens } from "./accounts.ts"
import { having } from "../tasks/families.ts"

const server = useServer()

interface Node {
  readonly "Node Type": string
  readonly "Relation Name"?: string
  readonly "Index Name"?: string
  readonly "Actual Rows": number
  readonly "Actual Loops": number
  readonly "Rows Removed by Filter"?: number
  readonly Plans?: ReadonlyArray<Node>
}

const flatten = (node: Node): ReadonlyArray<Node> => [node, ...(node.Plans ?? []).flatMap(flatten)]

it("reads the live sessions of a user alone, by an index, however many have ended", async () => {
  const users = [await server.register(), await server.register(), await server.register()]
  const [user] = users
  for (const { id } of users) {
    await server.sql(
      `insert into sessions (user_id, id, salt, created_at, expires_at, absolute_expires_at, revoked_at, revoked_reason)
       select $1, gen_random_uuid(), '\\x00', now() - n * interval '1 minute', now() + interval '1 day',
         now() + interval '1 day', now(), 'logout'
       from generate_series(1, 1000) n`,
      [id]
    )
  }
  await server.sql("analyze sessions")
  const tokens: Array<Tokens> = []
  const statements = await server.statements(async () => void tokens.push(await login(server, user!)))
  const ofSessions = statements.filter(([text]) => /\b(?:from|update) sessions\b/.test(text))
  expect(ofSessions.length).toBeGreaterThan(0)
  const indexes: Array<string | undefined> = []
  for (const [text, params] of ofSessions) {
    const [row] = await server.sql<Record<string, unknown>>(`explain (analyze, format json) ${text}`, params)
    const plan = row!["QUERY PLAN"]
    const [{ Plan }] = typeof plan === "string" ? JSON.parse(plan) : plan
    const scans = flatten(Plan).filter((node) => node["Relation Name"] === "sessions" && /Scan/.test(node["Node Type"]))
    for (const scan of scans) {
      const rows = (scan["Actual Rows"] + (scan["Rows Removed by Filter"] ?? 0)) * scan["Actual Loops"]
      // its 2 live ones
      expect({ text, scan: scan["Node Type"], rows: Math.min(rows, 3) }).toEqual({
        text,
        scan: expect.stringMatching(/^Index (?:Only )?Scan$/),
        rows: expect.toSatisfy((rows: number) => rows <= 2)
      })
      indexes.push(scan["Index Name"])
    }
  }
  expect(indexes).toContain("sessions_live")
  having(200, await me(server, tokens[0]!.access_token))
})
