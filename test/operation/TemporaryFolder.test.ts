/** The folder in which exports are written before they are sent has no room, or is not there. */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readdirSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import { expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import type { Account } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"
import { emptyDirectory, emptyPlace, type Finished, patience, type Program, start } from "./program.ts"

/** Mounts a file system in memory with these options; undefined where that is not allowed. */
const mounted = (options: string, finished: Finished): string | undefined => {
  const folder = join(emptyDirectory(finished), "tmp")
  mkdirSync(folder)
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", folder], { stdio: "pipe" })
  } catch {
    return undefined
  }
  finished(() => void execFileSync("umount", ["--lazy", folder]))
  return folder
}

const mayMount = (() => {
  const works: Array<() => Promise<void> | void> = []
  const folder = process.getuid?.() === 0 ? mounted("size=4k", (work) => void works.push(work)) : undefined
  for (const work of works.reverse()) work()
  return folder !== undefined
})()

const startIn = async (folder: string, finished: Finished) => {
  const program = await start({ ...await emptyPlace(finished), TMPDIR: folder }, finished)
  const exported = ({ access_token: token }: Account) => program.request("GET", "/api/v1/auth/export", { token })
  return { program, exported }
}

/** 40 tasks: more than 40 KB of an export. */
const fill = async ({ request }: Program, { access_token: token }: Account) => {
  const operations = Array.from({ length: 40 }, () => ({
    op: "create",
    task: { title: "nobody's business", description: "a".repeat(1_000) }
  }))
  having(200, await request("POST", "/api/v1/tasks/batch", { token, body: { mode: "atomic", operations } }))
}

/** What is said of it, and what is not. */
const expectTold = async ({ logged, lines, stdout }: Program, user: Account, code: string, count: number) => {
  expect(await logged("the temporary folder takes no export")).toMatchObject({ level: "WARN" })
  const told = lines().filter(({ message }) => message === "the temporary folder takes no export")
  expect(told.map(({ annotations }) => Object.keys(annotations).sort())).toEqual(
    Array.from({ length: count }, () => ["code", "request_id"])
  )
  expect(new Set(told.map(({ annotations }) => annotations["code"]))).toEqual(new Set([code]))
  const messages = lines().map(({ message }) => message)
  expect(messages).not.toContain("defect")
  for (const secret of [user.email, user.password, user.access_token, user.refresh_token, "nobody's business"]) {
    expect(stdout()).not.toContain(secret)
  }
}

it.skipIf(!mayMount)(
  "F8 an export for which there is no room is 503, and holds nothing",
  async ({ onTestFinished }) => {
    const folder = mounted("size=32k", onTestFinished)!
    const { exported, program } = await startIn(folder, onTestFinished)
    const [small, large] = [await program.register(), await program.register()]
    await fill(program, large)
    // more of them than the pool has connections
    for (let i = 0; i < 12; i++) {
      const answer = await exported(large)
      expectProblem(answer, 503, "overloaded")
      expect(answer.headers.get("retry-after")).toMatch(/^[1-9]\d*$/)
    }
    // nothing of it is left there, neither by name nor without one
    expect(readdirSync(folder)).toEqual([])
    expect(having(200, await exported(small)).json.user.id).toBe(small.id)
    execFileSync("mount", ["-o", "remount,size=1m", folder])
    expect(having(200, await exported(large)).json.tasks).toHaveLength(40)
    const whose = () =>
      program.lines().filter(({ annotations }) => annotations["event"] === "exported").map(({ annotations }) =>
        annotations["user_id"]
      )
    await expect.poll(whose, { timeout: 10_000 }).toEqual([small.id, large.id])
    await expectTold(program, large, "ENOSPC", 12)
  },
  patience
)

it.skipIf(!mayMount).each([["has room for no file", "nr_inodes=1", "ENOSPC"], ["is read-only", "ro", "EROFS"]])(
  "F8 an export is 503 where the folder %s, and 200 afterwards",
  async (_, options, code) => {
    const works: Array<() => Promise<void> | void> = []
    const finished: Finished = (work) => void works.push(work)
    try {
      const folder = mounted(options, finished)!
      const { exported, program } = await startIn(folder, finished)
      const user = await program.register()
      const answer = await exported(user)
      expectProblem(answer, 503, "overloaded")
      expect(answer.headers.get("retry-after")).toMatch(/^[1-9]\d*$/)
      having(200, await program.request("GET", "/api/v1/tasks", { token: user.access_token }))
      execFileSync("mount", ["-o", code === "EROFS" ? "remount,rw" : "remount,nr_inodes=100", folder])
      having(200, await exported(user))
      await expectTold(program, user, code, 1)
    } finally {
      for (const work of works.reverse()) await work()
    }
  },
  patience
)

// waiting does not bring it: whoever installed this has to be woken
it("an export is 500 where there is no temporary folder, and everything else goes on", async ({ onTestFinished }) => {
  const folder = join(emptyDirectory(onTestFinished), "missing")
  const { exported, program } = await startIn(folder, onTestFinished)
  const user = await program.register()
  const answer = await exported(user)
  expectProblem(answer, 500, "internal")
  expect(answer.text).not.toContain(folder)
  expect(await program.logged("defect")).toMatchObject({ annotations: { request_id: answer.json.request_id } })
  having(200, await program.request("GET", "/api/v1/tasks", { token: user.access_token }))
  expect(existsSync(folder)).toBe(false)
}, patience)
