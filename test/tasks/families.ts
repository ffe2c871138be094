import { createHmac, randomBytes } from "node:crypto"
import { setTimeout as pause } from "node:timers/promises"
import type { Account, Answer, TestServer } from "../support/TestServer.ts"

/** One of the two path families under which the same tasks are served. */
export interface Family {
  readonly name: string
  readonly tasks: (account: Pick<Account, "id">) => string
}

export const canonical: Family = { name: "/api/v1/tasks", tasks: () => "/api/v1/tasks" }
export const userScoped: Family = { name: "/api/{user_id}/tasks", tasks: (account) => `/api/${account.id}/tasks` }
export const families: ReadonlyArray<Family> = [canonical, userScoped]

/** Exactly the members of a task as the changes tell of it, in alphabetical order. */
export const changedMembers = [
  "completed",
  "completed_at",
  "created_at",
  "deleted_at",
  "description",
  "due",
  "due_at",
  "id",
  "priority",
  "recurrence",
  "reminders",
  "tags",
  "title",
  "updated_at",
  "user_id",
  "version"
]

/** The same of a task in an answer. */
export const taskMembers = [...changedMembers, "overdue"].sort()

/** A task of the changes, which do not tell what is overdue, as an answer shows it while it is not. */
export const shown = (task: Omit<TaskAnswer, "overdue">): TaskAnswer => {
  if ("overdue" in task) throw new Error("a change tells what is overdue")
  return { ...task, overdue: false }
}

/** RFC 3339 in UTC with a `Z`, as every instant of the contract. */
export const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/

/** A UUIDv7 that no task has. */
export const newId = (): string => {
  const time = Date.now().toString(16).padStart(12, "0")
  const random = randomBytes(10).toString("hex")
  return [time.slice(0, 8), time.slice(8), `7${random.slice(0, 3)}`, `8${random.slice(3, 6)}`, random.slice(6, 18)]
    .join("-")
}

/** The shape of a task as a client reads it. */
export interface TaskAnswer {
  readonly id: string
  readonly user_id: string
  readonly title: string
  readonly description: string | null
  readonly completed: boolean
  readonly completed_at: string | null
  readonly priority: string
  readonly tags: ReadonlyArray<string>
  readonly due: { readonly date: string; readonly time?: string; readonly time_zone?: string } | null
  readonly due_at: string | null
  readonly overdue: boolean
  readonly recurrence: { readonly rule: string } | null
  readonly reminders: ReadonlyArray<
    { readonly at?: string; readonly before?: string; readonly delivered_at: string | null }
  >
  readonly version: number
  readonly created_at: string
  readonly updated_at: string
  readonly deleted_at: string | null
}

/** The answer, which must have this status: the text of an unexpected answer is the message of the failure. */
export const having = (status: number, answer: Answer): Answer => {
  if (answer.status !== status) throw new Error(`expected ${status}, got ${answer.status}: ${answer.text}`)
  return answer
}

/**
 * Sends it again, when the answer says, where it was not done because what it waits for took too long: as many requests
 * of one user do to each other on a machine that is busy with other tests.
 */
export const patiently = async (send: () => Promise<Answer>): Promise<Answer> => {
  for (;;) {
    const answer = await send()
    if (answer.status !== 503 || answer.json?.code !== "overloaded") return answer
    await pause(1_000 * Number(answer.headers.get("retry-after")))
  }
}

/** Who asks: an account, or a user of another issuer. */
export type Caller = Pick<Account, "access_token">

/** Creates so many tasks of this account at once. */
export const createMany = (
  server: TestServer,
  account: Caller,
  count: number,
  taskOf: (index: number) => Record<string, unknown> = () => ({ title: "Buy milk" })
): Promise<ReadonlyArray<TaskAnswer>> =>
  Promise.all(Array.from({ length: count }, async (_, index) => {
    const request = { token: account.access_token, body: taskOf(index) }
    return having(201, await patiently(() => server.request("POST", "/api/v1/tasks", request))).json
  }))

/** Creates a task of this account and returns it. */
export const create = async (
  server: TestServer,
  account: Caller,
  task: Record<string, unknown> = { title: "Buy milk" }
): Promise<TaskAnswer> => {
  const answer = await server.request("POST", "/api/v1/tasks", { token: account.access_token, body: task })
  return having(201, answer).json
}

/** Reads a task of this account. */
export const read = async (server: TestServer, account: Caller, id: string): Promise<TaskAnswer> =>
  having(200, await server.request("GET", `/api/v1/tasks/${id}`, { token: account.access_token })).json

/** Changes a task of this account by a merge patch and returns it. */
export const patch = async (
  server: TestServer,
  account: Caller,
  id: string,
  body: Record<string, unknown>
): Promise<TaskAnswer> =>
  having(200, await server.request("PATCH", `/api/v1/tasks/${id}`, { token: account.access_token, body })).json

/** Deletes a task of this account. */
export const remove = async (server: TestServer, account: Caller, id: string): Promise<void> => {
  having(200, await server.request("DELETE", `/api/v1/tasks/${id}`, { token: account.access_token }))
}

/** Every live task of this account, by walking all pages. */
export const listAll = async (server: TestServer, account: Caller, query = "?limit=100") => {
  const all: Array<TaskAnswer> = []
  let path: string | undefined = `/api/v1/tasks${query}`
  while (path !== undefined) {
    const answer: Answer = having(200, await server.request("GET", path, { token: account.access_token }))
    all.push(...answer.json)
    path = nextOf(server, answer)
  }
  return all
}

/** Path and query of `Link: <…>; rel="next"`, or nothing on the last page. */
export const nextOf = (server: TestServer, answer: Answer): string | undefined => {
  const link = answer.headers.get("link")
  if (link === null) return undefined
  const target = /^<([^<>]+)>; rel="next"$/.exec(link)?.[1]
  if (target === undefined) throw new Error(`not a link to the next page: ${link}`)
  const url = new URL(target, server.url)
  return `${url.pathname}${url.search}`
}

/** A digest of every stored column of every task of these users: equal only if the rows are bit-identical. */
export const checksum = async (server: TestServer, ...accounts: ReadonlyArray<Pick<Account, "id">>) => {
  const digests: Array<string | null> = []
  for (const { id } of accounts) {
    const rows = await server.sql<{ digest: string | null }>(
      "select md5(string_agg(t::text, '|' order by t.id)) as digest from tasks t where t.user_id = $1",
      [id]
    )
    digests.push(rows[0]?.digest ?? null)
  }
  return digests
}

/** The pointers of a problem's `errors`, in alphabetical order. */
export const pointersOf = (answer: Answer): Array<string> =>
  answer.json.errors.map((fault: { pointer: string }) => fault.pointer).sort()

/** The same token with other claims, signed with the server's own key. */
export const resigned = (server: TestServer, token: string, claims: Record<string, unknown>): string => {
  const [header = "", payload = ""] = token.split(".")
  const changed = { ...JSON.parse(Buffer.from(payload, "base64url").toString()), ...claims }
  const signed = `${header}.${Buffer.from(JSON.stringify(changed)).toString("base64url")}`
  return `${signed}.${createHmac("sha256", server.secret).update(signed).digest("base64url")}`
}

/** The same token, ten minutes after its end. */
export const expired = (server: TestServer, token: string): string => {
  const now = Math.floor(Date.now() / 1000)
  return resigned(server, token, { iat: now - 3600, exp: now - 600 })
}

/** What a client sees of an answer apart from the request's own id and the time. */
export const visible = (answer: Answer) => ({
  status: answer.status,
  text: answer.text.replaceAll(answer.headers.get("x-request-id") ?? "no request id", "{request id}"),
  headers: [...answer.headers].filter(([name]) => !["x-request-id", "date", "connection", "keep-alive"].includes(name))
})
