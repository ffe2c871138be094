/** What a recurrence may be, and what becomes of it by each way to write it. */
import { describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { useServer } from "../support/TestServer.ts"
import { datesOf, expectFaults } from "./dated.ts"
import { canonical, families, having, userScoped } from "./families.ts"

const server = useServer()

const due = { date: "2031-01-31" }
const whole = { rule: "FREQ=DAILY", anchor: "due", month_end: "clamp", missed: "skip" }
const user = async (family = canonical) => datesOf(server, await server.register(), family)

const wrongRules = [
  ...[
    "",
    " ",
    "DAILY",
    "FREQ",
    "FREQ=",
    "FREQ=DAILY;",
    ";FREQ=DAILY",
    "FREQ=DAILY;;COUNT=2",
    "INTERVAL=2",
    "FREQ=NEVER"
  ],
  ...["FREQ=HOURLY", "FREQ=MINUTELY", "FREQ=SECONDLY", "FREQ=DAILY;FREQ=DAILY", "FREQ=DAILY;COUNT=2;COUNT=3"],
  ...[
    "FREQ=DAILY;INTERVAL=0",
    "FREQ=DAILY;INTERVAL=-1",
    "FREQ=DAILY;INTERVAL=1.5",
    "FREQ=DAILY;INTERVAL=",
    "FREQ=DAILY;INTERVAL=x"
  ],
  ...["FREQ=DAILY;COUNT=0", "FREQ=DAILY;COUNT=-1", "FREQ=DAILY;COUNT=1e3", "FREQ=DAILY;COUNT=2;UNTIL=20320101"],
  ...["FREQ=DAILY;UNTIL=2032", "FREQ=DAILY;UNTIL=20320230", "FREQ=DAILY;UNTIL=2032-01-01", "FREQ=DAILY;UNTIL=never"],
  ...[
    "FREQ=DAILY;BYHOUR=9",
    "FREQ=DAILY;BYMINUTE=0",
    "FREQ=DAILY;BYSECOND=0",
    "FREQ=YEARLY;RSCALE=HEBREW",
    "FREQ=DAILY;SKIP=OMIT"
  ],
  ...[
    "FREQ=YEARLY;BYEASTER=0",
    "FREQ=DAILY;X-A=1",
    "RRULE:FREQ=DAILY",
    "DTSTART:20310101\nRRULE:FREQ=DAILY",
    "FREQ=DAILY\n"
  ],
  ...[
    "FREQ=DAILY\u0000",
    "FREQ=DA\u0131LY",
    "FREQ=DAILY;WK\u017ft=MO",
    "FREQ=DAILY\nEXDATE:20310201",
    "FREQ=DAILY;DTSTART=20310101",
    "FREQ=DAILY;TZID=UTC",
    "FREQ=DAILY;EXDATE=20310201"
  ],
  ...[
    "FREQ=MONTHLY;BYMONTHDAY=0",
    "FREQ=MONTHLY;BYMONTHDAY=32",
    "FREQ=MONTHLY;BYMONTHDAY=-32",
    "FREQ=MONTHLY;BYMONTHDAY="
  ],
  ...[
    "FREQ=YEARLY;BYMONTH=0",
    "FREQ=YEARLY;BYMONTH=13",
    "FREQ=YEARLY;BYMONTH=5L",
    "FREQ=WEEKLY;BYDAY=XX",
    "FREQ=WEEKLY;BYDAY="
  ],
  ...[
    "FREQ=WEEKLY;BYDAY=MO,",
    "FREQ=MONTHLY;BYDAY=0MO",
    "FREQ=MONTHLY;BYDAY=54MO",
    "FREQ=YEARLY;BYDAY=53MO",
    "FREQ=YEARLY;BYDAY=-53FR",
    "FREQ=WEEKLY;WKST=XX",
    "FREQ=WEEKLY;WKST=MO,TU"
  ],
  ...["FREQ=MONTHLY;BYDAY=MO;BYSETPOS=0", "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=367", "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=7"],
  // more days than a week or a day has
  ...["FREQ=WEEKLY;BYDAY=MO,TU,MO;BYSETPOS=3", "FREQ=WEEKLY;BYMONTH=2;BYSETPOS=-2", "FREQ=DAILY;BYDAY=MO;BYSETPOS=2"],
  // what RFC 5545 3.3.10 forbids
  ...[
    "FREQ=WEEKLY;BYDAY=1MO",
    "FREQ=DAILY;BYDAY=1MO",
    "FREQ=WEEKLY;BYMONTHDAY=1",
    "FREQ=MONTHLY;BYWEEKNO=1",
    "FREQ=DAILY;BYYEARDAY=1"
  ],
  ...[
    "FREQ=MONTHLY;BYYEARDAY=1",
    "FREQ=WEEKLY;BYYEARDAY=1",
    "FREQ=DAILY;BYSETPOS=1",
    "FREQ=YEARLY;BYWEEKNO=1;BYDAY=1MO",
    "FREQ=YEARLY;BYYEARDAY=1,2;BYSETPOS=-1",
    "FREQ=YEARLY;BYWEEKNO=1;INTERVAL=2"
  ],
  // no such day, or none that can be found
  ...["FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "FREQ=DAILY;BYMONTHDAY=31;BYMONTH=4,6,9,11", "FREQ=YEARLY;BYDAY=54MO"],
  ...[
    "FREQ=YEARLY;INTERVAL=100000",
    "FREQ=DAILY;INTERVAL=99999999999999999999",
    `FREQ=MONTHLY;BYMONTHDAY=${"1,".repeat(5000)}1`
  ],
  ...["FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO;INTERVAL=9973", "FREQ=DAILY;INTERVAL=7;BYDAY=MO"]
]

describe.each(families)("recurrence under $name", (family) => {
  it("is completed by its defaults and shown whole", async () => {
    const tasks = await user(family)
    expect((await tasks.create({ due, recurrence: { rule: "FREQ=DAILY" } })).recurrence).toEqual(whole)
    const other = { rule: "FREQ=MONTHLY;BYMONTHDAY=31", anchor: "completion", month_end: "skip", missed: "each" }
    const made = await tasks.create({ due, recurrence: other })
    expect(made.recurrence).toEqual(other)
    expect((await tasks.read(made.id)).recurrence).toEqual(other)
    expect((await tasks.create({ due, recurrence: null })).recurrence).toBeNull()
    expect((await tasks.create({ due })).recurrence).toBeNull()
  })

  it("of a task that is created again with its id is the same with its defaults and without them", async () => {
    const tasks = await user(family)
    const body = { id: "0198f5a0-1c2d-7e3f-8a4b-5c6d7e8f9a0b", title: "t", due, recurrence: { rule: "FREQ=DAILY" } }
    const made = await tasks.create(body)
    for (const recurrence of [body.recurrence, whole, { missed: "skip", rule: "FREQ=DAILY" }]) {
      const again = await tasks.send("POST", "", { ...body, recurrence })
      expect([recurrence, again.status, again.json]).toEqual([recurrence, 200, made])
    }
    for (const recurrence of [null, { ...whole, missed: "each" }, { rule: "FREQ=DAILY;COUNT=2" }]) {
      expectProblem(await tasks.send("POST", "", { ...body, recurrence }), 409, "id_reused")
    }
  })

  it("is refused where its rule is wrong, cannot occur or is not supported", async () => {
    const tasks = await user(family)
    const { id } = await tasks.create({ due, recurrence: whole })
    for (const rule of [...wrongRules, 1, true, {}, ["FREQ=DAILY"]]) {
      const recurrence = { rule }
      const created = await tasks.send("POST", "", { title: "t", due, recurrence })
      expect([rule, created.status, created.json.errors]).toMatchObject([rule, 422, [{ pointer: "/recurrence/rule" }]])
      expectFaults(created, "/recurrence/rule")
      expectFaults(await tasks.send("PATCH", `/${id}`, { recurrence }), "/recurrence/rule")
    }
    const skipped = { rule: "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", month_end: "skip" }
    expectFaults(await tasks.send("POST", "", { title: "t", due, recurrence: skipped }), "/recurrence/rule")
    expect((await tasks.read(id)).recurrence).toEqual(whole)
  })

  it("of one operation of a batch is refused with it, or with the batch", async () => {
    const tasks = await user(family)
    const tasksOf = (rule: string) => ({ op: "create", task: { title: rule, due, recurrence: { rule } } })
    const never = "FREQ=MONTHLY;INTERVAL=12;BYMONTHDAY=30;BYMONTH=2"
    const operations = ["FREQ=DAILY", never, "FREQ=WEEKLY"].map(tasksOf)
    const failed = await tasks.send("POST", "/batch", { mode: "atomic", operations })
    expectProblem(failed, 409, "batch_failed")
    expect(failed.json.results.map(({ status }: { status: number }) => status)).toEqual([424, 422, 424])
    expect(await tasks.list("")).toEqual([])
    const done = having(200, await tasks.send("POST", "/batch", { mode: "partial", operations })).json.results
    expect(done.map(({ status }: { status: number }) => status)).toEqual([201, 422, 201])
    expect(done[1].problem.errors).toMatchObject([{ pointer: "/operations/1/task/recurrence/rule" }])
    expect((await tasks.list("?sort=title")).map(({ title }) => title)).toEqual(["FREQ=DAILY", "FREQ=WEEKLY"])
    const wrong = { mode: "partial", operations: [tasksOf("FREQ=DAILY"), tasksOf("FREQ=HOURLY")] }
    expectFaults(await tasks.send("POST", "/batch", wrong), "/operations/1/task/recurrence/rule")
  })

  it("takes what RFC 5545 allows", async () => {
    const tasks = await user(family)
    for (
      const rule of [
        "FREQ=DAILY;INTERVAL=1;COUNT=5",
        "COUNT=5;FREQ=DAILY",
        "FREQ=YEARLY;BYMONTH=1;BYDAY=SU,MO,TU,WE,TH,FR,SA",
        "FREQ=MONTHLY;BYDAY=+1MO,-1FR",
        "FREQ=WEEKLY;WKST=SU;BYDAY=TU,TH",
        "FREQ=MONTHLY;BYMONTHDAY=-31",
        "FREQ=YEARLY;UNTIL=20500101",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29"
      ]
    ) {
      const made = await tasks.create({ due, recurrence: { rule } })
      expect(made.recurrence!.rule).toBe(rule)
      expect((await tasks.complete(made.id)).due!.date > due.date).toBe(true)
    }
  })

  it("is refused where it is of no form", async () => {
    const tasks = await user(family)
    const post = (recurrence: unknown, more: object = { due }) =>
      tasks.send("POST", "", { title: "t", recurrence, ...more })
    for (const wrong of ["FREQ=DAILY", 1, [], true]) expectFaults(await post(wrong), "/recurrence")
    for (const wrong of [{}, { anchor: "due" }]) expectFaults(await post(wrong), "/recurrence/rule")
    for (const [member, value] of [["anchor", "start"], ["month_end", "last"], ["missed", "all"], ["count", 3]]) {
      expectFaults(await post({ ...whole, [member!]: value }), `/recurrence/${member}`)
    }
    expectFaults(await post(whole, {}), "/recurrence")
    expectFaults(await post(whole, { due: null }), "/recurrence")
    const { id } = await tasks.create({})
    expectFaults(await tasks.send("PATCH", `/${id}`, { recurrence: whole }), "/recurrence")
    expectFaults(await tasks.send("PATCH", `/${id}`, { due, recurrence: { anchor: "due" } }), "/recurrence/rule")
  })

  it("is merged into by PATCH, and needs its due date and its rule", async () => {
    const tasks = await user(family)
    const { id } = await tasks.create({ due, recurrence: { ...whole, anchor: "completion" } })
    const patched = async (recurrence: unknown) => (await tasks.patch(id, { recurrence: recurrence })).recurrence
    expect(await patched({ missed: "each" })).toEqual({ ...whole, anchor: "completion", missed: "each" })
    expect(await patched({ anchor: null, missed: null })).toEqual(whole)
    expect(await patched({})).toEqual(whole)
    expect(await patched({ rule: "FREQ=WEEKLY" })).toEqual({ ...whole, rule: "FREQ=WEEKLY" })
    for (
      const [body, pointer] of [[{ recurrence: { rule: null } }, "/recurrence/rule"], [
        { due: null },
        "/recurrence"
      ]] as const
    ) {
      const before = await tasks.read(id)
      expectFaults(await tasks.send("PATCH", `/${id}`, body), pointer)
      expect(await tasks.read(id)).toEqual(before)
    }
    expect(await tasks.operate({ op: "update", id, task: { due: null } })).toMatchObject({
      status: 422,
      problem: { code: "validation_failed", errors: [{ pointer: "/operations/0/task/recurrence" }] }
    })
    expect(await tasks.patch(id, { recurrence: null })).toMatchObject({ recurrence: null, due })
    expect(await tasks.patch(id, { due: null })).toMatchObject({ due: null })
    expect(await tasks.patch(id, { due, recurrence: { rule: "FREQ=DAILY" } })).toMatchObject({ due, recurrence: whole })
    expect(await tasks.patch(id, { due: null, recurrence: null })).toMatchObject({ due: null, recurrence: null })
  })
})

describe("PUT", () => {
  it("under /api/v1/tasks keeps a recurrence that is not named, and takes one whole", async () => {
    const tasks = await user()
    const { id } = await tasks.create({ due, recurrence: { ...whole, missed: "each" } })
    expect((await tasks.put(id, { title: "other" })).recurrence).toEqual({ ...whole, missed: "each" })
    expect((await tasks.put(id, { recurrence: { rule: "FREQ=WEEKLY" } })).recurrence).toEqual({
      ...whole,
      rule: "FREQ=WEEKLY"
    })
    expectFaults(await tasks.send("PUT", `/${id}`, { recurrence: { missed: "each" } }), "/recurrence/rule")
    expectFaults(await tasks.send("PUT", `/${id}`, { due: null }), "/recurrence")
    expect(await tasks.put(id, { due: null, recurrence: null })).toMatchObject({ due: null, recurrence: null })
  })

  it("under /api/{user_id}/tasks takes away a recurrence that is not named, and keeps what was done", async () => {
    const tasks = await user(userScoped)
    const { id } = await tasks.create({ due, recurrence: whole })
    await tasks.complete(id)
    const ledger = () =>
      server.sql<{ occurrence: string }>(
        "select occurrence::text from task_occurrences where user_id = $1 and task_id = $2",
        [tasks.account.id, id]
      )
    expect(await ledger()).toEqual([{ occurrence: due.date }])
    expectFaults(await tasks.send("PUT", `/${id}`, { title: "t", recurrence: whole }), "/recurrence")
    expect(await tasks.put(id, { title: "t", due: { date: "2031-02-01" } })).toMatchObject({
      recurrence: null,
      due: { date: "2031-02-01" },
      completed: false
    })
    expect(await ledger()).toEqual([{ occurrence: due.date }])
    expect(await tasks.complete(id)).toMatchObject({ completed: true, due: { date: "2031-02-01" } })
  })
})
