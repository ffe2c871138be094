/** Failures as RFC 9457 problems. */
import type { FastifyError, FastifyReply, FastifyRequest, FastifySchemaValidationError } from "fastify"
import type { Task } from "./tasks/repository.ts"

const catalog = {
  malformed_body: [
    400,
    "The body can't be read",
    "The request's body is empty where one is required, is not valid JSON (RFC 8259), or is not valid UTF-8."
  ],
  malformed_header: [
    400,
    "A header can't be read",
    "A header of the request does not have the form that its specification gives."
  ],
  invalid_cursor: [
    400,
    "The cursor is not valid here",
    "The cursor was cut or changed, belongs to another user, or was made for another filter or sort."
  ],
  token_missing: [
    401,
    "Authentication is required",
    "The request carries no bearer token, or more than one Authorization header."
  ],
  token_invalid: [
    401,
    "The access token is not valid",
    "The token was not issued by this server for this API, was changed, or its user no longer exists."
  ],
  token_expired: [401, "The access token has expired", "The token was valid until its `exp`."],
  session_revoked: [
    401,
    "The session was ended",
    "The session was ended by a logout, a password change, its owner, or a newer login."
  ],
  session_expired: [
    401,
    "The session has expired",
    "The session was not refreshed in time, or has reached its absolute end."
  ],
  invalid_credentials: [
    401,
    "The credentials are not valid",
    "There is no such account, or the password is another."
  ],
  not_found: [404, "Not found", "There is nothing at this path, or nothing that is yours."],
  email_taken: [409, "The e-mail address is taken", "An account with this address exists."],
  username_taken: [409, "The username is taken", "An account with this username exists."],
  stale_version: [
    412,
    "The task has changed",
    "The task is no longer at the version that If-Match names. The current task is the member `current`."
  ],
  too_large: [413, "The body is too large", "The request's body is longer than this endpoint accepts."],
  unsupported_media_type: [
    415,
    "The media type is not supported",
    "The body's Content-Type or Content-Encoding is not one that this endpoint reads."
  ],
  validation_failed: [
    422,
    "The request is not valid",
    "The request could be read, but some of its values are not allowed. `errors` has an entry for each, up to 100."
  ],
  internal: [
    500,
    "Something went wrong here",
    "The server failed in a way that it did not foresee. The log has the cause under the request's id."
  ],
  database_unavailable: [
    503,
    "The database does not answer",
    "The database can't be reached, or is starting or stopping."
  ]
} as const satisfies Record<string, readonly [status: number, title: string, detail: string]>

export type ProblemCode = keyof typeof catalog

interface Fault {
  readonly pointer: string
  readonly code: string
  readonly detail: string
}

export class Problem extends Error {
  readonly code: ProblemCode
  readonly members: { readonly detail?: string; readonly errors?: ReadonlyArray<Fault>; readonly current?: Task }

  constructor(code: ProblemCode, members: Problem["members"] = {}) {
    super(code)
    this.code = code
    this.members = members
  }
}

export const invalid = (pointer: string, detail: string) =>
  new Problem("validation_failed", { errors: [{ pointer, code: "invalid_value", detail }] })

const codes: Record<string, string> = {
  required: "required",
  additionalProperties: "unknown_member",
  type: "invalid_type",
  enum: "invalid_type"
}

const pointers: Record<string, (path: string) => string> = {
  body: (path) => path,
  querystring: (path) => `?${path.slice(1)}`,
  params: (path) => `{${path.slice(1)}}`
}

const escaped = (key: unknown) => String(key).replaceAll("~", "~0").replaceAll("/", "~1")

const toFault = (error: FastifySchemaValidationError, context: string): Fault => {
  const { instancePath, keyword, message = "is not valid", params } = error
  const member = params["missingProperty"] ?? params["additionalProperty"]
  const pointer = pointers[context]!(member === undefined ? instancePath : `${instancePath}/${escaped(member)}`)
  if (keyword === "additionalProperties" && context === "querystring") {
    return { pointer, code: "unknown_parameter", detail: "is not a known parameter" }
  }
  // a password that is to be set, too short
  if (keyword === "minLength" && pointer === "/password" && params["limit"] !== 1) {
    return { pointer, code: "password_too_short", detail: message }
  }
  return { pointer, code: codes[keyword] ?? "invalid_value", detail: message }
}

/** What Fastify, its validator or a handler failed with, as a problem; undefined where nobody foresaw it. */
const toProblem = (error: FastifyError | Problem): Problem | undefined => {
  if (error instanceof Problem) return error
  if (error.validation !== undefined) {
    const context = error.validationContext ?? "body"
    if (context === "headers") {
      return new Problem("malformed_header", { detail: error.message })
    }
    // one fault for each value, however many keywords it fails
    const faults = new Map(
      error.validation.map((each) => toFault(each, context)).reverse().map((it) => [it.pointer, it])
    )
    return new Problem("validation_failed", { errors: [...faults.values()].reverse() })
  }
  if (error.code === "FST_ERR_CTP_EMPTY_JSON_BODY") {
    return new Problem("malformed_body", { detail: "A body is required." })
  }
  switch (error.statusCode) {
    case 400:
      return new Problem("malformed_body", { detail: "The body is not valid JSON." })
    case 413:
      return new Problem("too_large")
    case 415:
      return new Problem("unsupported_media_type")
  }
  return undefined
}

const withoutToken: ReadonlyArray<ProblemCode> = ["token_missing", "invalid_credentials"]

const sendProblem = (request: FastifyRequest, reply: FastifyReply, { code, members }: Problem) => {
  const [status, title, detail] = catalog[code]
  if (status === 401) {
    reply.header(
      "www-authenticate",
      `Bearer realm="tasks-api"${withoutToken.includes(code) ? "" : `, error="invalid_token"`}`
    )
  }
  return reply.code(status).type("application/problem+json").send({
    type: `/problems/${code}`,
    title,
    status,
    detail,
    code,
    request_id: request.id,
    ...members
  })
}

export const handleError = (error: FastifyError | Problem, request: FastifyRequest, reply: FastifyReply) => {
  const problem = toProblem(error)
  if (problem === undefined) request.log.error(error)
  return sendProblem(request, reply, problem ?? new Problem("internal"))
}

export const handleNotFound = (request: FastifyRequest, reply: FastifyReply) =>
  sendProblem(request, reply, new Problem("not_found"))
