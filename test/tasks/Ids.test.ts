import { beforeAll, describe, expect, it } from "vitest"
import { lastVersionOf } from "../changes/writes.ts"
import { expectProblem } from "../support/expect.ts"
import { type Account, useServer } from "../support/TestServer.ts"
import { batch, bulk, resultsOf } from "./batches.ts"
import { checksum, create, families, having, listAll, newId, read } from "./families.ts"

const server = useServer()
let user: Account
beforeAll(async () => {
  user = await server.register()
})

describe.each(families)("an id in capitals is the same id (RFC 9562 4): $name", (family) => {
  const ask = (method: string, path: string, body?: unknown, headers = {}) =>
    server.request(method, `${family.tasks(user)}${path}`, {
      token: user.access_token,
      headers,
      ...(body !== undefined && { body })
    })

  it("in a path", async () => {
    const { id, version } = await create(server, user)
    const path = `/${id.toUpperCase()}`
    for (
      const [index, [method, at, body]] of ([
        ["PATCH", path, { title: "patched" }],
        ["PUT", path, { title: "put" }],
        ["PATCH", `${path}/complete`, {}],
        ["DELETE", path],
        ["POST", `${path}/restore`]
      ] as const).entries()
    ) {
      const answer = await ask(method, at, body, { "if-match": `"${version + index}"` })
      expect([200, 204], `${method} ${at}: ${answer.text}`).toContain(answer.status)
      if (answer.json?.id !== undefined) expect(answer.json).toMatchObject({ id, version: version + index + 1 })
    }
    expect(having(200, await ask("GET", path)).json).toMatchObject({ id, title: "put", completed: true })
    const stale = await ask("PATCH", path, { title: "stale" }, { "if-match": `"${version}"` })
    expectProblem(stale, 412, "stale_version")
    expect(stale.json.current.id).toBe(id)
  })

  it("of the client's own", async () => {
    const id = newId()
    const [first, again, small] = [
      await ask("POST", "", { id: id.toUpperCase(), title: "a" }),
      await ask("POST", "", { id: id.toUpperCase(), title: "a" }),
      await ask("POST", "", { id, title: "a" })
    ]
    expect([first.status, again.status, small.status]).toEqual([201, 200, 200])
    for (const { json } of [first, again, small]) expect(json.id).toBe(id)
    expect(first.headers.get("location")).toMatch(new RegExp(`/${id}$`))
    expectProblem(await ask("POST", "", { id: id.toUpperCase(), title: "b" }), 409, "id_reused")
  })

  it("in bulk and in a batch, also beside itself in small letters", async () => {
    const { id } = await create(server, user)
    const capitals = id.toUpperCase()
    const last = await lastVersionOf(server, user)
    expect(having(200, await bulk(server, user, "complete", { ids: [capitals, id] }, { family })).json).toEqual({
      updated: 1,
      results: [{ id, status: "updated" }]
    })
    expect(await lastVersionOf(server, user)).toBe(last + 1)
    for (const mode of ["partial", "atomic"] as const) {
      const results = resultsOf(
        await batch(server, user, mode, [
          { op: "update", id: capitals, task: { title: "first" } },
          { op: "update", id, task: { title: "second" } },
          { op: "complete", id: capitals, completed: false }
        ], { family })
      )
      expect(results.map(({ status, task }) => [status, task?.id, task?.title])).toEqual([
        [200, id, "first"],
        [200, id, "second"],
        [200, id, "second"]
      ])
    }
    const own = newId()
    const made = resultsOf(
      await batch(server, user, "partial", [
        { op: "create", task: { id: own, title: "a" } },
        { op: "create", task: { id: own.toUpperCase(), title: "a" } },
        { op: "delete", id: own.toUpperCase() }
      ], { family })
    )
    expect(made.map(({ status }) => status).slice(0, 2)).toEqual([201, 200])
    expect(made[2]!.status).toBeLessThan(300)
    expect(having(200, await bulk(server, user, "delete", { ids: [capitals] }, { family })).json).toEqual({
      deleted: 1,
      results: [{ id, status: "deleted" }]
    })
  })
})

it("an id that is written in any other way is refused", async () => {
  const { id } = await create(server, user)
  const before = await checksum(server, user)
  const token = user.access_token
  for (
    const other of [
      ...[
        `{${id}}`,
        id.replaceAll("-", ""),
        `urn:uuid:${id}`,
        `${id}%20`,
        `%20${id}`,
        `${id}%00`,
        `${id}.`,
        `${id},${id}`
      ],
      ...[
        id.replace(/(?<=^.{14})7/, "4"),
        "00000000-0000-0000-0000-000000000000",
        "1",
        "null",
        id.replaceAll("0", "０")
      ]
    ]
  ) {
    for (const method of ["GET", "PATCH", "DELETE"]) {
      const answer = await server.request(method, `/api/v1/tasks/${encodeURI(other).replaceAll("%25", "%")}`, {
        token,
        ...(method === "PATCH" && { body: { title: "x" } })
      })
      expectProblem(answer, 422, "validation_failed")
    }
  }
  expect(await checksum(server, user)).toEqual(before)
  expect((await read(server, user, id)).id).toBe(id)
  expect((await listAll(server, user)).filter((task) => task.id === id)).toHaveLength(1)
})
