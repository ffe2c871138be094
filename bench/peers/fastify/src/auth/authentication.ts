/** The check that comes before everything else of a request for tasks. */
import type { FastifyRequest } from "fastify"
import type { Pool } from "pg"
import { Problem } from "../problems.ts"
import type { Tokens } from "./tokens.ts"

declare module "fastify" {
  interface FastifyRequest {
    user: { readonly id: string } | null
  }
}

/** The id of the user whom the request came for. */
export const userId = ({ user }: FastifyRequest): string => {
  if (user === null) throw new Problem("token_missing")
  return user.id
}

export const authentication = (pool: Pool, tokens: Tokens) => async (request: FastifyRequest) => {
  const token = /^bearer +(\S+)$/i.exec(request.headers.authorization ?? "")?.[1]
  if (token === undefined) throw new Problem("token_missing")
  const { sid, sub } = tokens.verify(token)
  const { rows: [session] } = await pool.query<{ readonly revoked: boolean; readonly expired: boolean }>({
    name: "session",
    text: `
      select revoked_at is not null as revoked, expires_at <= now() as expired from sessions
      where user_id = $1 and id = $2`,
    values: [sub, sid]
  })
  if (session === undefined) throw new Problem("token_invalid")
  if (session.revoked) throw new Problem("session_revoked")
  if (session.expired) throw new Problem("session_expired")
  request.user = { id: sub }
}
export type Authenticate = ReturnType<typeof authentication>
