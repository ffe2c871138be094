/** Completing many tasks that recur, or one by many requests at once: as one request after the other does it. */
import { describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { useServers } from "../support/TestServer.ts"
import { batch, resultsOf } from "./batches.ts"
import { datesOf, daysAfter } from "./dated.ts"
import { canonical, families, newId, type TaskAnswer } from "./families.ts"

const [server, second] = useServers(2)

const user = async (family = canonical) => datesOf(server, await server.register(), family)
const daily = { due: { date: "2031-01-01" }, recurrence: { rule: "FREQ=DAILY" } }
const few = { due: { date: "2031-01-01" }, recurrence: { rule: "FREQ=DAILY;COUNT=2" } }

describe.each(families)("completing many at once under $name", (family) => {
  it("by twenty requests is twenty occurrences, or one where all of them name it", async () => {
    const tasks = await user(family)
    const other = datesOf(second, tasks.account, family)
    const { id } = await tasks.create(daily)
    /** The tasks that were answered: a machine that is too busy may refuse some. */
    const at20 = async (body: object): Promise<ReadonlyArray<TaskAnswer>> => {
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, n) => (n % 2 === 0 ? tasks : other).send("PATCH", `/${id}/complete`, body))
      )
      for (const { status, text } of answers) expect([200, 503], text).toContain(status)
      return answers.flatMap(({ json, status }) => status === 200 ? [json] : [])
    }
    const datesOfAll = (answers: ReadonlyArray<TaskAnswer>) => answers.map(({ due }) => due!.date)
    /** As many days after the first as there are lines in the ledger. */
    const expectAtLedger = async () => {
      const [row] = await server.sql<{ lines: number }>(
        "select count(*)::int as lines from task_occurrences where user_id = $1 and task_id = $2",
        [tasks.account.id, id]
      )
      const { due } = await tasks.read(id)
      expect(due!.date).toBe(daysAfter("2031-01-01", row!.lines))
      return due!.date
    }
    const each = datesOfAll(await at20({}))
    expect(new Set(each).size).toBe(each.length)
    const occurrence = await expectAtLedger()
    const same = await at20({ occurrence })
    expect(new Set(same.map(({ due, version }) => `${due!.date} ${version}`)).size).toBe(1)
    expect(await expectAtLedger()).toBe(daysAfter(occurrence, 1))
    // the first day is that of everyone who finds the ledger empty
    const back = datesOfAll(await at20({ completed: false })).filter((date) => date !== "2031-01-01")
    expect(new Set(back).size).toBe(back.length)
    await expectAtLedger()
  })

  it("is completing each of them, and taking back the newest of each", async () => {
    const tasks = await user(family)
    const foreign = await (await user()).create(daily)
    const [recurring, ending, plain, done] = [
      await tasks.create(daily),
      await tasks.create({ ...few, recurrence: { rule: "FREQ=DAILY;COUNT=1" } }),
      await tasks.create({}),
      await tasks.create({})
    ]
    await tasks.complete(done.id)
    const ids = [recurring.id, ending.id, plain.id, done.id, foreign.id, newId(), recurring.id]
    const dates = async () => [
      (await tasks.read(recurring.id)).due!.date,
      ...await Promise.all([ending, plain].map(async ({ id }) => (await tasks.read(id)).completed))
    ]
    expect(await tasks.bulkComplete(ids)).toEqual([
      "updated",
      "updated",
      "updated",
      "unchanged",
      "not_found",
      "not_found"
    ])
    expect(await dates()).toEqual(["2031-01-02", true, true])
    expect(await tasks.bulkComplete(ids, true)).toEqual([
      "updated",
      "unchanged",
      "unchanged",
      "unchanged",
      "not_found",
      "not_found"
    ])
    expect(await dates()).toEqual(["2031-01-03", true, true])
    expect(await tasks.bulkComplete(ids, false)).toEqual([
      "updated",
      "updated",
      "updated",
      "updated",
      "not_found",
      "not_found"
    ])
    expect(await dates()).toEqual(["2031-01-02", false, false])
    expect(await tasks.bulkComplete(ids, false)).toEqual([
      "updated",
      "unchanged",
      "unchanged",
      "unchanged",
      "not_found",
      "not_found"
    ])
    expect(await dates()).toEqual(["2031-01-01", false, false])
    const before = await tasks.read(recurring.id)
    expect(await tasks.bulkComplete(ids, false)).toEqual([
      "unchanged",
      "unchanged",
      "unchanged",
      "unchanged",
      "not_found",
      "not_found"
    ])
    expect(await tasks.read(recurring.id)).toEqual(before)
  })

  it("in a batch is what the operations do one after the other", async () => {
    const tasks = await user(family)
    const { id, version } = await tasks.create(daily)
    const operations = [
      { op: "complete", id, occurrence: "2031-01-01" },
      { op: "complete", id, occurrence: "2031-01-01" },
      { op: "update", id, task: { completed: true } },
      { op: "complete", id, occurrence: "2031-01-09" },
      { op: "complete", id, if_match: version },
      { op: "update", id, task: { due: null } },
      { op: "complete", id, completed: false },
      { op: "update", id, task: { due: { date: "2031-05-01" }, completed: true } },
      { op: "complete", id }
    ]
    const results = resultsOf(await batch(server, tasks.account, "partial", operations, { family }))
    expect(results.map(({ problem, status, task }) => [status, task?.due?.date ?? problem?.code])).toEqual([
      [200, "2031-01-02"],
      [200, "2031-01-02"],
      [200, "2031-01-03"],
      [409, "occurrence_mismatch"],
      [412, "stale_version"],
      [422, "validation_failed"],
      [200, "2031-01-02"],
      [200, "2031-05-02"],
      [200, "2031-05-03"]
    ])
    expect((await tasks.read(id)).due!.date).toBe("2031-05-03")
  })

  it("in a batch of which one operation fails is undone with all of it", async () => {
    const tasks = await user(family)
    const { id } = await tasks.create(daily)
    const first = await tasks.complete(id)
    for (
      const failing of [{ op: "complete", id, occurrence: "2031-01-09" }, { op: "update", id, task: { due: null } }, {
        op: "delete",
        id: newId()
      }]
    ) {
      const operations = [{ op: "complete", id }, { op: "complete", id, completed: false }, {
        op: "complete",
        id,
        completed: false
      }, failing]
      const answer = await batch(server, tasks.account, "atomic", operations, { family })
      expectProblem(answer, 409, "batch_failed")
      expect(answer.json.results.slice(0, 3).map(({ status }: { status: number }) => status)).toEqual([424, 424, 424])
      expect(await tasks.read(id)).toEqual(first)
      // the ledger too is as it was
      expect(await tasks.complete(id, { occurrence: "2031-01-01" })).toEqual(first)
    }
    expect((await tasks.undo(id)).due!.date).toBe("2031-01-01")
  })
})
