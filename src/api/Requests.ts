/** What every request has in common: how its body is bounded, and what can go wrong before or without a handler. */
import { Context, Schema } from "effect"
import { HttpApiMiddleware, OpenApi } from "effect/http-api"
import { closed } from "../domain/Closed.ts"
import {
  DatabaseUnavailable,
  HttpsRequired,
  Internal,
  MalformedBody,
  MalformedHeader,
  Overloaded,
  TooLarge,
  UnsupportedMediaType,
  ValidationFailed
} from "./Problems.ts"

/** Part of every endpoint: requests that do not fit the endpoint's schemas, and faults of the server. */
export class Faults extends HttpApiMiddleware.Service<Faults>()("tasks-api/api/Requests/Faults", {
  error: [ValidationFailed, HttpsRequired, Internal, Overloaded, DatabaseUnavailable]
}) {}

/** Part of every endpoint with a body: reads it within BodyLimit, as UTF-8, before anything else is decoded. */
export class RequestBody extends HttpApiMiddleware.Service<RequestBody>()("tasks-api/api/Requests/RequestBody", {
  error: [MalformedBody, TooLarge, UnsupportedMediaType, ValidationFailed, Overloaded]
}) {}

/** Part of every endpoint with a header that has a form: it is checked before anything is looked up. */
export class FormedHeaders extends HttpApiMiddleware.Service<FormedHeaders>()("tasks-api/api/Requests/FormedHeaders", {
  error: MalformedHeader
}) {}

/** The longest body an endpoint reads, in bytes. */
export const BodyLimit = Context.Reference<number>("tasks-api/api/Requests/BodyLimit", {
  defaultValue: () => 128 * 1024
})

/** How long an endpoint may take once the body has arrived, in milliseconds: below what load balancers wait for. */
export const TimeLimit = Context.Reference<number>("tasks-api/api/Requests/TimeLimit", {
  defaultValue: () => 10_000
})

/** The same of one that may write or read many tasks. */
export const manyTime = 20_000

/** Whether an endpoint takes an empty body for `{}`, from everybody or from users of other issuers. */
export const BodyOptional = Context.Reference<"no" | "yes" | "for external users">(
  "tasks-api/api/Requests/BodyOptional",
  { defaultValue: () => "no" }
)

const notRequired = OpenApi.annotations({
  transform: (operation) => ({ ...operation, requestBody: { ...operation["requestBody"], required: false } })
})

/** What an endpoint is annotated with whose body may be left out. */
export const bodyOptional = Context.add(notRequired, BodyOptional, "yes")

/** The same where only users of other issuers have nothing to say in it. */
export const bodyOptionalForExternal = Context.add(notRequired, BodyOptional, "for external users")

/** No query parameter is known, so each one is a fault. */
export const NoQuery = closed({})

export const Message = Schema.Struct({ message: Schema.String })
