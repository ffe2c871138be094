/** The real program delivers reminders: each one once, whatever becomes of its processes and their database. */
import { randomBytes } from "node:crypto"
import { describe, expect, it } from "vitest"
import { followChanges } from "../support/EventStream.ts"
import type { Account } from "../support/TestServer.ts"
import { type Point, startWireProxy } from "../support/WireProxy.ts"
import { having, shown, type TaskAnswer } from "../tasks/families.ts"
import { connectTo, emptyDatabase, testDatabaseUrl } from "./postgres.ts"
import { emptyDirectory, emptyPlace, type Finished, patience, type Program, start } from "./program.ts"

/** Several starts, and reminders that take their time, beside the other tests. */
const timeout = 4 * patience

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Longer than a worker stays away. */
const aWhile = 2_500

/** Waits until it is so; the test's own limit ends the wait. */
const until = async (isSo: () => boolean | Promise<boolean>): Promise<void> => {
  while (!await isSo()) await pause(50)
}

const hours = (count: number) => new Date(Date.now() + count * 3_600_000)
/** What is due then, in the zone of a new user. */
const dueAt = (at: Date) => ({ date: at.toISOString().slice(0, 10), time: at.toISOString().slice(11, 16) })

/** A task with a reminder before it is due, whose time has come, and one at a moment of its own. */
const reminding = (title: string, at: number) => ({
  title,
  due: dueAt(hours(-1)),
  reminders: [{ before: "PT10M" }, { at: new Date(at).toISOString() }]
})

/** The same of one that recurs: three occurrences, of which each was missed. */
const recurring = (title: string, at: number) => ({
  ...reminding(title, at),
  due: dueAt(hours(-100)),
  recurrence: { rule: "FREQ=DAILY;COUNT=3", missed: "each" }
})

/** Creates these tasks at once. */
const create = async (program: Program, { access_token }: Account, tasks: ReadonlyArray<object>) => {
  const operations = tasks.map((task) => ({ op: "create", task }))
  const body = { mode: "atomic", operations }
  having(200, await program.request("POST", "/api/v1/tasks/batch", { token: access_token, body }))
}

/** One user's tasks as the changes tell of them, and how often they have told of a delivery. */
class History {
  readonly tasks = new Map<string, TaskAnswer>()
  /** each write that delivers has its own instant, which its reminders keep */
  private readonly deliveries = new Map<string, Set<string>>()
  /** occurrences that were completed */
  completed = 0

  take(task: TaskAnswer) {
    const known = this.tasks.get(task.id)
    if (known?.version === task.version) expect(task, "a version has one content").toEqual(known)
    if (known !== undefined && known.version >= task.version) return
    for (const [index, { at, delivered_at }] of task.reminders.entries()) {
      const before = known?.reminders[index]?.delivered_at ?? null
      const isForTheSame = at !== undefined || task.due?.date === known?.due?.date
      if (before !== null && isForTheSame) expect(delivered_at, "what is delivered stays so").toBe(before)
      if (delivered_at === null) continue
      expect(delivered_at >= (at ?? ""), "none is early").toBe(true)
      const deliveries = this.deliveries.get(task.id) ?? new Set()
      this.deliveries.set(task.id, deliveries.add(delivered_at))
    }
    this.tasks.set(task.id, task)
  }

  /** All that the changes tell. */
  async read(program: Program, { access_token }: Account) {
    const token = access_token
    const { changes, has_more } = having(200, await program.request("GET", "/api/v1/changes?limit=500", { token })).json
    expect(has_more).toBe(false)
    for (const task of changes) this.take(shown(task))
  }

  get reminders() {
    return [...this.tasks.values()].flatMap(({ reminders }) => reminders)
  }

  get delivered() {
    return this.reminders.filter(({ delivered_at }) => delivered_at !== null)
  }

  /** Each task was created, each occurrence completed and each reminder delivered by one version, and no other was taken. */
  expectOnce(created: number) {
    expect(this.tasks.size).toBe(created)
    expect(this.delivered.length, "reminders that are delivered").toBe(this.reminders.length)
    const deliveries = [...this.deliveries.values()].reduce((sum, { size }) => sum + size, 0)
    const versions = [...this.tasks.values()].map(({ version }) => version)
    expect(new Set(versions).size).toBe(created)
    expect(Math.max(...versions)).toBe(created + this.completed + deliveries)
  }
}

/** Waits until all is delivered. */
const untilDelivered = async (program: Program, account: Account, created: number, history = new History()) => {
  await until(async () => {
    await history.read(program, account)
    return history.tasks.size === created && history.delivered.length === history.reminders.length
  })
  return { account, history, created }
}

/** Waits for what else may come, and checks that there was nothing. */
const expectOnce = async (program: Program, all: ReadonlyArray<Awaited<ReturnType<typeof untilDelivered>>>) => {
  await pause(aWhile)
  for (const { account, created, history } of all) {
    await history.read(program, account)
    history.expectOnce(created)
  }
}

describe.concurrent("reminders", { timeout }, () => {
  it("that come due before and after kill -9 are delivered once", async ({ onTestFinished }) => {
    const place = await emptyPlace(onTestFinished)
    const killed = await start(place, onTestFinished)
    const account = await killed.register()
    const soon = Date.now() + 2_000
    const tasks = Array.from({ length: 60 }, (_, n) => reminding(String(n), soon + 150 * n))
    await create(killed, account, tasks)
    const history = new History()
    await until(async () => {
      await history.read(killed, account)
      return history.delivered.length >= 75
    })
    killed.kill("SIGKILL")
    await killed.ended
    const { length } = history.delivered
    expect(length, "some are left").toBeLessThan(history.reminders.length)
    const next = await start(place, onTestFinished)
    await expectOnce(next, [await untilDelivered(next, account, tasks.length, history)])
  })

  it("that come due while nobody is there are delivered once, late", async ({ onTestFinished }) => {
    const place = await emptyPlace(onTestFinished)
    const before = await start(place, onTestFinished)
    const account = await before.register()
    const soon = Date.now() + 15_000
    const reminders = [0, 400].map((later) => ({ at: new Date(soon + later).toISOString() }))
    await create(before, account, Array.from({ length: 20 }, (_, n) => ({ title: String(n), reminders })))
    before.kill("SIGTERM")
    expect(await before.ended).toMatchObject({ code: 0, stderr: "" })
    expect(Date.now(), "ended in time").toBeLessThan(soon)
    await pause(soon + 500 - Date.now())
    const started = new Date().toISOString()
    const after = await start(place, onTestFinished)
    const late = await untilDelivered(after, account, 20)
    await expectOnce(after, [late])
    for (const { delivered_at } of late.history.delivered) expect(delivered_at! > started).toBe(true)
  })
})

describe.skipIf(testDatabaseUrl === undefined).concurrent(
  "reminders, with a PostgreSQL server (TEST_DATABASE_URL; the embedded database has neither a network nor instances)",
  { timeout },
  () => {
    const instances = async (finished: Finished) => {
      const db = await emptyDatabase(finished)
      const env = { JWT_SECRET: randomBytes(32).toString("hex"), DATA_DIR: emptyDirectory(finished) }
      const startOn = (url = db.url) => start({ ...env, DATABASE_URL: url }, finished)
      return { db, startOn }
    }

    it("of many users are delivered once by three instances, of which one is killed and one stopped", async ({ onTestFinished }) => {
      const { db, startOn } = await instances(onTestFinished)
      const [survivor, killed, stopped] = await Promise.all([startOn(), startOn(), startOn()])
      const each = 30
      const users = await Promise.all(Array.from({ length: 12 }, async () => {
        const account = await survivor.register()
        const reader = await followChanges(survivor, account, onTestFinished)
        return { account, reader, history: new History(), told: 0 }
      }))
      const soon = Date.now() + 3_000
      await Promise.all(users.map(({ account }, user) =>
        create(
          user % 2 === 0 ? killed : stopped,
          account,
          Array.from({ length: each }, (_, n) => (n % 6 === 0 ? recurring : reminding)(String(n), soon + 200 * n))
        )
      ))
      /** Completes an occurrence: its reminder comes again for the next, but for the last. */
      const complete = async (account: Account, history: History, { due, id }: TaskAnswer) => {
        const answer = await survivor.request("PATCH", `/api/v1/tasks/${id}/complete`, {
          token: account.access_token,
          body: { occurrence: due?.date }
        })
        history.take({ ...having(200, answer).json, overdue: false })
        history.completed++
      }
      const reminders = users.length * each * 2
      const progress = async () => {
        for (const user of users) {
          const { account, history, reader } = user
          while (user.told < reader.events.length) {
            const { data, event } = reader.events[user.told++]!
            expect(event).toBe("change")
            history.take(shown(JSON.parse(data)))
          }
          for (const task of history.tasks.values()) {
            const isReminded = task.reminders.every(({ delivered_at }) => delivered_at !== null)
            if (task.recurrence !== null && !task.completed && isReminded) await complete(account, history, task)
          }
        }
        return users.reduce((sum, { history }) => sum + history.delivered.length, 0)
      }
      await until(async () => await progress() > reminders / 2)
      killed.kill("SIGKILL")
      await until(async () => await progress() > reminders * 3 / 4)
      stopped.kill("SIGTERM")
      expect(await progress(), "some are left").toBeLessThan(reminders)
      expect(await stopped.ended).toMatchObject({ code: 0, stderr: "" })
      await until(async () =>
        await progress() === reminders && users.every(({ history }) => history.completed === 3 * each / 6)
      )
      await expectOnce(survivor, users.map((user) => ({ ...user, created: each })))
      for (const { account, history } of users) {
        const sequence = "select last_version::int as last from user_sequences where user_id = $1"
        const versions = [...history.tasks.values()].map(({ version }) => version)
        expect(await db.sql(sequence, [account.id])).toEqual([{ last: Math.max(...versions) }])
      }
    })

    const lock = /from user_sequences\b.* for update skip locked$/is
    const write = /\bupdate user_sequences\b/i
    const commit = /^commit/i
    const points: ReadonlyArray<{ readonly name: string; readonly point: Point; readonly isDone: boolean }> = [
      { name: "after the lock", point: { sql: lock, when: "answered" }, isDone: false },
      { name: "before the write", point: { sql: write, when: "asked" }, isDone: false },
      { name: "after the write", point: { sql: write, when: "answered" }, isDone: false },
      { name: "before the commit", point: { sql: commit, when: "asked" }, isDone: false },
      { name: "after the commit", point: { sql: commit, when: "answered" }, isDone: true }
    ]
    const faults = ["the network to the database", "kill -9"] as const

    it.each(faults)("of a delivery that %s ends are neither lost nor delivered twice", async (fault) => {
      const works: Array<() => Promise<void> | void> = []
      const finished: Finished = (work) => void works.push(work)
      try {
        const { db, startOn } = await instances(finished)
        const other = await startOn()
        const all: Array<Awaited<ReturnType<typeof untilDelivered>>> = []
        for (const { isDone, name, point } of points) {
          const account = await other.register()
          const proxy = await startWireProxy(db.url)
          finished(proxy.close)
          const worker = await startOn(proxy.url)
          // it holds nothing: there is nothing to deliver
          other.kill("SIGSTOP")
          const begin = proxy.stopAt({ sql: lock, when: "asked" }, 1)
          await create(worker, account, [reminding("a", Date.now() - 1), reminding("b", Date.now() - 1)])
          await begin.reached
          const stop = proxy.stopAt(point, 1)
          begin.release()
          await stop.reached
          if (fault === "kill -9") {
            worker.kill("SIGKILL")
            await worker.ended
          } else stop.cut()
          const stored = () =>
            db.sql(
              `select last_version::int as last,
                (select count(*)::int from tasks where user_id = $1 and version > 2 and remind_at is null) as delivered
              from user_sequences where user_id = $1`,
              [account.id]
            )
          // until its transaction has ended
          await db.sql("select 1 from user_sequences where user_id = $1 for update", [account.id])
          expect(await stored(), name).toEqual([isDone ? { last: 4, delivered: 2 } : { last: 2, delivered: 0 }])
          // alone the one whose network failed comes again, too
          if (fault !== "kill -9" && name === "before the commit") await untilDelivered(worker, account, 2)
          other.kill("SIGCONT")
          all.push(await untilDelivered(other, account, 2))
          worker.kill("SIGKILL")
        }
        await expectOnce(other, all)
      } finally {
        for (const work of works.reverse()) await work()
      }
    })

    it("wait for no other user: who is being written to at the moment has a turn later", async ({ onTestFinished }) => {
      const { db, startOn } = await instances(onTestFinished)
      const program = await startOn()
      const users = await Promise.all(Array.from({ length: 5 }, () => program.register()))
      const soon = Date.now() + 10_000
      for (const user of users) {
        await create(program, user, [{ title: "a", reminders: [{ at: new Date(soon).toISOString() }] }])
      }
      const locked = users[2]!
      const writer = connectTo(db.url, onTestFinished)
      await writer.sql("begin")
      await writer.sql("select 1 from user_sequences where user_id = $1 for update", [locked.id])
      expect(Date.now(), "locked in time").toBeLessThan(soon)
      const others = []
      for (const user of users) if (user !== locked) others.push(await untilDelivered(program, user, 1))
      const history = new History()
      await history.read(program, locked)
      expect(history.delivered).toEqual([])
      await writer.sql("rollback")
      await expectOnce(program, [...others, await untilDelivered(program, locked, 1, history)])
      expect(program.lines().filter(({ message }) => message.startsWith("worker failed"))).toEqual([])
    })
  }
)
