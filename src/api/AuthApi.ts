/** Accounts, sessions and tokens. */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { closed } from "../domain/Closed.ts"
import { Export } from "../domain/Export.ts"
import { Session, SessionId } from "../domain/Session.ts"
import { length, text } from "../domain/Text.ts"
import { Email, Name, NewPassword, Password, User, Username, UserPatch } from "../domain/User.ts"
import { TimeZone } from "../domain/TimeZone.ts"
import { Authorization, LocalAccounts } from "./Authorization.ts"
import {
  AccountDeletionProblem,
  EmailTaken,
  ExternalAccount,
  LoginProblem,
  LogoutProblem,
  NotFound,
  PasswordCompromised,
  RefreshProblem,
  UsernameTaken,
  WrongPassword
} from "./Problems.ts"
import { OAuthFaults, oauthResponses } from "./OAuth.ts"
import { NetworkLimit, NetworkPolicy, RateLimitProblem, UserLimit } from "./RateLimits.ts"
import {
  BodyLimit,
  bodyOptional,
  bodyOptionalForExternal,
  manyTime,
  NoQuery,
  RequestBody,
  TimeLimit
} from "./Requests.ts"

const tokens = {
  access_token: Schema.String.annotate({ description: "a JWT; send it as `Authorization: Bearer`" }),
  refresh_token: Schema.String.annotate({ description: "opaque; exchange it once, then keep its successor" }),
  token_type: Schema.Literal("bearer"),
  expires_in: Schema.Int.annotate({ description: "seconds until the access token expires" })
}

/** What a refresh answers (the members of RFC 6749 5.1). */
export const Tokens = Schema.Struct(tokens).annotate({ identifier: "Tokens" })
export type Tokens = typeof Tokens.Type

/** What a login answers. */
export const Login = Schema.Struct({ user: User, ...tokens }).annotate({ identifier: "Login" })
export type Login = typeof Login.Type

/** What a registration answers: the account, logged in. */
export const Registered = Schema.Struct({ message: Schema.Literal("User created successfully"), user: User, ...tokens })
  .annotate({ identifier: "Registered" })

export const Registration = closed({
  email: Email,
  password: NewPassword,
  confirm_password: Schema.optionalKey(Password),
  username: Schema.optionalKey(Username),
  name: Schema.optionalKey(Name),
  time_zone: Schema.optionalKey(TimeZone)
}).check(
  Schema.makeFilter(({ confirm_password, password }) =>
    confirm_password === undefined || confirm_password === password ||
    { path: ["confirm_password"], issue: "must equal password" }
  )
).annotate({ identifier: "Registration" })
export type Registration = typeof Registration.Type

/** Whatever a user types as a login name: one that can't exist is answered like one that does not. */
const LoginName = text({ examples: ["ada@example.com"] }).check(length(1, 254))

export const Credentials = Schema.Union([
  closed({ email: LoginName, password: Password }),
  closed({ username: LoginName, password: Password }),
  closed({ username_or_email: LoginName, password: Password })
]).annotate({ identifier: "Credentials" })
export type Credentials = typeof Credentials.Type

/**
 * A refresh token, of this server or not: whoever has it need not be told what is wrong with it. The body of one of this
 * length is not too large yet.
 */
const RefreshToken = text().check(Schema.isMaxLength(12 * 1024))

/** Members that the endpoint does not know are ignored (RFC 6749 3.2), and allowed also where this is documented. */
const open = <const Fields extends Schema.Struct.Fields>(fields: Fields) =>
  Schema.StructWithRest(Schema.Struct(fields), [Schema.Record(Schema.String, Schema.Unknown)])

/**
 * What the token endpoint is asked (RFC 6749 4.3.2 and 6). A member of the other grant is ignored, but like every known
 * one it must not come twice.
 */
export const TokenRequest = Schema.Union([
  open({
    grant_type: Schema.Literal("password"),
    username: LoginName,
    password: Password,
    refresh_token: Schema.optionalKey(Schema.String)
  }),
  open({
    grant_type: Schema.Literal("refresh_token"),
    refresh_token: RefreshToken,
    username: Schema.optionalKey(Schema.String),
    password: Schema.optionalKey(Schema.String)
  })
]).pipe(HttpApiSchema.asFormUrlEncoded()).annotate({ identifier: "TokenRequest" })
export type TokenRequest = typeof TokenRequest.Type

const UserMergePatch = UserPatch.pipe(HttpApiSchema.asJson({ contentType: "application/merge-patch+json" }))
  .annotate({ identifier: "UserMergePatch" })

const LogoutScope = Schema.Literals(["local", "others", "global"]).annotate({
  description: "`local`: this session; `others`: every session but this one; `global`: every session"
})

const authBody = 16 * 1024

const registration = <const Name extends string, const Path extends `/${string}`>(
  name: Name,
  path: Path,
  summary: string
) =>
  HttpApiEndpoint.post(name, path, {
    query: NoQuery,
    payload: Registration,
    success: Registered.pipe(HttpApiSchema.status(201)),
    error: [EmailTaken, UsernameTaken, PasswordCompromised]
  }).middleware(RequestBody).middleware(NetworkLimit).middleware(LocalAccounts).annotate(NetworkPolicy, "register")
    .annotate(BodyLimit, authBody)
    .annotateMerge(OpenApi.annotations({ summary }))

const endpoints = {
  register: registration("register", "/register", "Create an account and log in"),
  signup: registration("signup", "/signup", "Create an account and log in; the same as register"),
  login: HttpApiEndpoint.post("login", "/login", {
    query: NoQuery,
    payload: Credentials,
    success: Login,
    error: LoginProblem
  }).middleware(RequestBody).middleware(NetworkLimit).middleware(LocalAccounts).annotate(
    NetworkPolicy,
    "login_attempts"
  )
    .annotate(BodyLimit, authBody)
    .annotateMerge(OpenApi.annotations({ summary: "Log in" })),
  refresh: HttpApiEndpoint.post("refresh", "/refresh", {
    query: NoQuery,
    payload: closed({ refresh_token: RefreshToken }).annotate({ identifier: "Refresh" }),
    success: Tokens,
    error: [RefreshProblem, RateLimitProblem]
  }).middleware(RequestBody).middleware(LocalAccounts).annotate(BodyLimit, authBody)
    .annotateMerge(OpenApi.annotations({
      summary: "Exchange a refresh token",
      description: "The token is spent. A retry, or another tab, within the grace period gets the same successor."
    })),
  token: HttpApiEndpoint.post("token", "/token", {
    query: NoQuery,
    payload: TokenRequest,
    success: Tokens,
    error: RateLimitProblem
  }).middleware(RequestBody).middleware(OAuthFaults).middleware(LocalAccounts).annotate(BodyLimit, authBody)
    .annotateMerge(oauthResponses)
    .annotateMerge(OpenApi.annotations({
      summary: "Log in or refresh as OAuth 2 clients do",
      description:
        "The grants `password` and `refresh_token` of RFC 6749. Clients are not registered: what they send to " +
        "authenticate themselves is ignored."
    })),
  logout: HttpApiEndpoint.post("logout", "/logout", {
    query: closed({ scope: Schema.optionalKey(LogoutScope) }),
    headers: { authorization: Schema.optionalKey(Schema.String) },
    payload: closed({ refresh_token: Schema.optionalKey(RefreshToken) }).annotate({ identifier: "Logout" }),
    success: HttpApiSchema.NoContent,
    error: [LogoutProblem, RateLimitProblem]
  }).middleware(RequestBody).annotate(BodyLimit, authBody).annotateMerge(bodyOptional)
    .annotateMerge(OpenApi.annotations({
      summary: "End sessions",
      description:
        "Takes the access token as bearer, or the refresh token in the body. Ending an ended session is no failure. " +
        "A token of another issuer is refused from then on, with every scope but `others`; its other tokens are not known."
    })),
  me: HttpApiEndpoint.get("me", "/me", { query: NoQuery, success: User })
    .middleware(UserLimit).middleware(Authorization)
    .annotateMerge(OpenApi.annotations({ summary: "Read the account" })),
  updateMe: HttpApiEndpoint.patch("updateMe", "/me", {
    query: NoQuery,
    payload: [UserPatch, UserMergePatch],
    success: User,
    error: UsernameTaken
  }).middleware(RequestBody).middleware(UserLimit).middleware(Authorization).annotate(BodyLimit, authBody)
    // another time zone is one for all tasks that are meant in it
    .annotate(TimeLimit, manyTime)
    .annotateMerge(OpenApi.annotations({ summary: "Change the account" })),
  deleteMe: HttpApiEndpoint.delete("deleteMe", "/me", {
    query: NoQuery,
    payload: closed({ password: Schema.optionalKey(Password) }).annotate({ identifier: "AccountDeletion" }),
    success: HttpApiSchema.NoContent,
    error: [WrongPassword, AccountDeletionProblem]
  }).middleware(RequestBody).middleware(UserLimit).middleware(Authorization).annotate(BodyLimit, authBody)
    .annotate(TimeLimit, manyTime)
    .annotateMerge(bodyOptionalForExternal)
    .annotateMerge(OpenApi.annotations({
      summary: "Delete the account and everything stored of it",
      description:
        "Needs the password. Users of other issuers have none: they need a token that was issued within 5 minutes."
    })),
  password: HttpApiEndpoint.post("password", "/password", {
    query: NoQuery,
    payload: closed({ current_password: Password, new_password: NewPassword })
      .annotate({ identifier: "PasswordChange" }),
    success: HttpApiSchema.NoContent,
    error: [WrongPassword, PasswordCompromised, ExternalAccount]
  }).middleware(RequestBody).middleware(UserLimit).middleware(Authorization).middleware(LocalAccounts).annotate(
    BodyLimit,
    authBody
  )
    .annotateMerge(OpenApi.annotations({ summary: "Change the password; every other session ends" })),
  sessions: HttpApiEndpoint.get("sessions", "/sessions", { query: NoQuery, success: Schema.Array(Session) })
    .middleware(UserLimit).middleware(Authorization)
    .annotateMerge(OpenApi.annotations({ summary: "List the live sessions" })),
  endSession: HttpApiEndpoint.delete("endSession", "/sessions/:id", {
    params: { id: SessionId },
    query: NoQuery,
    success: HttpApiSchema.NoContent,
    error: NotFound
  }).middleware(UserLimit).middleware(Authorization)
    .annotateMerge(OpenApi.annotations({ summary: "End one session" })),
  export: HttpApiEndpoint.get("export", "/export", {
    query: NoQuery,
    success: HttpApiSchema.WithHeaders(Export, {
      "content-disposition": Schema.String.annotate({ description: "asks browsers to save it as a file" })
    })
  }).middleware(UserLimit).middleware(Authorization)
    .annotateMerge(OpenApi.annotations({
      summary: "Read everything stored of the account",
      description: "One moment of it. One export of an account at a time; another one is refused as `overloaded`."
    }))
}

const all = Object.values(endpoints) as [typeof endpoints[keyof typeof endpoints]]

const title = { title: "Auth", description: "Accounts, sessions and tokens." }

export class AuthApi extends HttpApiGroup.make("auth").add(...all).prefix("/api/v1/auth")
  .annotateMerge(OpenApi.annotations(title)) {}

/** The same endpoints where clients of the user-scoped family expect them. */
export class UnversionedAuthApi extends HttpApiGroup.make("unversionedAuth").add(...all).prefix("/api/auth")
  .annotateMerge(OpenApi.annotations({ ...title, title: "Auth (unversioned paths)" })) {}
