/** Hashing and checking passwords, as many at once as the machine bears. */
import { hash, verify } from "@node-rs/argon2"
import { verify as verifyBcrypt } from "@node-rs/bcrypt"
import { Context, Duration, Effect, Layer, Metric, Schema, Semaphore } from "effect"
import { availableParallelism } from "node:os"
import { Overloaded, PasswordCompromised, ValidationFailed } from "../api/Problems.ts"
import { codePoints } from "../domain/Text.ts"
import { Settings } from "../Settings.ts"
import { isCompromised, loadCommonPasswords } from "./CommonPasswords.ts"

/**
 * Argon2id with 19,456 KiB, 2 passes and 1 lane: one of the settings that OWASP's password storage cheat sheet and
 * ASVS 5.0 appendix C list as equal, some 10 ms of one core.
 */
const parameters = { algorithm: 2, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const
const current = `$argon2id$v=19$m=${parameters.memoryCost},t=${parameters.timeCost},p=${parameters.parallelism}$`

/** A stored hash: Argon2id in PHC form, or bcrypt of an imported account. */
export type PasswordHash = string

export interface Verification {
  readonly valid: boolean
  /** the hash is weaker than new ones are, and should be replaced while the password is known */
  readonly outdated: boolean
}

const hashes = Metric.counter("password_hashes_total", {
  description: "Password hashes computed, for storing and for checking",
  incremental: true
})

export class Passwords extends Context.Service<Passwords, {
  /** Refuses what is too short (422 `validation_failed`) or easy to guess (422 `password_compromised`). */
  readonly check: (
    pointer: string,
    password: string,
    account: { readonly email?: string | null | undefined; readonly username?: string | null | undefined }
  ) => Effect.Effect<void, ValidationFailed | PasswordCompromised>
  /** Fails with `overloaded` where too many hashes wait already. */
  readonly hash: (password: string) => Effect.Effect<PasswordHash, Overloaded>
  /**
   * Compares; without a hash (no such account) it does the same work and is not valid, so that time does not tell the
   * two apart. (It does for an imported bcrypt hash, until the first good login replaces it.)
   */
  readonly verify: (password: string, stored: PasswordHash | undefined) => Effect.Effect<Verification, Overloaded>
}>()("tasks-api/auth/Passwords") {
  static readonly layer = Layer.effect(
    Passwords,
    Effect.gen(function* () {
      const settings = yield* Settings
      const common = yield* Effect.cached(Effect.promise(loadCommonPasswords))

      // hashing shares libuv's threads with everything else that is asynchronous there: leave it two
      const permits = Math.max(1, Math.min(availableParallelism(), settings.threadPoolSize - 2))
      const semaphore = yield* Semaphore.make(permits)
      // what can be hashed within the longest wait, with room to spare on a slow machine
      const capacity = permits * 33
      let admitted = 0

      /** At most `capacity` wait or run, none waits over 2 s; the rest is told to come back. */
      const bounded = <A>(work: () => Promise<A>): Effect.Effect<A, Overloaded> =>
        Effect.suspend(() => {
          if (admitted >= capacity) return Effect.fail(new Overloaded())
          admitted++
          const permit = Effect.timeoutOrElse(Semaphore.takeScoped(semaphore, 1), {
            duration: Duration.seconds(2),
            orElse: () => Effect.fail(new Overloaded())
          })
          const run = Effect.andThen(Metric.update(hashes, 1), Effect.uninterruptible(Effect.promise(work)))
          return Effect.scoped(Effect.andThen(permit, run)).pipe(Effect.ensuring(Effect.sync(() => {
            admitted--
          })))
        })

      const dummy = yield* Effect.promise(() => hash(crypto.randomUUID(), parameters))

      return Passwords.of({
        check: Effect.fnUntraced(function* (pointer, password, account) {
          const count = codePoints(password)
          if (count < settings.passwordMinLength) {
            return yield* new ValidationFailed({
              errors: [{
                pointer,
                code: "password_too_short",
                detail: `must have at least ${settings.passwordMinLength} characters`
              }]
            })
          }
          if (isCompromised(yield* common, password, account)) {
            return yield* new PasswordCompromised({
              errors: [{ pointer, code: "password_compromised", detail: "is too easy to guess" }]
            })
          }
        }),
        hash: (password) => bounded(() => hash(password, parameters)),
        verify: (password, stored) => {
          if (stored === undefined || !isPasswordHash(stored)) {
            return Effect.as(bounded(() => verify(dummy, password)), { valid: false, outdated: false })
          }
          const isBcrypt = stored.startsWith("$2")
          return Effect.map(
            // what an import left may look like a hash and be none
            bounded(() => (isBcrypt ? verifyBcrypt(password, stored) : verify(stored, password)).catch(() => false)),
            (valid) => ({ valid, outdated: valid && !stored.startsWith(current) })
          )
        }
      })
    })
  )
}

/** Whether a string has the form of a hash that can be checked; an import may have left another. */
const isPasswordHash = Schema.is(Schema.String.check(Schema.isPattern(/^\$(argon2id|2[aby])\$/)))
