import type { FastifyPluginCallbackJsonSchemaToTs } from "@fastify/type-provider-json-schema-to-ts"
import type { FastifyReply } from "fastify"
import type { FromSchema } from "json-schema-to-ts"
import { type Authenticate, userId } from "../auth/authentication.ts"
import { invalid, Problem } from "../problems.ts"
import * as schemas from "../schemas.ts"
import type { Cursors } from "./cursors.ts"
import type { Task, TaskChanges, TasksRepository } from "./repository.ts"

interface Options {
  readonly authenticate: Authenticate
  readonly tasks: TasksRepository
  readonly cursors: Cursors
}

const clean = (text: string) => text.normalize("NFC").trim()

const cleanTags = (tags: ReadonlyArray<string>) => {
  const cleaned = tags.map(clean)
  if (new Set(cleaned.map((tag) => tag.toLowerCase())).size < tags.length) {
    throw invalid("/tags", "must differ in more than case")
  }
  return cleaned
}

/** The members of a merge patch, those that are null at their defaults. */
const toChanges = (patch: FromSchema<typeof schemas.taskPatch>): TaskChanges => ({
  ...(patch.title !== undefined && { title: clean(patch.title) }),
  ...(patch.description !== undefined && { description: patch.description?.normalize("NFC") ?? null }),
  ...(patch.completed !== undefined && { completed: patch.completed ?? false }),
  ...(patch.priority !== undefined && { priority: patch.priority ?? "none" }),
  ...(patch.tags !== undefined && { tags: cleanTags(patch.tags ?? []) })
})

const etag = ({ version }: Task) => `"${version}"`

/** The versions that If-Match names; undefined for any. Weak tags never match there. */
const versionsOf = (ifMatch: string | undefined) =>
  ifMatch === undefined || ifMatch.trim() === "*"
    ? undefined
    : Array.from(ifMatch.matchAll(/(?<!W\/)"([1-9]\d{0,14})"/g), ([, version]) => version!)

const matches = (ifNoneMatch: string, task: Task) =>
  ifNoneMatch.trim() === "*" || ifNoneMatch.split(",").some((tag) => tag.trim().replace("W/", "") === etag(task))

export const tasksRoutes: FastifyPluginCallbackJsonSchemaToTs<{ Options: Options }> = (
  app,
  { authenticate, cursors, tasks },
  done
) => {
  app.addHook("onRequest", authenticate)

  const failures = { "4xx": schemas.problem, "5xx": schemas.problem }
  const one = { querystring: schemas.noQuery, params: schemas.taskParams, response: { 200: schemas.task, ...failures } }

  const update = async (owner: string, id: string, changes: TaskChanges, ifMatch: string | undefined) => {
    const versions = versionsOf(ifMatch)
    const updated = await tasks.update(owner, id, changes, versions)
    if (updated !== undefined) return updated
    const current = versions && await tasks.get(owner, id)
    throw current === undefined ? new Problem("not_found") : new Problem("stale_version", { current })
  }
  const sendTask = (reply: FastifyReply, task: Task) => reply.header("etag", etag(task)).send(task)

  app.get("/", {
    schema: {
      querystring: schemas.listQuery,
      response: { 200: { type: "array", items: schemas.task }, ...failures }
    }
  }, async (request, reply) => {
    const { query } = request
    const owner = userId(request)
    const limit = Number(query.limit ?? 50)
    const completed = query.completed === undefined ? undefined : query.completed === "true"
    const newestFirst = query.sort !== "created_at"
    const list = JSON.stringify([newestFirst, completed === undefined ? null : String(completed)])
    const after = query.cursor === undefined ? undefined : cursors.read(owner, list, query.cursor)
    // one more than asked tells whether another page follows
    const page = await tasks.list(owner, { completed, newestFirst, after, limit: limit + 1 })
    const last = page.length > limit ? page[limit - 1] : undefined
    if (last !== undefined) {
      page.pop()
      const next = new URLSearchParams({ ...query, cursor: cursors.make(owner, list, [last.position, last.id]) })
      reply.header("link", `</api/v1/tasks?${next}>; rel="next"`)
    }
    return page
  })

  app.post("/", {
    schema: {
      querystring: schemas.noQuery,
      body: schemas.taskCreate,
      response: { 201: schemas.task, ...failures }
    }
  }, async (request, reply) => {
    const { description, priority, tags, title } = request.body
    const task = await tasks.create(userId(request), {
      title: clean(title),
      description: description?.normalize("NFC") ?? null,
      ...(priority !== undefined && { priority }),
      ...(tags !== undefined && { tags: cleanTags(tags) })
    })
    // without a sequence there is no user: deleted since the token was checked
    if (task === undefined) throw new Problem("token_invalid")
    return sendTask(reply.code(201).header("location", `/api/v1/tasks/${task.id}`), task)
  })

  app.get("/:id", {
    schema: { ...one, headers: schemas.ifNoneMatch }
  }, async (request, reply) => {
    const task = await tasks.get(userId(request), request.params.id)
    if (task === undefined) throw new Problem("not_found")
    const ifNoneMatch = request.headers["if-none-match"]
    if (ifNoneMatch !== undefined && matches(ifNoneMatch, task)) {
      return reply.code(304).header("etag", etag(task)).send(undefined)
    }
    return sendTask(reply, task)
  })

  app.patch(
    "/:id",
    { schema: { ...one, headers: schemas.ifMatch, body: schemas.taskPatch } },
    async (request, reply) => {
      const { body, headers, params } = request
      return sendTask(reply, await update(userId(request), params.id, toChanges(body), headers["if-match"]))
    }
  )

  app.patch("/:id/complete", {
    schema: { ...one, headers: schemas.ifMatch, body: schemas.completion },
    // no body completes
    preValidation: (request, _, done) => {
      request.body ??= {}
      done()
    }
  }, async (request, reply) => {
    const { body: { completed = true }, headers, params } = request
    return sendTask(reply, await update(userId(request), params.id, { completed }, headers["if-match"]))
  })
  done()
}
