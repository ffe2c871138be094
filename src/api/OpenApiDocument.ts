/** What the derived document can't know: headers that every answer carries, and an example of every schema. */
import { problemCatalog, type ProblemCode } from "./ProblemCatalog.ts"

type Json = Record<string, any>

const user = {
  id: "0198f59f-4a1b-7c2d-9e3f-0a1b2c3d4e5f",
  email: "ada@example.com",
  username: "ada",
  name: "Ada Lovelace",
  time_zone: "Europe/London",
  created_at: "2026-11-20T09:53:19.437Z",
  updated_at: "2026-11-20T09:53:19.437Z"
}
const tokens = {
  access_token: "eyJhbGciOiJIUzI1NiIsImtpZCI6IjViIiwidHlwIjoiYXQrand0In0.eyJzdWIiOiIuLi4ifQ.c2lnbmF0dXJl",
  refresh_token: "AVsBmPWfShuELJ4_ChssPU5fAZj1n0obfC2ePwobLD1OXwAAAAB",
  token_type: "bearer",
  expires_in: 86_400
}
const creation = {
  title: "Water the plants",
  description: "The ferns every other day",
  priority: "high",
  tags: ["home", "garden"]
}
const task = {
  id: "0198f5a0-1c2d-7e3f-8a4b-5c6d7e8f9a0b",
  user_id: user.id,
  ...creation,
  completed: false,
  completed_at: null,
  version: 7,
  created_at: "2026-11-20T09:53:19.437Z",
  updated_at: "2026-11-20T09:53:19.437Z",
  deleted_at: null
}
const password = "correct horse battery staple"

/** One example of each named schema; the docs page fills its forms with them. */
export const schemaExamples: Readonly<Record<string, unknown>> = {
  AccountDeletion: { password },
  Completion: { completed: true },
  Credentials: { email: user.email, password },
  Fault: { pointer: "/title", code: "invalid_value", detail: "must not be empty" },
  Health: { status: "ok" },
  JwkSet: { keys: [] },
  Login: { user, ...tokens },
  Logout: {},
  PasswordChange: { current_password: password, new_password: "seven unrelated tiny words" },
  ProblemDescription: { type: "/problems/not_found", code: "not_found", ...problemCatalog.not_found },
  Refresh: { refresh_token: tokens.refresh_token },
  Registered: { message: "User created successfully", user, ...tokens },
  Registration: { email: user.email, password, username: user.username, name: user.name, time_zone: user.time_zone },
  Session: {
    id: "0198f59f-4a1b-7c2d-9e3f-1a2b3c4d5e6f",
    current: true,
    created_at: "2026-11-20T09:53:19.437Z",
    last_used_at: "2026-11-20T10:53:19.437Z",
    expires_at: "2026-12-20T10:53:19.437Z",
    user_agent: "curl/8.10",
    ip: "203.0.113.7"
  },
  Task: task,
  TaskCreate: creation,
  TaskMergePatch: { title: "Water all the plants", description: null },
  TaskPatch: { title: "Water all the plants", description: null },
  TaskReplace: { title: "Water the plants", completed: true },
  TaskUpdate: { completed: true },
  Tokens: tokens,
  User: user,
  UserMergePatch: { name: "Ada King", username: null },
  UserPatch: { name: "Ada King", time_zone: "Europe/Berlin" }
}

const problemExample = (code: ProblemCode): Json => ({
  type: `/problems/${code}`,
  title: problemCatalog[code].title,
  status: problemCatalog[code].status,
  detail: problemCatalog[code].meaning,
  code,
  request_id: "0198f5a0-2b3c-7d4e-9f5a-6b7c8d9e0f1a",
  ...(problemCatalog[code].status === 422 && code !== "wrong_password" && { errors: [schemaExamples["Fault"]] }),
  ...(code === "stale_version" && { current: task })
})

const isProblem = (name: string): name is ProblemCode => Object.hasOwn(problemCatalog, name)

const requestIdHeader = {
  description: "the id of this request, which its log lines carry",
  schema: { type: "string" },
  required: true
}
const retryAfterHeader = { description: "seconds", schema: { type: "integer" }, required: true }

const completeSchema = (name: string, schema: Json): Json => {
  const { propertyNames: _, ...rest } = schema
  const example = isProblem(name) ? problemExample(name) : schemaExamples[name]
  return example === undefined ? rest : { ...rest, examples: [example] }
}

const completeOperation = (operation: Json): Json => ({
  ...operation,
  // the form of a number in a query is text; what is meant is a number
  ...(operation["parameters"] && {
    parameters: operation["parameters"].map((parameter: Json) =>
      parameter["name"] === "limit"
        ? { ...parameter, schema: { type: "integer", minimum: 1, maximum: 100, default: 50 } }
        : parameter
    )
  }),
  responses: Object.fromEntries(
    Object.entries<Json>(operation["responses"]).map(([status, response]) => [status, {
      ...response,
      headers: {
        ...response["headers"],
        "x-request-id": requestIdHeader,
        ...(status === "503" && { "retry-after": retryAfterHeader })
      }
    }])
  )
})

/** A check on a transformed value is derived as an `allOf` of one: its members belong to the schema around it. */
const withoutNesting = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withoutNesting)
  if (typeof value !== "object" || value === null) return value
  const { allOf, ...rest } = Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutNesting(inner)]))
  const parts = (allOf ?? []) as Array<Json>
  const folded = parts.every((part) => Object.keys(part).every((key) => !(key in rest)))
  return folded ? Object.assign(rest, ...parts) : { ...rest, allOf }
}

/** Names without the suffix that tells a sent form from a decoded one: clients see only what is sent. */
const withPlainNames = (document: Json): Json =>
  JSON.parse(JSON.stringify(document).replaceAll(/"((?:#\/components\/schemas\/)?\w+)Encoded"/g, "\"$1\""))

/** Completes the derived OpenAPI document. */
export const completeOpenApi = (derived: Json): Json => {
  const document = withoutNesting(withPlainNames(derived)) as Json
  return {
    ...document,
    paths: Object.fromEntries(
      Object.entries<Json>(document["paths"]).map(([path, item]) => [
        path,
        Object.fromEntries(Object.entries<Json>(item).map(([method, operation]) => [method, completeOperation(operation)]))
      ])
    ),
    components: {
      ...document["components"],
      schemas: Object.fromEntries(
        Object.entries<Json>(document["components"].schemas).map(([name, schema]) => [name, completeSchema(name, schema)])
      ),
      securitySchemes: {
        bearer: {
          type: "http",
          scheme: "bearer",
          bearerFormat: "JWT",
          description: "The `access_token` of a registration, login or refresh."
        }
      }
    }
  }
}
