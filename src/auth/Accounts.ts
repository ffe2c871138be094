/** Accounts: registered, logged in to, changed and deleted. */
import { Clock, Context, Data, Effect, Layer, Option, Schema } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { SqlClient } from "effect/sql"
import type { CurrentUser } from "../api/Authorization.ts"
import type { Credentials, Login, Registration } from "../api/AuthApi.ts"
import {
  EmailTaken,
  ExternalAccount,
  InvalidCredentials,
  Overloaded,
  PasswordCompromised,
  TokenInvalid,
  TokenTooOld,
  UsernameTaken,
  ValidationFailed,
  WrongPassword
} from "../api/Problems.ts"
import type { LimitReached } from "../api/RateLimits.ts"
import { manyTime } from "../api/Requests.ts"
import type { ExternalToken } from "../domain/Identity.ts"
import { Email, type User, UserId, type UserPatch } from "../domain/User.ts"
import { transaction } from "../database/Transaction.ts"
import { toTheEnd } from "../database/ToTheEnd.ts"
import { Limits } from "../limits/Limits.ts"
import { DatedWrites } from "../tasks/DatedWrites.ts"
import { securityEvent } from "../telemetry/SecurityEvents.ts"
import { type PasswordHash, Passwords } from "./Passwords.ts"
import { Sessions } from "./Sessions.ts"
import { SessionsRepo } from "./SessionsRepo.ts"
import { type LoginName, loginNameKey, UsersRepo } from "./UsersRepo.ts"

/** Seconds for which a token shows that its user has just logged in at the issuer. */
const maximumAge = 300

const isRecent = Effect.fnUntraced(function* ({ issuedAt }: ExternalToken) {
  const now = (yield* Clock.currentTimeMillis) / 1_000
  if (issuedAt === undefined || now - issuedAt > maximumAge) return yield* new TokenTooOld()
})

const passwordRequired = Effect.suspend(() =>
  Effect.fail(
    new ValidationFailed({ errors: [{ pointer: "/password", code: "required", detail: "is required" }] })
  )
)

const decodeEmail = Schema.decodeUnknownOption(Email)

/** What a login name means. Usernames have no `@`, so one that has is an address. */
const loginName = (credentials: Credentials): LoginName => {
  if ("username" in credentials) return { username: credentials.username }
  const text = "email" in credentials ? credentials.email : credentials.username_or_email
  if (!("email" in credentials) && !text.includes("@")) return { username: text }
  return { email: Option.getOrElse(decodeEmail(text), () => text) }
}

/** The hash that a password was compared with is not the stored one any more. */
class HashReplaced extends Data.TaggedError("HashReplaced") {}

/**
 * Compares the password again where its hash was replaced meanwhile: by another login with newer parameters, which
 * changes nothing for this one, or by another password, with which the comparison fails.
 */
const retrying = <Arguments extends ReadonlyArray<unknown>, A, E extends { readonly _tag: string }, Otherwise>(
  operation: (...args: Arguments) => Effect.Effect<A, E>,
  otherwise: () => Otherwise
) =>
(...args: Arguments) =>
  operation(...args).pipe(
    Effect.retry({ times: 2, while: ({ _tag }) => _tag === "HashReplaced" }),
    Effect.catchIf((error): error is Extract<E, HashReplaced> => error._tag === "HashReplaced", () =>
      Effect.fail(otherwise()))
  )

export class Accounts extends Context.Service<Accounts, {
  readonly register: (
    registration: Registration
  ) => Effect.Effect<Login, EmailTaken | UsernameTaken | ValidationFailed | PasswordCompromised | Overloaded>
  /** Tells nobody whether the account exists: not by the answer, and not by the time it takes. */
  readonly login: (credentials: Credentials) => Effect.Effect<Login, InvalidCredentials | Overloaded | LimitReached>
  readonly get: (id: UserId) => Effect.Effect<User, TokenInvalid>
  readonly update: (id: UserId, patch: UserPatch) => Effect.Effect<User, UsernameTaken | TokenInvalid>
  /** Changes the password and ends every other session. */
  readonly changePassword: (
    user: CurrentUser["Service"],
    current: string,
    next: string
  ) => Effect.Effect<
    void,
    | WrongPassword
    | ValidationFailed
    | PasswordCompromised
    | Overloaded
    | TokenInvalid
    | ExternalAccount
    | LimitReached
  >
  /** Needs the password, or of a user without one a token that was issued within 5 minutes (RFC 9470). */
  readonly remove: (
    user: CurrentUser["Service"],
    password: string | undefined
  ) => Effect.Effect<
    void,
    WrongPassword | Overloaded | ValidationFailed | TokenTooOld | TokenInvalid | LimitReached
  >
}>()("tasks-api/auth/Accounts") {
  static readonly layer = Layer.effect(
    Accounts,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const users = yield* UsersRepo
      const tasks = yield* DatedWrites
      const sessions = yield* Sessions
      const sessionsRepo = yield* SessionsRepo
      const passwords = yield* Passwords
      const limits = yield* Limits

      const inTransaction = transaction(sql)

      /**
       * Limits how often a password is guessed for a login name: before the account is looked up, so that it makes no
       * difference whether there is one. A username is a name of its own: if it shared the limit of its account's
       * address, whoever uses up the one could see by the other that the account exists.
       */
      const guessing = <A, E extends { readonly _tag: string }>(name: LoginName, check: Effect.Effect<A, E>) =>
        limits.failures(
          "login",
          { account: loginNameKey(name) },
          ({ _tag }: E) => _tag === "invalid_credentials" || _tag === "wrong_password"
        )(check)

      const compare = Effect.fnUntraced(function* ({ id, sessionId }: CurrentUser["Service"], password: string) {
        const stored = yield* users.passwordHash(id)
        // the account was deleted meanwhile
        if (stored === undefined) return yield* new TokenInvalid()
        const { valid } = yield* passwords.verify(password, stored)
        if (!valid) {
          yield* securityEvent("confirmation_failed", id, sessionId)
          return yield* new WrongPassword()
        }
        return stored
      })

      /** The password of somebody who is logged in; wrong ones count together with logins by the address. */
      const confirm = Effect.fnUntraced(function* (user: CurrentUser["Service"], password: string) {
        const email = (yield* users.get(user.id))?.email
        return yield* guessing(email == null ? { username: user.id } : { email }, compare(user, password))
      })

      const authenticate = Effect.fnUntraced(function* (name: LoginName, password: string) {
        const found = yield* users.findByLoginName(name)
        const { outdated, valid } = yield* passwords.verify(password, found?.passwordHash)
        if (!valid || found?.passwordHash === undefined) {
          yield* securityEvent("login_failed", found?.user.id ?? null)
          return yield* new InvalidCredentials()
        }
        return { user: found.user, passwordHash: found.passwordHash, outdated }
      })

      /** Stronger parameters reach old hashes when their passwords are next known. */
      const upgrade = (id: UserId, password: string, stored: PasswordHash) =>
        Effect.flatMap(passwords.hash(password), (hash) => users.replacePasswordHash(id, stored, hash)).pipe(
          // a server too busy for one more hash is no reason to refuse this login
          Effect.catchTag("overloaded", () => Effect.void)
        )

      const get = Effect.fn("Accounts.get")(function* (id: UserId) {
        return (yield* users.get(id)) ?? (yield* new TokenInvalid())
      })

      return Accounts.of({
        register: Effect.fn("Accounts.register")(function* ({ confirm_password: _, password, ...account }) {
          yield* passwords.check("/password", password, account)
          const passwordHash = yield* passwords.hash(password)
          const id = UserId.make(SecureRandom.uuidV7Unsafe(), { disableChecks: true })
          const login = yield* inTransaction(Effect.gen(function* () {
            const user = yield* users.insert({ id, ...account, passwordHash })
            return { user, ...(yield* Effect.orDie(sessions.start(id))) }
          }))
          yield* securityEvent("registered", id)
          return login
        }),
        login: retrying(
          Effect.fn("Accounts.login")(function* (credentials: Credentials) {
            const name = loginName(credentials)
            const { outdated, passwordHash, user } = yield* guessing(name, authenticate(name, credentials.password))
            const tokens = yield* inTransaction(Effect.gen(function* () {
              const tokens = yield* sessions.start(user.id)
              // a password that was changed meanwhile has ended every session: this one must not outlive that
              if ((yield* users.passwordHash(user.id)) !== passwordHash) return yield* new HashReplaced()
              return tokens
            })).pipe(Effect.catchTag("not_found", () => Effect.fail(new InvalidCredentials())))
            if (outdated) yield* upgrade(user.id, credentials.password, passwordHash)
            yield* securityEvent("logged_in", user.id)
            return { user, ...tokens }
          }),
          () => new InvalidCredentials()
        ),
        get,
        update: Effect.fn("Accounts.update")(function* (id, patch) {
          const updated = patch.time_zone === undefined
            ? users.update(id, patch)
            : tasks.changingUser(id, users.update(id, patch))
          return (yield* updated) ?? (yield* new TokenInvalid())
        }),
        changePassword: retrying(
          Effect.fn("Accounts.changePassword")(function* (
            user: CurrentUser["Service"],
            current: string,
            next: string
          ) {
            if (user.external !== undefined) return yield* new ExternalAccount()
            const stored = yield* confirm(user, current)
            yield* passwords.check("/new_password", next, yield* get(user.id))
            const hash = yield* passwords.hash(next)
            yield* toTheEnd(inTransaction(Effect.gen(function* () {
              if (!(yield* users.replacePasswordHash(user.id, stored, hash))) return yield* new HashReplaced()
              yield* sessionsRepo.revokeAll(user.id, "password_change", { except: user.sessionId })
            })))
            yield* securityEvent("password_changed", user.id, user.sessionId)
          }),
          () => new WrongPassword()
        ),
        remove: retrying(
          Effect.fn("Accounts.remove")(function* (user: CurrentUser["Service"], password: string | undefined) {
            let stored: PasswordHash | undefined
            if (user.external !== undefined) yield* isRecent(user.external)
            else if (password !== undefined) stored = yield* confirm(user, password)
            else return yield* passwordRequired
            // a password that was changed meanwhile has ended this session, unless it made the change itself
            if (!(yield* toTheEnd(users.remove(user.id, stored, user.external), manyTime / 1_000))) {
              return yield* new HashReplaced()
            }
            yield* securityEvent("account_deleted", user.id, user.sessionId)
          }),
          () => new WrongPassword()
        )
      })
    })
  )
}
