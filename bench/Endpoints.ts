/** What is asked of a server. A new endpoint is one more entry. */
import type { BenchUser } from "./Seed.ts"

export interface Endpoint {
  readonly name: string
  readonly method: "GET" | "POST"
  readonly path: (user: BenchUser) => string
  readonly body?: () => string
  /** the status of every right answer; any other one is an error */
  readonly status: number
  /** Whether a body is what was asked for: looked at before each round, so that nobody is fast by doing less. */
  // deno-lint-ignore no-explicit-any -- an answer may be anything
  readonly isRight: (body: any, user: BenchUser) => boolean
}

const oneOf = <A>(items: ReadonlyArray<A>): A => items[Math.floor(Math.random() * items.length)]!

const pageSize = 20
let created = 0

export const endpoints: ReadonlyArray<Endpoint> = [
  {
    name: "list",
    method: "GET",
    path: () => `/api/v1/tasks?limit=${pageSize}`,
    status: 200,
    isRight: (body, user) =>
      Array.isArray(body) && body.length === pageSize && body.every(({ user_id }) => user_id === user.id)
  },
  {
    name: "get",
    method: "GET",
    path: ({ taskIds }) => `/api/v1/tasks/${oneOf(taskIds)}`,
    status: 200,
    isRight: (body, user) => user.taskIds.includes(body.id) && body.user_id === user.id
  },
  {
    name: "create",
    method: "POST",
    path: () => "/api/v1/tasks",
    body: () =>
      JSON.stringify({
        title: `Repot the lemon tree ${++created}`,
        description: "Before it is too big for the old pot",
        priority: "high",
        tags: ["home", "garden"]
      }),
    status: 201,
    isRight: (body, user) => body.title?.startsWith("Repot") && body.user_id === user.id && body.version > 0
  }
]
