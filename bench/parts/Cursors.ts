/** Places deep in a user's data, reached as a client reaches them. */
import { Effect } from "effect"
import { pageSize } from "../load/Endpoints.ts"
import { BenchFailed } from "../machine/Children.ts"
import type { BenchUser } from "../seed/Seed.ts"
import type { Server } from "../targets/Servers.ts"

const pages = 1_000
/** Pages that are read at once on the way. */
const strides = 5
/** Changes that are skipped at most: what the rest costs does not depend on it. */
const mostSkipped = 5_000

const get = async (server: Server, user: BenchUser, path: string): Promise<Response> => {
  const response = await fetch(`${server.url}${path}`, { headers: { authorization: `Bearer ${user.tokens[0]}` } })
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
  return response
}

const walk = <A>(steps: () => Promise<A>) =>
  Effect.tryPromise({ try: steps, catch: (error) => new BenchFailed({ message: `pages: ${String(error)}` }) })

interface ChangesPage {
  readonly changes: ReadonlyArray<unknown>
  readonly cursor: string
  readonly has_more: boolean
}

/** A cursor with changes before it, and at least one page after it. */
export const middleOfChanges = (server: Server, user: BenchUser) =>
  walk(async () => {
    const read = async (since: string | undefined, limit: number) =>
      await (await get(
        server,
        user,
        `/api/v1/changes?limit=${limit}${since === undefined ? "" : `&since=${since}`}`
      )).json() as ChangesPage
    let page = await read(undefined, 100)
    for (let skipped = 100; skipped < mostSkipped;) {
      const next = await read(page.cursor, 100)
      if (!next.has_more) break
      page = next
      skipped += next.changes.length
    }
    return page.cursor
  })

/** The path of the page at depth 1,000 of an order, or of the last full one. */
export const deepPage = (server: Server, user: BenchUser, order: string) =>
  walk(async () => {
    const after = async (path: string) => {
      const response = await get(server, user, path)
      await response.body?.cancel()
      return /<([^>]+)>; rel="next"/.exec(response.headers.get("link") ?? "")?.[1]
    }
    const sized = (path: string, size: number) => path.replace(/\blimit=\d+/, `limit=${size}`)
    let path = `/api/v1/tasks?sort=${order}&limit=${pageSize}`
    for (let depth = 1;;) {
      // a cursor does not mind how much is read at once
      const size = (pages - depth) % strides === 0 ? pageSize * strides : pageSize
      const next = depth === pages ? undefined : await after(sized(path, size))
      if (next === undefined) return { path, depth }
      const following = sized(next, pageSize)
      const tasks = await (await get(server, user, following)).json() as ReadonlyArray<unknown>
      if (tasks.length < pageSize) return { path, depth }
      path = following
      depth += size / pageSize
    }
  })
