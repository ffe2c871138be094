/** What is asked of this server where the number of tasks grows. */
import { frequentTag, frequentWord, rareWord } from "../seed/Texts.ts"
import { type Endpoint, endpoints, isTaskOf, oneOf, pageSize } from "./Endpoints.ts"

/** Endpoints that teach one thing. */
export interface Group {
  readonly title: string
  /** what a reader should learn from their costs */
  readonly lesson: string
  readonly endpoints: ReadonlyArray<Endpoint>
  /** these change the tasks, so they are measured last, on as many users as there are of a size */
  readonly writes?: true
}

// deno-lint-ignore no-explicit-any -- an answer may be anything
type Task = any

const many = 100

const basic = (name: string): Endpoint => endpoints.find((it) => it.name === name)!

/** A page of tasks, of which each is as asked; full, unless there may be as few as told. */
const list = (query: string, isAsked: (task: Task) => boolean = () => true, fewest = pageSize): Endpoint => ({
  name: query,
  method: "GET",
  path: () => `/api/v1/tasks?${query}&limit=${pageSize}`,
  status: 200,
  isRight: (body, user) =>
    Array.isArray(body) && body.length >= fewest && body.every((task) => isTaskOf(task, user) && isAsked(task))
})

const isUrgent = ({ priority }: Task) => priority === "high" || priority === "urgent"
const isOpen = ({ completed }: Task) => completed === false
const has = (tag: string) => ({ tags }: Task) => tags.includes(tag)
const says = (...beginnings: ReadonlyArray<string>) => ({ description, tags, title }: Task) => {
  const words = `${title} ${description} ${tags.join(" ")}`.toLowerCase().split(/[^a-z0-9]+/)
  return beginnings.every((beginning) => words.some((word) => word.startsWith(beginning)))
}

const changes: Endpoint = {
  name: "changes",
  method: "GET",
  path: ({ since }) => `/api/v1/changes?since=${since}`,
  status: 200,
  isRight: (body) => Array.isArray(body.changes) && typeof body.cursor === "string"
}

/** Orders whose page 1,000 is asked for: by a key, by one that is the same for many, and by one that not all have. */
export const deepOrders = ["-created_at", "title", "-priority", "-completed_at", "due"] as const
export const deepName = (order: string) => `page 1,000 of sort=${order}`
/** The page that a user has, wherever it is. */
export const page: Endpoint = {
  ...list(""),
  name: "page",
  path: ({ page }) => page!
}

const day = 86_400_000
const since: Endpoint = {
  ...list("updated_since=<yesterday>", ({ updated_at }) => Date.parse(updated_at) > Date.now() - day - 60_000),
  path: () => `/api/v1/tasks?updated_since=${new Date(Date.now() - day).toISOString()}&limit=${pageSize}`
}

const dateOf = (days: number) => new Date(Date.now() + days * day).toISOString().slice(0, 10)
const dueThisWeek: Endpoint = {
  ...list("due_from=<today>&due_to=<in a week>", ({ due }) => due.date >= dateOf(-1) && due.date <= dateOf(7), 5),
  path: () => `/api/v1/tasks?due_from=${dateOf(0)}&due_to=${dateOf(7)}&limit=${pageSize}`
}
const reminders: Endpoint = {
  name: "reminders of 24 hours",
  method: "GET",
  path: () => "/api/v1/tasks/reminders",
  status: 200,
  isRight: (body) => Array.isArray(body) && body.every(({ at }) => Date.parse(at) < Date.now() + day + 60_000)
}
const occurrences: Endpoint = {
  name: "occurrences",
  method: "GET",
  path: ({ recurringIds }) => `/api/v1/tasks/${oneOf(recurringIds)}/occurrences`,
  status: 200,
  isRight: ({ next, past }) => next.length === 5 && Array.isArray(past)
}

const stats: Endpoint = {
  name: "stats",
  method: "GET",
  path: () => "/api/v1/tasks/stats",
  status: 200,
  isRight: (body) => body.total === body.open + body.completed && body.by_tag.length > 5
}

const post = (name: string, path: string): Pick<Endpoint, "name" | "method" | "path" | "status"> => ({
  name,
  method: "POST",
  path: () => `/api/v1/tasks/${path}`,
  status: 200
})

const words = ["lemon", "olive", "cherry", "walnut", "apple", "fig", "plum"]
let count = 0
const newTask = () => ({
  title: `Repot the ${oneOf(words)} tree ${++count}`,
  description: "Before it is too big for the old pot",
  priority: "high",
  tags: ["home", "garden"]
})
const times = <A>(length: number, make: (index: number) => A): ReadonlyArray<A> =>
  Array.from({ length }, (_, n) => make(n))

/** A UUIDv7 (RFC 9562). */
const newId = () => {
  const hex = Date.now().toString(16).padStart(12, "0")
  const random = crypto.randomUUID().slice(15)
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7${random}`
}

const creates: Endpoint = {
  ...post(`batch: ${many} creates`, "batch"),
  body: () => ({ mode: "atomic", operations: times(many, () => ({ op: "create", task: newTask() })) }),
  isRight: (body, user) =>
    body.results.length === many && body.results.every(({ task }: { task: Task }) => isTaskOf(task, user))
}

/** A quarter each; what is created is deleted again, by ids of the client's own. */
const mixed: Endpoint = {
  ...post(`batch: ${many}, mixed`, "batch"),
  body: ({ taskIds }) => {
    const quarter = many / 4
    const ids = times(quarter, newId)
    const from = Math.floor(Math.random() * Math.max(1, taskIds.length - 2 * quarter))
    return {
      mode: "partial",
      operations: [
        ...ids.map((id) => ({ op: "create", task: { id, ...newTask() } })),
        ...taskIds.slice(from, from + quarter).map((id) => ({ op: "update", id, task: { title: newTask().title } })),
        ...taskIds.slice(from + quarter, from + 2 * quarter).map((id) => ({ op: "complete", id })),
        ...ids.map((id) => ({ op: "delete", id }))
      ]
    }
  },
  isRight: (body) =>
    body.results.length === many && body.results.every(({ status }: { status: number }) => status < 300)
}

const createDated: Endpoint = {
  ...basic("create"),
  name: "create, due and with a reminder",
  body: () => ({ ...newTask(), due: { date: dateOf(30), time: "09:00" }, reminders: [{ before: "PT30M" }] }),
  isRight: (body, user) => body.due_at !== null && isTaskOf(body, user)
}

const completeRecurring: Endpoint = {
  name: "complete, of a task that recurs",
  method: "PATCH",
  path: ({ recurringIds }) => `/api/v1/tasks/${oneOf(recurringIds)}/complete`,
  body: () => ({}),
  status: 200,
  isRight: (body, user) => body.completed === false && body.recurrence !== null && isTaskOf(body, user)
}

const bulkComplete: Endpoint = {
  ...post(`bulk/complete: ${many}`, "bulk/complete"),
  body: ({ taskIds }) => ({ ids: taskIds, completed: ++count % 2 === 0 }),
  isRight: (body, { taskIds }) => body.results.length === taskIds.length && typeof body.updated === "number"
}

const bulkDelete: Endpoint = {
  ...post(`bulk/delete: ${many}`, "bulk/delete"),
  before: creates,
  body: (_, { results }: { results: ReadonlyArray<{ task: Task }> }) => ({ ids: results.map(({ task }) => task.id) }),
  isRight: (body) => body.deleted === many
}

const sorted = (sort: string) => list(`sort=${sort}`)

export const groups: ReadonlyArray<Group> = [
  {
    title: "The newest tasks, one task, and changes",
    lesson: "Flat: each is read from an index in its order, or by its id.",
    endpoints: [basic("list"), basic("get"), changes]
  },
  {
    title: "Orders",
    lesson:
      "Flat in both directions: every key has an index, of which one end is read, and of completed_at and due the tasks without it are a range of their own. Only an order of two keys has no index of its own, and sorts the tasks that its first key leaves equal.",
    endpoints: [
      ...["created_at", "updated_at", "-updated_at", "priority", "-priority", "title", "-title"].map(sorted),
      ...["completed_at", "-completed_at", "due", "-due", "-priority,created_at"].map(sorted)
    ]
  },
  {
    title: "Deep pages",
    lesson: "Flat: a page begins where its cursor says, however deep that is.",
    endpoints: deepOrders.map((order) => ({ ...page, name: deepName(order) }))
  },
  {
    title: "Filters",
    lesson:
      "Flat: the first few hundred tasks of the order are looked at, and where they do not fill the page, those that match are collected by an index, which open tasks, priorities, tags, due dates and the time of an update have. So it is those that grow the costs, not the others.",
    endpoints: [
      list("completed=false", isOpen),
      list("completed=false&sort=created_at", isOpen),
      list("completed=true&sort=-completed_at", ({ completed }) => completed === true),
      list("priority=high,urgent", isUrgent),
      list("priority=high,urgent&completed=false", (task) => isUrgent(task) && isOpen(task)),
      list(`tag=${frequentTag}`, has(frequentTag)),
      list(`tag=${frequentTag}&completed=false`, (task) => has(frequentTag)(task) && isOpen(task), 1),
      since,
      dueThisWeek,
      list("overdue=true", ({ completed, due_at }) => !completed && Date.parse(due_at) <= Date.now(), 1)
    ]
  },
  {
    title: "Reminders and occurrences",
    lesson:
      "Reminders are read from the first that is asked for to the last that there is, so what grows the costs is how many are to come. Occurrences are computed, and the ledger of a task is read from its end.",
    endpoints: [reminders, occurrences]
  },
  {
    title: "Trash, counts and statistics",
    lesson:
      "The trash and the open tasks are read from indexes of their own. A count of all live tasks reads an entry of an index for each, and statistics read each task once: these grow with the number of tasks, as they have to.",
    endpoints: [
      list("deleted=true", ({ deleted_at }) => deleted_at !== null, 10),
      list("count=exact"),
      list("completed=false&count=exact", isOpen),
      stats
    ]
  },
  {
    title: "Search",
    lesson:
      "A rare word costs what it is found in; of a frequent one, and of a single letter, the newest tasks fill the page. Two words of which each is frequent, but both together rare, cost what the index has of both.",
    endpoints: [
      list(`q=${rareWord}`, says(rareWord), 10),
      list(`q=${frequentWord}`, says(frequentWord)),
      list("q=dentist+anna", says("dentist", "anna"), 1),
      list("q=w", says("w"))
    ]
  },
  {
    title: "Writes",
    lesson: "Flat: what a write costs depends on what it writes, not on what there is.",
    endpoints: [
      basic("create"),
      basic("update"),
      basic("complete"),
      createDated,
      completeRecurring,
      bulkComplete,
      bulkDelete,
      creates,
      mixed
    ],
    writes: true
  }
]
