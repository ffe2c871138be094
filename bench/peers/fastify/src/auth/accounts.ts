import { randomBytes, randomUUID } from "node:crypto"
import { hash, verify } from "@node-rs/argon2"
import { DatabaseError, type Pool } from "pg"
import { v7 as uuidv7 } from "uuid"
import { Problem } from "../problems.ts"
import type { Tokens } from "./tokens.ts"

/** Argon2id (2) with the parameters of OWASP's password storage cheat sheet. */
const argon2 = { algorithm: 2, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const

interface User {
  readonly id: string
  readonly email: string | null
  readonly username: string | null
  readonly name: string | null
  readonly time_zone: string
  readonly created_at: Date
  readonly updated_at: Date
}

export interface Registration {
  readonly email: string
  readonly password: string
  readonly username?: string
  readonly name?: string
  readonly time_zone?: string
}

const columns = "id, email, username, name, time_zone, created_at, updated_at"

/** The form in which e-mail addresses and usernames are unique. */
const key = (text: string | undefined) => text?.normalize("NFKC").toLowerCase()

const session = { lifetime: "30 days", absoluteLifetime: "90 days", accessToken: 24 * 60 * 60 }

const taken = { users_email_key: "email_taken", users_username_key: "username_taken" } as const

const orTaken = (error: unknown): never => {
  const constraint = error instanceof DatabaseError ? error.constraint : undefined
  if (constraint === "users_email_key" || constraint === "users_username_key") throw new Problem(taken[constraint])
  throw error
}

export const accounts = (pool: Pool, tokens: Tokens) => {
  // compared with where there is no account, so that the time does not tell
  const dummy = hash(randomUUID(), argon2)

  const startSession = async (userId: string, address: string, userAgent: string | undefined) => {
    const [id, salt] = [uuidv7(), randomBytes(16)]
    await pool.query({
      name: "start session",
      text: `
        insert into sessions (user_id, id, salt, user_agent, ip, expires_at, absolute_expires_at)
        values ($1, $2, $3, $4, $5, now() + $6::interval, now() + $7::interval)`,
      values: [userId, id, salt, userAgent ?? null, address, session.lifetime, session.absoluteLifetime]
    })
    return tokens.issue({ sub: userId, sid: id }, salt, session.accessToken)
  }

  return {
    startSession,
    register: async ({ email, name, password, time_zone, username }: Registration): Promise<User> => {
      const passwordHash = await hash(password.normalize("NFC"), argon2)
      const { rows: [user] } = await pool.query<User>({
        name: "register",
        text: `
          with new_user as (
            insert into users (id, email, email_key, username, username_key, name, password_hash, time_zone)
            values ($1, $2, $3, $4, $5, $6, $7, coalesce($8, 'UTC'))
            returning ${columns}
          ), new_sequence as (
            insert into user_sequences (user_id) select id from new_user
          )
          select * from new_user`,
        values: [uuidv7(), email, key(email), username, key(username), name, passwordHash, time_zone]
      }).catch(orTaken)
      return user!
    },
    /** The account of a login name, which is an address where it has an `@`. */
    logIn: async (loginName: string, password: string): Promise<User> => {
      const { rows: [found] } = await pool.query<User & { readonly password_hash: string | null }>({
        name: "log in",
        text: `select ${columns}, password_hash from users where email_key = $1 or username_key = $1`,
        values: [key(loginName)]
      })
      const valid = await verify(found?.password_hash ?? await dummy, password.normalize("NFC"))
      if (!valid || found === undefined) throw new Problem("invalid_credentials")
      return found
    }
  }
}
export type Accounts = ReturnType<typeof accounts>
