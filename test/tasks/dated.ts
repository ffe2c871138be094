/** Requests about the dates of one user's tasks, under one of the families. */
import { expect } from "vitest"
import { expectProblem } from "../support/expect.ts"
import type { Account, Answer, TestServer } from "../support/TestServer.ts"
import { batch, bulk, type Result, resultsOf } from "./batches.ts"
import { canonical, type Family, having, pointersOf, type TaskAnswer } from "./families.ts"

type Body = Record<string, unknown>

export const datesOf = (server: TestServer, account: Account, family: Family = canonical) => {
  const send = (method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer> =>
    server.request(method, family.tasks(account) + path, {
      token: account.access_token,
      ...(body !== undefined && { body }),
      ...(headers !== undefined && { headers })
    })
  const ok = async (...sent: Parameters<typeof send>): Promise<TaskAnswer> => having(200, await send(...sent)).json
  return {
    account,
    send,
    create: async (task: Body): Promise<TaskAnswer> =>
      having(201, await send("POST", "", { title: "t", ...task })).json,
    read: (id: string) => ok("GET", `/${id}`),
    patch: (id: string, body: Body) => ok("PATCH", `/${id}`, body),
    put: (id: string, body: Body) => ok("PUT", `/${id}`, body),
    complete: (id: string, body?: Body) => ok("PATCH", `/${id}/complete`, body),
    undo: (id: string) => ok("PATCH", `/${id}/complete`, { completed: false }),
    list: async (query: string): Promise<ReadonlyArray<TaskAnswer>> => having(200, await send("GET", query)).json,
    /** The result of one operation in a batch of its own. */
    operate: async (operation: Body): Promise<Result> =>
      resultsOf(await batch(server, account, "partial", [operation], { family }))[0]!,
    bulkComplete: async (ids: ReadonlyArray<string>, completed?: boolean): Promise<ReadonlyArray<string>> => {
      const body = { ids, ...(completed !== undefined && { completed }) }
      const { json } = having(200, await bulk(server, account, "complete", body, { family }))
      const statuses = json.results.map(({ status }: { status: string }) => status)
      expect(json.updated).toBe(statuses.filter((status: string) => status === "updated").length)
      return statuses
    }
  }
}
export type Dates = ReturnType<typeof datesOf>

/** 422 with exactly these pointers, in alphabetical order. */
export const expectFaults = (answer: Answer, ...pointers: ReadonlyArray<string>): void => {
  expectProblem(answer, 422, "validation_failed")
  expect(pointersOf(answer), answer.text).toEqual(pointers)
}

/** The date on which an instant falls in a zone. */
export const dateIn = (zone: string, at: Date | string | number): string =>
  new Intl.DateTimeFormat("en-CA", { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit" })
    .format(new Date(at))

/** Does it again where it failed and a day has ended in this zone meanwhile. */
export const withinADay = async <A>(zone: string, work: () => Promise<A>): Promise<A> => {
  const day = dateIn(zone, Date.now())
  try {
    return await work()
  } catch (error) {
    if (dateIn(zone, Date.now()) === day) throw error
    return await work()
  }
}

/** The date some days later, by the calendar. */
export const daysAfter = (date: string, days: number): string =>
  new Date(Date.parse(date) + days * 86_400_000).toISOString().slice(0, 10)

/** What clocks in a zone show at an instant, as milliseconds since 1970 as if it were UTC. */
const wallIn = (zone: string, at: number): number => {
  const shown = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "medium" }).format(at)
  return Date.parse(`${shown.replace(" ", "T")}Z`)
}

/** The instant that a due date means, by another implementation than the server's: with nothing but Intl. */
export const instantOf = (due: NonNullable<TaskAnswer["due"]>, userZone: string): number => {
  const zone = due.time_zone ?? userZone
  const day = due.time === undefined ? daysAfter(due.date, 1) : due.date
  const wall = Date.parse(`${day}T${due.time ?? "00:00"}:00Z`)
  const before = wall - (wallIn(zone, wall - 86_400_000) - (wall - 86_400_000))
  const after = wall - (wallIn(zone, wall + 86_400_000) - (wall + 86_400_000))
  const right = [before, after].filter((at) => wallIn(zone, at) === wall)
  return right.length > 0 ? Math.min(...right) : before
}
