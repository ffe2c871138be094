import { expect } from "vitest"
import type { Answer } from "./TestServer.ts"

/** The answer is this problem, in the form that every problem has. */
export const expectProblem = (answer: Answer, status: number, code: string): void => {
  expect({ status: answer.status, code: answer.json?.code }, answer.text).toEqual({ status, code })
  expect(answer.headers.get("content-type")).toMatch(/^application\/problem\+json/)
  expect(answer.json).toMatchObject({ type: `/problems/${code}`, status })
  expect(answer.json.title).toEqual(expect.any(String))
  expect(answer.json.request_id).toBe(answer.headers.get("x-request-id"))
}
