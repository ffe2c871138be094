/** Requests to every endpoint of tasks, each of which will succeed and, unless it reads, change something. */
import { randomUUID } from "node:crypto"
import { type Endpoint, endpoints } from "../support/endpoints.ts"
import type { Account, TestServer } from "../support/TestServer.ts"
import { create, newId, remove } from "../tasks/families.ts"

export const writing = endpoints.filter(({ method, path }) =>
  method !== "GET" && /^\/api\/(v1|:user_id)\/tasks(\/|$)/.test(path)
)

export interface Write {
  readonly method: string
  readonly path: string
  readonly body: Record<string, unknown> | undefined
  /** of the task that was made for it; empty where it needs none */
  readonly id: string
  /** of its answer */
  readonly status: number
}

const isOfMany = (path: string) => /\/tasks\/(bulk\/|batch$)/.test(path)

/** What a request about many tasks asks, of this one. */
const bodyOfMany = (path: string, id: string) =>
  path.endsWith("/batch")
    ? { mode: "atomic", operations: [{ op: "update", id, task: { title: "in a batch" } }] }
    : { ids: [id] }

export const prepareWrite = async (server: TestServer, account: Account, endpoint: Endpoint): Promise<Write> => {
  const { method } = endpoint
  const isNew = endpoint.path.endsWith("/tasks")
  const { id } = isNew ? { id: "" } : await create(server, account, { title: randomUUID() })
  if (endpoint.path.endsWith("/restore")) await remove(server, account, id)
  const path = endpoint.path.replace(":user_id", account.id).replace(":id", id)
  const body = isOfMany(path) ? bodyOfMany(path, id) : endpoint.body
  return {
    method,
    path,
    // good in both families, and for more than one creation
    body: body === undefined ? undefined : {
      ...(method === "PUT" && { title: "put" }),
      ...body,
      ...("id" in (body as object) && { id: newId() }),
      // no reminder comes meanwhile, whenever this runs
      ...("due" in (body as object) && { due: { date: "2031-03-01", time: "09:00" } })
    },
    id,
    status: isNew ? 201 : method === "DELETE" && path.includes(account.id) ? 204 : 200
  }
}

/** The same request with a body that is valid too. */
export const varied = (write: Write): Write => {
  const { body = {} } = write
  const other = "ids" in body
    ? { ids: [newId()] }
    : "mode" in body
    ? { ...body, mode: "partial" }
    : "title" in body
    ? { ...body, title: "another" }
    : { completed: false }
  return { ...write, body: other }
}

/** Whether the task is deleted by it. */
export const deletes = ({ method, path }: Write) => method === "DELETE" || path.endsWith("/bulk/delete")

/** The version of the user's last change. */
export const lastVersionOf = async (server: TestServer, { id }: Pick<Account, "id">): Promise<number> => {
  const query = "select last_version::int as last from user_sequences where user_id = $1"
  return (await server.sql<{ last: number }>(query, [id]))[0]?.last ?? 0
}
