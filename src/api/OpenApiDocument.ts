/** What the derived document can't know: headers that every answer carries, and an example of every schema. */
import type { OpenApi } from "effect/http-api"
import { problemCatalog, type ProblemCode } from "./ProblemCatalog.ts"

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
  tags: ["home", "garden"],
  due: { date: "2026-12-01", time: "09:00" },
  reminders: [{ before: "PT30M" }]
}
const recurrence = { rule: "FREQ=MONTHLY;BYMONTHDAY=31", anchor: "due", month_end: "clamp", missed: "skip" }
const changedTask = {
  id: "0198f5a0-1c2d-7e3f-8a4b-5c6d7e8f9a0b",
  user_id: user.id,
  ...creation,
  completed: false,
  completed_at: null,
  due_at: "2026-12-01T09:00:00.000Z",
  recurrence: null,
  reminders: [{ before: "PT30M", delivered_at: null }],
  version: 7,
  created_at: "2026-11-20T09:53:19.437Z",
  updated_at: "2026-11-20T09:53:19.437Z",
  deleted_at: null
}
const storedTask = { ...changedTask, series_start: null, series_number: null }
const task = { ...changedTask, overdue: false }
const completedTask = {
  ...task,
  completed: true,
  completed_at: "2026-11-20T10:53:19.437Z",
  version: 8,
  updated_at: "2026-11-20T10:53:19.437Z"
}
const otherId = "0198f5a0-1c2d-7e3f-8a4b-5c6d7e8f9a0c"
const update = { op: "update", id: task.id, if_match: 7, task: { priority: "urgent" } }
const counts = (open: number, completed: number) => ({ open, completed })
/** Thirty days, as many as there are in the answer. */
const completedByDay = Array.from({ length: 30 }, (_, day) => ({
  date: new Date(Date.UTC(2026, 9, 22 + day)).toISOString().slice(0, 10),
  count: day === 29 ? 2 : 0
}))
// RFC 8037, appendix A.2
const publicJwk = {
  kty: "OKP",
  crv: "Ed25519",
  x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  kid: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
  alg: "EdDSA",
  use: "sig"
}
const password = "correct horse battery staple"
const session = {
  id: "0198f59f-4a1b-7c2d-9e3f-1a2b3c4d5e6f",
  created_at: "2026-11-20T09:53:19.437Z",
  last_used_at: "2026-11-20T10:53:19.437Z",
  expires_at: "2026-12-20T10:53:19.437Z",
  user_agent: "curl/8.10",
  ip: "203.0.113.7"
}
const storedSession = {
  ...session,
  generation: 1,
  rotated_at: "2026-11-20T10:53:19.437Z",
  absolute_expires_at: "2027-02-18T09:53:19.437Z",
  revoked_at: null,
  revoked_reason: null
}

/** One example of each named schema; the docs page fills its forms with them. */
export const schemaExamples: Readonly<Record<string, unknown>> = {
  AccountDeletion: { password },
  Batch: { mode: "atomic", operations: [{ op: "create", task: creation }, update] },
  BatchResults: {
    results: [{ status: 201, task }, { status: 200, task: { ...task, priority: "urgent", version: 8 } }]
  },
  BulkCompleted: {
    updated: 1,
    results: [{ id: task.id, status: "updated" }, { id: otherId, status: "not_found" }]
  },
  BulkCompletion: { ids: [task.id, otherId], completed: true },
  BulkDeleted: { deleted: 1, results: [{ id: task.id, status: "deleted" }, { id: otherId, status: "not_found" }] },
  BulkDeletion: { ids: [task.id, otherId] },
  ChangeEvent: { event: "change", id: "aGVyZSBpcyBhIGN1cnNvciBbNyw3XQ", data: JSON.stringify(changedTask) },
  ChangedTask: changedTask,
  ChangesPage: { changes: [changedTask], cursor: "aGVyZSBpcyBhIGN1cnNvciBbNyw3XQ", has_more: false },
  Completion: { completed: true },
  Credentials: { email: user.email, password },
  Export: {
    exported_at: "2026-11-20T10:53:19.437Z",
    user,
    identities: [],
    sessions: [storedSession],
    sequence: { last_version: 7, purged_version: 0 },
    tasks: [storedTask],
    task_occurrences: [],
    idempotency_keys: []
  },
  Due: { date: "2026-12-01", time: "09:00", time_zone: "Europe/Berlin" },
  DuePatch: { time: "10:00", time_zone: null },
  DueReminder: { task_id: task.id, title: task.title, at: "2026-12-01T08:30:00.000Z", delivered_at: null },
  Fault: { pointer: "/title", code: "invalid_value", detail: "must not be empty" },
  Health: { status: "ok" },
  JwkSet: { keys: [publicJwk] },
  Login: { user, ...tokens },
  Logout: {},
  Operation: update,
  OperationResult: { status: 200, task: completedTask },
  Occurrences: {
    past: [{ occurrence: "2026-10-31", due_at: "2026-11-01T00:00:00.000Z", completed_at: "2026-10-31T17:03:12.804Z" }],
    next: [{ date: "2026-12-31", due_at: "2027-01-01T00:00:00.000Z" }]
  },
  OAuthError: {
    error: "invalid_grant",
    error_description: problemCatalog.invalid_credentials.meaning,
    error_uri: "/problems/invalid_credentials"
  },
  PasswordChange: { current_password: password, new_password: "seven unrelated tiny words" },
  ProblemDescription: { type: "/problems/not_found", code: "not_found", ...problemCatalog.not_found },
  PublicJwk: publicJwk,
  Recurrence: recurrence,
  RecurrencePatch: { month_end: "skip" },
  Refresh: { refresh_token: tokens.refresh_token },
  Registered: { message: "User created successfully", user, ...tokens },
  Registration: { email: user.email, password, username: user.username, name: user.name, time_zone: user.time_zone },
  Reminder: { before: "PT30M", delivered_at: null },
  SentRecurrence: { rule: recurrence.rule },
  SentReminder: { before: "PT30M" },
  Session: { ...session, current: true },
  ShownDue: creation.due,
  StoredSession: storedSession,
  StoredTask: storedTask,
  Task: task,
  TaskCreate: creation,
  TaskMergePatch: { title: "Water all the plants", description: null },
  TaskPatch: { title: "Water all the plants", description: null },
  TaskReplace: { title: "Water the plants", completed: true },
  TaskStatistics: {
    total: 8,
    ...counts(6, 2),
    overdue: 1,
    due_today: 2,
    completion_rate: 0.25,
    by_priority: {
      none: counts(3, 0),
      low: counts(0, 0),
      medium: counts(1, 1),
      high: counts(2, 1),
      urgent: counts(0, 0)
    },
    by_tag: [{ tag: "home", ...counts(4, 1) }, { tag: "garden", ...counts(2, 0) }],
    completed_by_day: completedByDay
  },
  TaskUpdate: { completed: true },
  TokenRequest: { grant_type: "password", username: user.email, password },
  Tokens: tokens,
  User: user,
  UserMergePatch: { name: "Ada King", username: null },
  UserPatch: { name: "Ada King", time_zone: "Europe/Berlin" }
}

const problemExample = (code: ProblemCode): object => ({
  type: `/problems/${code}`,
  title: problemCatalog[code].title,
  status: problemCatalog[code].status,
  detail: problemCatalog[code].meaning,
  code,
  request_id: "0198f5a0-2b3c-7d4e-9f5a-6b7c8d9e0f1a",
  ...(problemCatalog[code].status === 422 && code !== "wrong_password" && { errors: [schemaExamples["Fault"]] }),
  ...(code === "stale_version" && { current: task }),
  ...(code === "batch_failed" && { results: [{ status: 424 }, { status: 404, problem: problemExample("not_found") }] })
})

const isProblem = (name: string): name is ProblemCode => Object.hasOwn(problemCatalog, name)

const requestIdHeader = {
  description: "the id of this request, which its log lines carry",
  schema: { type: "string" as const },
  required: true
}
const retryAfterHeader = { description: "seconds", schema: { type: "integer" as const }, required: true }

const mapValues = <A, B>(record: Readonly<Record<string, A>>, f: (value: A, key: string) => B): Record<string, B> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, f(value, key)]))

const completeSchema = <S extends object>(schema: S, name: string): S => {
  const example = isProblem(name) ? problemExample(name) : schemaExamples[name]
  return example === undefined ? schema : { ...schema, examples: [example] }
}

/** Where the bearer is wanted, a client may get it by OAuth 2. */
const completeSecurity = (security: ReadonlyArray<OpenApi.OpenAPISecurityRequirement>) =>
  security.flatMap((requirement) => "bearer" in requirement ? [requirement, { oauth2: [] }] : [requirement])

const completeOperation = (operation: OpenApi.OpenAPISpecOperation): OpenApi.OpenAPISpecOperation => ({
  ...operation,
  security: completeSecurity(operation.security),
  responses: mapValues(operation.responses, (response, status) => ({
    ...response,
    headers: {
      ...response.headers,
      "x-request-id": requestIdHeader,
      ...(status === "503" && { "retry-after": retryAfterHeader })
    }
  }))
})

/**
 * The derived document as clients see it: names without the suffix that tells a sent form from a decoded one, and
 * checks in the schema they belong to, where they are derived as an `allOf` of one.
 */
const simplified = (derived: object): OpenApi.OpenAPISpec =>
  JSON.parse(
    JSON.stringify(derived).replaceAll(/"((?:#\/components\/schemas\/)?\w+)Encoded"/g, '"$1"'),
    (_key, value) => {
      if (typeof value !== "object" || value === null || Array.isArray(value)) return value
      // a closed struct says that its other names are of type never: additionalProperties says the same
      const { allOf, propertyNames: _, "x-effect-stream": __, ...rest } = value
      const parts: ReadonlyArray<object> = allOf ?? []
      const folds = parts.every((part) => Object.keys(part).every((member) => !(member in rest)))
      return folds ? Object.assign(rest, ...parts) : { ...rest, allOf }
    }
  )

/** Completes the derived OpenAPI document. */
export const completeOpenApi = (derived: object) => {
  const document = simplified(derived)
  return {
    ...document,
    paths: mapValues(
      document.paths,
      (item) => mapValues({ ...item }, (value) => "responses" in value ? completeOperation(value) : value)
    ),
    components: {
      ...document.components,
      schemas: mapValues(document.components.schemas, completeSchema),
      securitySchemes: {
        bearer: {
          type: "http",
          scheme: "bearer",
          bearerFormat: "JWT",
          description: "The `access_token` of a registration, login or refresh."
        },
        oauth2: {
          type: "oauth2",
          description: "Log in with the e-mail address or the username. There is no client id, secret or scope.",
          flows: {
            password: { tokenUrl: "/api/v1/auth/token", refreshUrl: "/api/v1/auth/token", scopes: {} }
          }
        }
      }
    }
  }
}
