/** What is asked of a server. A new endpoint is one more entry. */
import type { BenchUser } from "../seed/Seed.ts"

export interface Endpoint {
  readonly name: string
  readonly method: "GET" | "POST" | "PATCH"
  readonly path: (user: BenchUser) => string
  /** `before` is what was answered to the request before it, where it has one */
  // deno-lint-ignore no-explicit-any -- an answer may be anything
  readonly body?: (user: BenchUser, before: any) => unknown
  /** asked each time before it; neither its answer's time nor the request is counted, but its CPU time is */
  readonly before?: Endpoint
  readonly isAnonymous?: true
  /** requests under way at once, where the option would only fill the queue that waits for a hash */
  readonly connections?: number
  /** the status of every right answer; any other one is an error */
  readonly status: number
  /** Whether a body is what was asked for: looked at before each round, so that nobody is fast by doing less. */
  // deno-lint-ignore no-explicit-any -- an answer may be anything
  readonly isRight: (body: any, user: BenchUser) => boolean
}

export const password = "a long walk along the quiet river"
export const pageSize = 20
const concurrentHashes = 16

export const oneOf = <A>(items: ReadonlyArray<A>): A => items[Math.floor(Math.random() * items.length)]!
let count = 0
const unique = `${Date.now().toString(36)}${Math.floor(Math.random() * 1e6).toString(36)}`

// deno-lint-ignore no-explicit-any -- an answer may be anything
export const isTaskOf = (body: any, user: BenchUser): boolean =>
  typeof body.id === "string" && body.user_id === user.id && body.version > 0

export const endpoints: ReadonlyArray<Endpoint> = [
  {
    name: "list",
    method: "GET",
    path: () => `/api/v1/tasks?limit=${pageSize}`,
    status: 200,
    isRight: (body, user) =>
      Array.isArray(body) && body.length === pageSize && body.every((task) => isTaskOf(task, user))
  },
  {
    name: "get",
    method: "GET",
    path: ({ taskIds }) => `/api/v1/tasks/${oneOf(taskIds)}`,
    status: 200,
    isRight: (body, user) => user.taskIds.includes(body.id) && isTaskOf(body, user)
  },
  {
    name: "create",
    method: "POST",
    path: () => "/api/v1/tasks",
    body: () => ({
      title: `Repot the lemon tree ${++count}`,
      description: "Before it is too big for the old pot",
      priority: "high",
      tags: ["home", "garden"]
    }),
    status: 201,
    isRight: (body, user) => body.title?.startsWith("Repot") && isTaskOf(body, user)
  },
  {
    name: "update",
    method: "PATCH",
    path: ({ taskIds }) => `/api/v1/tasks/${oneOf(taskIds)}`,
    body: () => ({ title: `Prune the lemon tree ${++count}`, priority: count % 2 === 0 ? "low" : "urgent" }),
    status: 200,
    isRight: (body, user) => body.title?.startsWith("Prune") && isTaskOf(body, user)
  },
  {
    name: "complete",
    method: "PATCH",
    path: ({ taskIds }) => `/api/v1/tasks/${oneOf(taskIds)}/complete`,
    body: () => ({ completed: ++count % 2 === 0 }),
    status: 200,
    isRight: (body, user) => typeof body.completed === "boolean" && isTaskOf(body, user)
  },
  {
    name: "login",
    method: "POST",
    path: () => "/api/v1/auth/login",
    body: ({ loginEmail }) => ({ email: loginEmail, password }),
    isAnonymous: true,
    connections: concurrentHashes,
    status: 200,
    isRight: (body) => body.access_token?.split(".").length === 3
  },
  {
    name: "register",
    method: "POST",
    path: () => "/api/v1/auth/register",
    body: () => ({ email: `new-${unique}-${++count}@bench.example`, password }),
    isAnonymous: true,
    connections: concurrentHashes,
    status: 201,
    isRight: (body) => body.access_token?.split(".").length === 3
  }
]
