/** The example that keeps a copy in step, run as its comment says: both sides are killed, and nothing is done twice. */
import { type ChildProcess, spawn } from "node:child_process"
import { randomInt, randomUUID } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import { setTimeout as pause } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { expect, it } from "vitest"
import { freePort } from "../../scripts/cluster/Processes.ts"
import { startProxy } from "../operation/postgres.ts"
import { emptyDirectory, emptyPlace, type Finished, patience, type Program, start } from "../operation/program.ts"
import { type Account, type Answer, useServer } from "../support/TestServer.ts"
import { create, having, listAll, nextOf, remove, shown, type TaskAnswer } from "../tasks/families.ts"

const script = fileURLToPath(new URL("../../examples/sync-client.ts", import.meta.url))

interface Copy {
  readonly cursor?: string
  readonly tasks: Record<string, Omit<TaskAnswer, "overdue">>
  readonly outbox: ReadonlyArray<{ readonly key: string; readonly id: string; readonly ifMatch?: string }>
}

const until = async (isSo: () => boolean | Promise<boolean>): Promise<void> => {
  while (!await isSo()) await pause(50)
}

/** A client on a directory of its own, which may be started again and again. */
const clientOf = (url: string, finished: Finished, credentials: Record<string, string> = {}) => {
  const directory = emptyDirectory(finished)
  const file = join(directory, "tasks.json")
  const tokens = join(directory, "tokens.json")
  let child: ChildProcess
  let output = ""
  let ended = Promise.resolve<number | NodeJS.Signals | null>(null)
  finished(async () => {
    child?.kill("SIGKILL")
    await ended
  })
  const kill = (signal: NodeJS.Signals) => {
    // not child.kill: on Deno that reports the signal even where the process ended by itself, with 0
    if (child.pid !== undefined) process.kill(child.pid, signal)
    return ended
  }
  return {
    file,
    tokens,
    copy: (): Copy => JSON.parse(readFileSync(file, "utf8")),
    start: () => {
      output = ""
      child = spawn(process.execPath, "Deno" in globalThis ? ["run", "-A", script] : [script], {
        env: { ...process.env, API: url, FILE: file, TOKENS: tokens, NO_COLOR: "1", ...credentials }
      })
      for (const stream of [child.stdout, child.stderr]) {
        stream?.setEncoding("utf8").on("data", (text: string) => output += text)
      }
      ended = new Promise((resolve) => child.once("close", (code, signal) => resolve(code ?? signal)))
    },
    /** Waits until it has said this. */
    said: async (text: string) => {
      await Promise.race([
        until(() => output.includes(text)),
        ended.then((how) => {
          throw new Error(`ended with ${how} before it said "${text}": ${output}`)
        })
      ])
    },
    output: () => output,
    ended: () => ended,
    /** Gives it a write, and waits until that is in the outbox. */
    async write(line: string) {
      child.stdin?.write(`${line}\n`)
      await this.said(`queued ${line}: `)
    },
    kill
  }
}

/** Another client of the user, which asks until it is answered and does nothing twice either. */
const otherOf = (program: Program, account: Account) => {
  let tokens: { readonly access_token: string; readonly refresh_token: string } | undefined
  let writes = 0
  const ask = async (method: string, path: string, options: object): Promise<Answer> => {
    for (;;) {
      const answer = await Promise.race([
        program.request(method, path, options).catch(() => undefined),
        pause(5_000, undefined, { ref: false })
      ])
      if (answer !== undefined && answer.status < 500 && answer.json?.code !== "idempotency_in_flight") return answer
      await pause(100)
    }
  }
  const request = async (method: string, path: string, body?: unknown): Promise<Answer> => {
    const headers = { ...method !== "GET" && { "idempotency-key": randomUUID() } }
    for (;;) {
      tokens ??= having(
        200,
        await ask("POST", "/api/v1/auth/login", { body: { email: account.email, password: account.password } })
      ).json
      const answer = await ask(method, path, { body, headers, token: tokens?.access_token })
      if (answer.json?.code !== "token_expired") {
        if (method !== "GET") writes += 1
        return answer
      }
      const refreshed = await ask("POST", "/api/v1/auth/refresh", { body: { refresh_token: tokens?.refresh_token } })
      tokens = having(200, refreshed).json
    }
  }
  return {
    writes: () => writes,
    create: async (title: string, dates = {}): Promise<TaskAnswer> =>
      having(201, await request("POST", "/api/v1/tasks", { title, ...dates })).json,
    complete: async (id: string) => having(200, await request("PATCH", `/api/v1/tasks/${id}/complete`)),
    rename: async (id: string, title: string) => having(200, await request("PATCH", `/api/v1/tasks/${id}`, { title })),
    remove: async (id: string) => having(200, await request("DELETE", `/api/v1/tasks/${id}`)),
    list: async (): Promise<ReadonlyArray<TaskAnswer>> => {
      const tasks: Array<TaskAnswer> = []
      for (let path: string | undefined = "/api/v1/tasks"; path !== undefined;) {
        const page: Answer = having(200, await request("GET", path))
        tasks.push(...page.json)
        path = nextOf(program as never, page)
      }
      return tasks
    }
  }
}

/** As the changes tell of them: not what is overdue. */
const byId = (tasks: ReadonlyArray<TaskAnswer>) =>
  Object.fromEntries(tasks.map(({ overdue: _, ...task }) => [task.id, task]))

/** As the list shows them. */
const copied = (client: ReturnType<typeof clientOf>) => byId(Object.values(client.copy().tasks).map(shown))

const titles = (tasks: ReadonlyArray<TaskAnswer>) => tasks.map(({ title }) => title).sort()

it("survives kills of both sides, and does nothing twice", async ({ onTestFinished }) => {
  const env = {
    ...await emptyPlace(onTestFinished),
    PORT: String(await freePort()),
    ACCESS_TOKEN_TTL: "2 seconds"
  }
  let program = await start(env, onTestFinished)
  const restart = async (signal: NodeJS.Signals, meanwhile: () => Promise<unknown> = () => Promise.resolve()) => {
    program.kill(signal)
    await program.ended
    await meanwhile()
    program = await start(env, onTestFinished)
  }
  const account = await program.register()
  const other = otherOf(program, account)
  const network = await startProxy(program.url, onTestFinished)
  const client = clientOf(network.url.replace(/\/$/, ""), onTestFinished)
  const { access_token, refresh_token } = account
  writeFileSync(client.tokens, JSON.stringify({ access_token, refresh_token }))
  let writes = 0
  const write = async (line: string) => {
    await client.write(line)
    writes += 1
  }
  const isInStep = async () => {
    const { outbox, tasks } = client.copy()
    return outbox.length === 0 && JSON.stringify(versions(Object.values(tasks))) === JSON.stringify(
          versions(await other.list())
        )
  }
  const versions = (tasks: ReadonlyArray<Pick<TaskAnswer, "id" | "version">>) =>
    tasks.map(({ id, version }) => [id, version]).sort()

  const [first, second, third] = [await other.create("one"), await other.create("two"), await other.create("three")]
  client.start()
  await client.said("following")
  expect(copied(client)).toEqual(byId(await other.list()))

  // its answers get lost, and it dies before it is answered
  network.loseAnswers()
  await write("add done, but not known to be")
  await until(async () => titles(await other.list()).includes("done, but not known to be"))
  expect(await client.kill("SIGKILL")).toBe("SIGKILL")
  expect(client.copy().outbox.length).toBe(1)
  await network.restore()
  client.start()
  await until(isInStep)
  network.loseAnswers()
  await write(`done ${first.id}`)
  await until(async () => byId(await other.list())[first.id]?.completed === true)
  await client.kill("SIGKILL")
  await network.restore()
  client.start()
  await until(isInStep)

  // the server stops, and comes back
  await restart("SIGTERM")
  await other.rename(second.id, "two, after a restart")
  await until(isInStep)

  // what is written while the server is away meets another version, after a death on either side
  const recurrence = { due: { date: "2031-01-01" }, recurrence: { rule: "FREQ=DAILY" } }
  const daily = await other.create("daily", recurrence)
  await until(isInStep)
  await restart("SIGKILL", async () => {
    // the other one will have done it: this takes no version
    await client.write(`done ${daily.id}`)
    await write(`done ${second.id}`)
    await write("add written offline")
    await client.kill("SIGKILL")
  })
  await other.rename(second.id, "two, changed meanwhile")
  await other.complete(daily.id)
  client.start()
  await until(isInStep)
  expect(client.copy().tasks[second.id]).toMatchObject({ title: "two, changed meanwhile", completed: true })
  expect(client.copy().tasks[daily.id]).toMatchObject({ due: { date: "2031-01-02" }, completed: false })

  // all at once
  await other.remove(third.id)
  for (const [round, signal] of (["SIGKILL", "SIGTERM", "SIGKILL"] as const).entries()) {
    const mine = (await other.create(`of the other, ${round}`)).id
    const busy = Promise.all([
      other.rename(mine, `renamed, ${round}`),
      other.create(`to be deleted, ${round}`).then(({ id }) => other.remove(id))
    ])
    await write(`add mine, ${round}`)
    await write(`done ${mine}`)
    await write(`add mine again, ${round}`)
    await pause(randomInt(60))
    const down = restart(signal)
    await pause(randomInt(60))
    await client.kill("SIGKILL")
    client.start()
    await Promise.all([down, busy])
  }
  await until(isInStep)

  const last = await other.create("the last")
  await until(isInStep)
  const tasks = await other.list()
  expect(copied(client)).toEqual(byId(tasks))
  expect(titles(tasks)).toEqual([
    "daily",
    "done, but not known to be",
    "one",
    ...[0, 1, 2].map((round) => `mine again, ${round}`),
    ...[0, 1, 2].map((round) => `mine, ${round}`),
    ...[0, 1, 2].map((round) => `renamed, ${round}`),
    "the last",
    "two, changed meanwhile",
    "written offline"
  ].sort())
  // each write takes one version
  expect(last.version).toBe(other.writes() + writes)
  expect(JSON.parse(readFileSync(client.tokens, "utf8")).refresh_token).not.toBe(refresh_token)
  expect(await client.kill("SIGTERM")).toBe(0)
}, 3 * patience)

const server = useServer()

it("logs in, and begins again where deletions are no longer known", async ({ onTestFinished }) => {
  const account = await server.register()
  const client = clientOf(server.url, onTestFinished, { EMAIL: account.email, PASSWORD: account.password })
  const isInStep = async () =>
    JSON.stringify(Object.keys(client.copy().tasks).sort()) ===
      JSON.stringify((await listAll(server, account)).map(({ id }) => id).sort())
  const [kept, deleted, purged] = [
    await create(server, account, { title: "kept" }),
    await create(server, account, { title: "deleted" }),
    await create(server, account, { title: "purged" })
  ]
  client.start()
  await client.said("following")
  await remove(server, account, kept.id)
  await until(isInStep)
  expect(await client.kill("SIGINT")).toBe(0)

  // 410: away for longer than tombstones are kept
  await remove(server, account, deleted.id)
  await server.sql("update tasks set deleted_at = now() - interval '46 days' where id = $1", [deleted.id])
  await server.purge()
  client.start()
  await client.said("beginning again: The cursor is of no use any more")
  await client.said("following")
  await until(isInStep)

  // resync: the same while it follows
  await server.sql("delete from tasks where id = $1", [purged.id])
  await server.sql(
    "update user_sequences set last_version = last_version + 1, purged_version = last_version + 1 where user_id = $1",
    [account.id]
  )
  await create(server, account, { title: "new" })
  await until(isInStep)
  expect(client.output().split("beginning again: The cursor is of no use any more").length).toBe(3)
  expect(await client.kill("SIGTERM")).toBe(0)

  // a copy that was made elsewhere
  writeFileSync(client.file, JSON.stringify({ ...client.copy(), cursor: "AAAA", tasks: { [kept.id]: kept } }))
  client.start()
  await client.said("beginning again: The cursor is not valid here")
  await client.said("following")
  expect(copied(client)).toEqual(byId(await listAll(server, account)))

  // its session is ended elsewhere, and it may log in again
  const { access_token } = JSON.parse(readFileSync(client.tokens, "utf8"))
  having(204, await server.request("POST", "/api/v1/auth/logout", { token: access_token }))
  await create(server, account, { title: "after a logout" })
  await until(isInStep)
  await client.write("add   ")
  await client.said("was refused: validation_failed")
  expect(client.copy().outbox).toEqual([])
  expect(await client.kill("SIGTERM")).toBe(0)
}, patience)

it("ends with 1 where its session has ended and it has no password", async ({ onTestFinished }) => {
  const { access_token, refresh_token } = await server.register()
  const client = clientOf(server.url, onTestFinished)
  writeFileSync(client.tokens, JSON.stringify({ access_token, refresh_token }))
  having(204, await server.request("POST", "/api/v1/auth/logout", { token: access_token }))
  client.start()
  expect(await client.ended()).toBe(1)
  expect(client.output()).toContain("session_revoked")
}, patience)
