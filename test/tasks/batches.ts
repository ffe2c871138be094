/** Requests for many tasks at once. */
import type { Account, Answer, TestServer } from "../support/TestServer.ts"
import { canonical, type Family, having, shown, type TaskAnswer } from "./families.ts"

export type Operation =
  & { readonly op: string; readonly id?: string; readonly task?: Record<string, unknown> }
  & { readonly completed?: boolean; readonly if_match?: number }

export interface Result {
  readonly status: number
  readonly task?: TaskAnswer
  readonly problem?: Record<string, unknown> & { readonly code: string }
}

export interface How {
  readonly family?: Family
  readonly headers?: Record<string, string>
  readonly raw?: string
}

const post = (server: TestServer, account: Account, path: string, body: unknown, how: How): Promise<Answer> =>
  server.request("POST", `${(how.family ?? canonical).tasks(account)}/${path}`, {
    token: account.access_token,
    headers: { "content-type": "application/json", ...how.headers },
    raw: how.raw ?? JSON.stringify(body)
  })

export const batch = (
  server: TestServer,
  account: Account,
  mode: "atomic" | "partial",
  operations: ReadonlyArray<Operation | Record<string, unknown>>,
  how: How = {}
): Promise<Answer> => post(server, account, "batch", { mode, operations }, how)

export const bulk = (
  server: TestServer,
  account: Account,
  action: "complete" | "delete",
  body: unknown,
  how: How = {}
): Promise<Answer> => post(server, account, `bulk/${action}`, body, how)

/** The results of a batch that must have succeeded. */
export const resultsOf = (answer: Answer): ReadonlyArray<Result> => having(200, answer).json.results

/** The request for one task that does what the operation does. */
export const single = (
  server: TestServer,
  account: Account,
  { completed, id, if_match, op, task }: Operation
): Promise<Answer> => {
  const path = `/api/v1/tasks${op === "create" ? "" : `/${id}`}${op === "complete" ? "/complete" : ""}`
  const method = { create: "POST", update: "PATCH", complete: "PATCH", delete: "DELETE" }[op]
  if (method === undefined) throw new Error(`no operation: ${op}`)
  const body = op === "complete" ? (completed === undefined ? {} : { completed }) : task
  return server.request(method, path, {
    token: account.access_token,
    headers: if_match === undefined ? {} : { "if-match": `"${if_match}"` },
    ...(op !== "delete" && { body })
  })
}

/** Every task that was changed since the beginning, also the deleted ones, by the change feed. */
export const feedOf = async (server: TestServer, account: Account, cursor?: string) => {
  const changes: Array<TaskAnswer> = []
  let since = cursor
  for (let more = true; more;) {
    const query = since === undefined ? "" : `&since=${encodeURIComponent(since)}`
    const { json } = having(
      200,
      await server.request("GET", `/api/v1/changes?limit=500${query}`, { token: account.access_token })
    )
    changes.push(...json.changes.map(shown))
    since = json.cursor
    more = json.has_more
  }
  return { changes, cursor: since! }
}
