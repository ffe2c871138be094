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
}

export const prepareWrite = async (server: TestServer, account: Account, endpoint: Endpoint): Promise<Write> => {
  const { body, method, path } = endpoint
  const { id } = path.includes(":id") ? await create(server, account, { title: randomUUID() }) : { id: "" }
  if (path.endsWith("/restore")) await remove(server, account, id)
  return {
    method,
    path: path.replace(":user_id", account.id).replace(":id", id),
    // good in both families, and for more than one creation
    body: body === undefined ? undefined : {
      ...(method === "PUT" && { title: "put" }),
      ...body,
      ...("id" in (body as object) && { id: newId() })
    },
    id
  }
}

/** The version of the user's last change. */
export const lastVersionOf = async (server: TestServer, { id }: Pick<Account, "id">): Promise<number> => {
  const query = "select last_version::int as last from user_sequences where user_id = $1"
  return (await server.sql<{ last: number }>(query, [id]))[0]?.last ?? 0
}
