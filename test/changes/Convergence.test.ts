/**
 * Writers and readers at once, by random schedules on both instances and in both families: whoever only ever applied
 * changes ends with exactly what the server has.
 */
import fc from "fast-check"
import { expect, it } from "vitest"
import { type Account, type Answer, type TestServer, useServers } from "../support/TestServer.ts"
import { families, having, listAll, newId, patiently, shown, type TaskAnswer } from "../tasks/families.ts"

const servers = useServers(2)

/** Milliseconds in which schedules begin. */
const budget = 12_000

/** Milliseconds after which somebody who was told to end has. */
const patience = 10_000

/** Milliseconds after the last write in which a stream has told of it: shorter than its heartbeat, which reads too. */
const soon = 5_000

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** By which instance and family a request goes. */
const via = fc.record({ instance: fc.nat(1), family: fc.nat(1) })
type Via = typeof via extends fc.Arbitrary<infer A> ? A : never

/** Every reminder's time has come or is years away, so that at the end there is nothing left to wait for. */
const passed = { date: "2026-01-05", time: "09:00" }
const reminders = [{ before: "PT30M" }, { at: "2026-01-01T00:00:00Z" }]
const dates = fc.constantFrom(
  {},
  {},
  { due: { date: "2031-03-01" } },
  { due: { date: "2031-03-01", time: "09:00", time_zone: "Europe/Berlin" }, reminders },
  { due: passed, reminders },
  { due: passed, recurrence: { rule: "FREQ=DAILY;COUNT=4", missed: "each" }, reminders },
  { due: { date: "2031-01-31" }, recurrence: { rule: "FREQ=MONTHLY" }, reminders },
  { due: null, recurrence: null },
  { reminders: [] }
)

const step = fc.record({
  what: fc.constantFrom(
    ...["create", "create", "patch", "put", "complete", "complete", "delete", "delete", "restore"] as const,
    ...["purge", "move", "remind"] as const
  ),
  /** which of the tasks that were seen so far */
  task: fc.nat(9),
  content: fc.record(
    {
      priority: fc.constantFrom("none", "high"),
      completed: fc.boolean(),
      tags: fc.constantFrom([], ["a"], ["a", "b"])
    },
    { requiredKeys: [] }
  ),
  dates,
  /** of a completion: the one that the writers know, one of before, or whichever is current */
  occurrence: fc.constantFrom("absent", "seen", "older"),
  zone: fc.constantFrom("Pacific/Kiritimati", "Pacific/Pago_Pago"),
  hasOwnId: fc.boolean(),
  ifMatch: fc.constantFrom("absent", "absent", "seen", "older"),
  /** twice: the same request at once by the other instance, as by a client that did not wait for the answer */
  key: fc.constantFrom("absent", "absent", "once", "twice"),
  via
})
type Step = typeof step extends fc.Arbitrary<infer A> ? A : never

/** What a reader decides on its way. */
const choices = fc.infiniteStream(fc.nat(999))
type Choices = Iterator<number>

const schedule = fc.record({
  writers: fc.array(fc.array(step, { minLength: 5, maxLength: 15, size: "max" }), { minLength: 2, maxLength: 4 }),
  hasPurges: fc.boolean(),
  /** begins from the end of an account without tasks, else by reading everything */
  followsFromNow: fc.boolean(),
  pager: choices,
  follower: choices,
  latecomer: choices
})
type Schedule = typeof schedule extends fc.Arbitrary<infer A> ? A : never

/** The tasks of a client that knows nothing but the changes that it was told. */
class Copy {
  readonly tasks = new Map<string, TaskAnswer>()
  cursor: string | undefined
  beginnings = 1
  private version = 0
  private readonly tell: (task: TaskAnswer) => void

  constructor(tell: (task: TaskAnswer) => void) {
    this.tell = tell
  }

  apply(task: TaskAnswer, cursor: string) {
    expect(task.version, "versions of a feed never go back").toBeGreaterThan(this.version)
    this.version = task.version
    this.tell(task)
    if (task.deleted_at === null) this.tasks.set(task.id, task)
    else this.tasks.delete(task.id)
    this.cursor = cursor
  }

  /** Deletions are no longer known that this client would have to be told of. */
  beginAgain() {
    this.tasks.clear()
    this.cursor = undefined
    this.version = 0
    this.beginnings++
  }

  get sorted() {
    return sorted([...this.tasks.values()])
  }
}

/** As the changes tell of it, which do not say what is only true for now. */
const notOverdue = (task: TaskAnswer): TaskAnswer => ({ ...task, overdue: false })

const sorted = (tasks: ReadonlyArray<TaskAnswer>) => [...tasks].sort((a, b) => a.id < b.id ? -1 : 1)

/** The events of a stream: a name, where it has one, and the other fields (WHATWG HTML 9.2). */
async function* eventsOf(reader: ReadableStreamDefaultReader<string>) {
  let text = ""
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const blocks = (text + read.value).split("\n\n")
    text = blocks.pop() ?? ""
    for (const block of blocks) {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1]
      yield { event: field("event"), id: field("id"), data: field("data") }
    }
  }
}

/** One user and everybody who reads and writes this user's tasks. */
class Session {
  /** what was said of each version, by whoever said it first */
  private readonly told = new Map<number, TaskAnswer>()
  /** what the writers know of each task */
  private readonly seen = new Map<string, TaskAnswer>()
  /** a date on which each of them was due before */
  private readonly before = new Map<string, string>()
  private purging: Promise<unknown> = Promise.resolve()
  private readonly user: Account
  stepsDone = 0

  constructor(user: Account) {
    this.user = user
  }

  readonly tell = (task: TaskAnswer) => {
    const told = this.told.get(task.version)
    task = notOverdue(task)
    // a purge is brought on by making a deletion older, which is no change
    const dated = { ...task, deleted_at: task.deleted_at && (told?.deleted_at ?? task.deleted_at) }
    if (told === undefined) this.told.set(task.version, task)
    else expect(dated, "a version has one content").toEqual(told)
  }

  private server({ instance }: Via): TestServer {
    return servers[instance]!
  }

  private path({ family }: Via, of: "tasks" | "changes"): string {
    return families[family]!.tasks(this.user).replace(/tasks$/, of)
  }

  async write(step: Step) {
    const task = [...this.seen.values()][step.task % Math.max(this.seen.size, 1)]
    const method = { create: "POST", restore: "POST", delete: "DELETE", put: "PUT", patch: "PATCH", complete: "PATCH" }
    if (step.what === "move") return await this.move(step)
    if (step.what === "remind") return await this.server(step.via).remind()
    const what = task === undefined ? "create" : step.what
    if (what === "purge") return
    const { completed, ...rest } = step.content
    const occurrence = task?.recurrence && { seen: task.due?.date, older: this.before.get(task.id), absent: undefined }
    const named = occurrence?.[step.occurrence]
    const body = {
      create: { title: "created", ...rest, ...step.dates, ...(step.hasOwnId && { id: newId() }) },
      put: { title: "put", ...step.content, ...step.dates },
      patch: { title: "patched", ...step.content, ...step.dates },
      complete: { completed: completed ?? true, ...(named !== undefined && { occurrence: named }) },
      delete: undefined,
      restore: undefined
    }[what]
    const action = what === "complete" || what === "restore" ? `/${what}` : ""
    const path = this.path(step.via, "tasks") + (what === "create" ? "" : `/${task!.id}${action}`)
    const headers: Record<string, string> = {}
    if (step.ifMatch !== "absent" && what !== "create") {
      headers["if-match"] = `"${task!.version - (step.ifMatch === "seen" ? 0 : 1)}"`
    }
    if (step.key !== "absent") headers["idempotency-key"] = newId()
    const send = (server: TestServer): Promise<Answer> =>
      server.request(method[what], path, {
        token: this.user.access_token,
        headers,
        ...(body !== undefined && { body })
      })
    const first = this.server(step.via)
    const answers = await Promise.all(
      step.key === "twice"
        ? [send(first), send(this.server({ ...step.via, instance: 1 - step.via.instance }))]
        : [send(first)]
    )
    const refusals = [
      ...(what === "create" ? [] : ["not_found", "stale_version"]),
      ...(named === undefined ? [] : ["occurrence_mismatch"]),
      ...(step.key === "twice" ? ["idempotency_in_flight"] : []),
      // what waited too long, as on a machine that is busy with other tests
      "overloaded"
    ]
    for (const { json, status, text } of answers) {
      if (status >= 300) expect(refusals, text).toContain(json.code)
    }
    const done = answers.filter(({ status }) => status < 300)
    const original = done.filter(({ headers }) => headers.get("idempotent-replayed") === null)
    expect(original.length, "done once").toBe(done.length === 0 ? 0 : 1)
    for (const { json, text } of done) {
      expect(text).toBe(original[0]!.text)
      if (json?.version === undefined) continue
      this.tell(json)
      const seen = this.seen.get(json.id)
      if ((seen?.version ?? 0) >= json.version) continue
      this.seen.set(json.id, json)
      if (seen?.due && seen.due.date !== json.due?.date) this.before.set(json.id, seen.due.date)
    }
  }

  /** Into another time zone, where whole days and times without a place are other instants. */
  private async move({ via, zone }: Step) {
    const { access_token: token } = this.user
    having(
      200,
      await patiently(() => this.server(via).request("PATCH", "/api/v1/auth/me", { token, body: { time_zone: zone } }))
    )
  }

  /** Until nothing changes by itself any more. */
  async remindAll() {
    const due = `select 1 from tasks
      where user_id = $1 and remind_at <= now() + interval '10 seconds' and deleted_at is null and completed_at is null`
    while ((await servers[0].sql(due, [this.user.id])).length > 0) await servers[1].remind()
  }

  /** Takes away every deletion there is, as if it had been 46 days ago. */
  purge(step: Step) {
    const server = this.server(step.via)
    this.purging = this.purging.then(async () => {
      await server.sql(
        `update tasks set deleted_at = deleted_at - interval '46 days' where user_id = $1 and deleted_at is not null`,
        [this.user.id]
      )
      await server.purge()
    })
    return this.purging
  }

  /** Reads one page; false when that was the last. */
  async page(copy: Copy, choices: Choices): Promise<boolean> {
    const way = { instance: choice(choices, 2), family: choice(choices, 2) }
    const since = copy.cursor === undefined ? "" : `&since=${copy.cursor}`
    const path = `${this.path(way, "changes")}?limit=${1 + choice(choices, 6)}${since}`
    const answer = await this.server(way).request("GET", path, { token: this.user.access_token })
    if (answer.status === 410) {
      copy.beginAgain()
      return true
    }
    const { changes, cursor, has_more } = having(200, answer).json
    for (const task of changes) copy.apply(shown(task), cursor)
    copy.cursor = cursor
    return has_more
  }

  async pages(copy: Copy, choices: Choices) {
    for (let pages = 1; await this.page(copy, choices); pages++) expect(pages, "pages until the end").toBeLessThan(500)
  }

  /** Follows the stream, and loses the connection after some events, until `end` is aborted. */
  async follow(copy: Copy, choices: Choices, end: AbortSignal, opened: () => void) {
    const beginsFromNow = copy.cursor === undefined
    for (let isFirst = true; !end.aborted; isFirst = false) {
      if (copy.cursor === undefined && !(isFirst && beginsFromNow)) await this.pages(copy, choices)
      if (end.aborted) return
      const way = { instance: choice(choices, 2), family: choice(choices, 2) }
      const asking = new AbortController()
      let lose = () => asking.abort()
      const loseNow = () => lose()
      end.addEventListener("abort", loseNow, { once: true })
      let eventsLeft = 1 + choice(choices, 8)
      try {
        const response = await fetch(`${this.server(way).url}${this.path(way, "changes")}/stream`, {
          headers: {
            authorization: `Bearer ${this.user.access_token}`,
            ...(copy.cursor !== undefined && { "last-event-id": copy.cursor })
          },
          signal: asking.signal
        })
        expect(response.status).toBe(200)
        const body = response.body!.pipeThrough(
          new TextDecoderStream() as ReadableWritablePair<string, Uint8Array<ArrayBuffer>>
        )
        const reader = body.getReader()
        // Deno may forget the signal of a request that has its answer (denoland/deno#29075)
        lose = () => void reader.cancel().catch(() => {})
        for await (const { data, event, id } of eventsOf(reader)) {
          if (event === "change") {
            copy.apply(shown(JSON.parse(data!)), id!)
            eventsLeft--
          } else if (event === "resync") {
            copy.beginAgain()
            eventsLeft = 0
          } else if (id !== undefined) {
            copy.cursor = id
            opened()
          }
          if (eventsLeft === 0) break
        }
      } catch (error) {
        if (!end.aborted) throw error
      }
      end.removeEventListener("abort", loseNow)
      lose()
      await pause(choice(choices, 10))
    }
  }

  live() {
    return listAll(servers[0], this.user).then((tasks) => sorted(tasks.map(notOverdue)))
  }
}

const choice = (choices: Choices, below: number): number => choices.next().value % below

const run = async ({ follower, followsFromNow, hasPurges, latecomer, pager, writers }: Schedule) => {
  const session = new Session(await servers[0].register())
  const ended = new AbortController()
  let isWritten = false

  const paging = new Copy(session.tell)
  const readOn = async () => {
    await pause(choice(pager, 60))
    while (!isWritten) {
      await session.page(paging, pager)
      await pause(choice(pager, 15))
    }
  }

  const following = new Copy(session.tell)
  if (!followsFromNow) await session.pages(following, follower)
  const { promise: isOpen, resolve: opened } = Promise.withResolvers<void>()
  const follows = session.follow(following, follower, ended.signal, opened)
  await Promise.race([isOpen, follows])

  const late = new Copy(session.tell)
  const steps = writers.reduce((sum, steps) => sum + steps.length, 0)
  const comeLate = async () => {
    while (session.stepsDone < steps / 2 && !isWritten) await pause(2)
    while (!isWritten) await session.page(late, latecomer)
  }

  const writing = Promise.all(writers.map(async (steps) => {
    for (const step of steps) {
      await (step.what === "purge" && hasPurges ? session.purge(step) : session.write(step))
      session.stepsDone++
    }
  })).finally(() => {
    isWritten = true
  })

  try {
    // whatever fails first ends it, also a stream that should not
    await Promise.race([Promise.all([writing, readOn(), comeLate()]), follows.then(() => writing)])
    await session.remindAll()
    const live = await session.live()
    for (const [name, copy, choices] of [["pages", paging, pager], ["came late", late, latecomer]] as const) {
      const { beginnings } = copy
      await session.pages(copy, choices)
      expect(copy.beginnings - beginnings, `times that the one who ${name} began again`).toBeLessThanOrEqual(1)
      expect(copy.sorted, `the tasks of the one who ${name}`).toEqual(live)
    }
    const until = performance.now() + soon
    while (performance.now() < until && JSON.stringify(following.sorted) !== JSON.stringify(live)) {
      await Promise.race([pause(5), follows])
    }
    expect(following.sorted, "the tasks of the one who follows").toEqual(live)
    const fresh = new Copy(session.tell)
    await session.pages(fresh, latecomer)
    expect(fresh.sorted, "the tasks of the one who begins at the end").toEqual(live)
  } finally {
    isWritten = true
    ended.abort()
    // what does not end must not hide what went wrong before
    await Promise.race([Promise.allSettled([follows, writing]), pause(patience)])
  }
  const hasEnded = await Promise.race([follows.then(() => true), pause(patience).then(() => false)])
  expect(hasEnded, "the one who follows ends when told to").toBe(true)
}

it("brings every client to the server's tasks, whatever is written and read at once", { timeout: 90_000 }, async () => {
  const until = performance.now() + budget
  let schedules = 0
  await fc.assert(
    fc.asyncProperty(schedule, async (one) => {
      if (performance.now() > until) return
      schedules++
      await run(one)
    }),
    // a schedule that failed is no proof that a smaller one fails: timing is part of it
    { numRuns: 1_000, endOnFailure: true }
  )
  expect(schedules).toBeGreaterThan(1)
})
