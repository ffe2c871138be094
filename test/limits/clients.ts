/** Clients of a server behind a trusted proxy: each test has networks of its own. */
import { randomBytes, randomInt } from "node:crypto"
import type { Account, Answer, TestServer } from "../support/TestServer.ts"
import { expectProblem } from "../support/expect.ts"
import { expect } from "vitest"

/** An address that no test has used. */
export const newAddress = (): string => `10.${randomInt(1, 255)}.${randomInt(1, 255)}.${randomInt(1, 255)}`

/** A /64 that no test has used, without its last colon. */
export const newPrefix = (): string => `2001:db8:${randomBytes(2).toString("hex")}:${randomBytes(2).toString("hex")}`

export const wrongPassword = "a wrong password for anybody"

/** A login by way of the trusted proxy. */
export const logIn = (
  server: Pick<TestServer, "request">,
  address: string,
  credentials: Record<string, string>,
  path = "/api/v1/auth/login"
): Promise<Answer> => server.request("POST", path, { body: credentials, headers: { "x-forwarded-for": address } })

export const right = ({ email, password }: Pick<Account, "email" | "password">) => ({ email, password })

/** What a limit that is used up is answered with. */
export const expectLimited = (answer: Answer, policy: string, limit: number, window: number): void => {
  expectProblem(answer, 429, "rate_limited")
  const wait = Number(answer.headers.get("retry-after"))
  expect(answer.headers.get("ratelimit-policy")).toBe(`"${policy}";q=${limit};w=${window}`)
  expect(answer.headers.get("ratelimit")).toBe(`"${policy}";r=0;t=${wait}`)
  expect(Number.isInteger(wait) && wait >= 1 && wait <= window, String(wait)).toBe(true)
}

export const expectLoginLimited = (answer: Answer): void => expectLimited(answer, "login", 10, 900)

export const times = async <A>(count: number, ask: (index: number) => Promise<A>): Promise<ReadonlyArray<A>> => {
  const answers: Array<A> = []
  for (let i = 0; i < count; i++) answers.push(await ask(i))
  return answers
}

export const statuses = (answers: ReadonlyArray<Answer>): ReadonlyArray<number> => answers.map(({ status }) => status)
