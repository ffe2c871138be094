/** Endpoints by name, and requests to them as they go over the wire. */
import type { BenchUser } from "../seed/Seed.ts"
import type { Answer, Connection } from "./Connection.ts"
import { type Endpoint, endpoints, oneOf } from "./Endpoints.ts"
import { groups, page } from "./ManyTasks.ts"

const all = new Map([...endpoints, page, ...groups.flatMap(({ endpoints }) => endpoints)].map((it) => [it.name, it]))

export const find = (name: string): Endpoint => {
  const endpoint = all.get(name)
  if (endpoint === undefined) throw new Error(`there is no endpoint ${name}`)
  return endpoint
}

/** Nothing in a request is outside ASCII. */
const serialize = (endpoint: Endpoint, user: BenchUser, before: unknown): string => {
  const body = endpoint.body === undefined ? undefined : JSON.stringify(endpoint.body(user, before))
  return `${endpoint.method} ${endpoint.path(user)} HTTP/1.1\r\nhost: 127.0.0.1\r\n` +
    (endpoint.isAnonymous ? "" : `authorization: Bearer ${oneOf(user.tokens)}\r\n`) +
    (body === undefined ? "\r\n" : `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
}

/** Asks what has to be asked before a request, and answers with the request itself, ready to be sent. */
export const ready = async (connection: Connection, endpoint: Endpoint, user: BenchUser): Promise<string> => {
  const { before } = endpoint
  if (before === undefined) return serialize(endpoint, user, undefined)
  const answer = await connection.ask(await ready(connection, before, user))
  if (answer.status !== before.status) throw new Error(`${before.name}: ${answer.status} ${answer.body()}`)
  return serialize(endpoint, user, JSON.parse(answer.body()))
}

export const ask = async (connection: Connection, endpoint: Endpoint, user: BenchUser): Promise<Answer> =>
  await connection.ask(await ready(connection, endpoint, user))
