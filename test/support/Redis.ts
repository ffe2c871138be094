/** A Redis of the tests: Debian's redis-server on a port of its own, which keeps nothing. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import process from "node:process"

/** False where Debian's package redis-server is missing: then what needs it is skipped. */
export const hasRedis = spawnSync("redis-server", ["--version"]).status === 0
// wherever the suite is to prove what is shared, it must not be passed over in silence
if (!hasRedis && process.env["CI"] !== undefined) throw new Error("redis-server is missing")
if (!hasRedis) console.log("redis-server is missing: its tests are skipped")

export interface TestRedis {
  readonly url: string
  readonly password: string
  readonly stop: () => Promise<void>
  /** Starts it again, empty, where it was. */
  readonly start: () => Promise<void>
  /** It holds its connections, and answers nothing until it is told to go on. */
  readonly freeze: () => void
  readonly thaw: () => void
}

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

/** Starts it; whoever does so stops it. */
export const startRedis = async (): Promise<TestRedis> => {
  const port = await freePort()
  const password = "a password of Redis"
  let child: ChildProcess | undefined
  let ended = Promise.resolve()
  const start = () =>
    new Promise<void>((resolve, reject) => {
      const started = child = spawn(
        "redis-server",
        ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--requirepass", password],
        { cwd: tmpdir(), stdio: ["ignore", "pipe", "ignore"] }
      )
      ended = new Promise((end) => started.once("close", () => end()))
      let text = ""
      started.stdout.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk
        if (text.includes("Ready to accept connections")) resolve()
      })
      started.once("error", reject).once("close", () => reject(new Error(text)))
    })
  const signal = (name: NodeJS.Signals) => {
    if (child?.pid !== undefined && child.exitCode === null && child.signalCode === null) process.kill(child.pid, name)
  }
  await start()
  return {
    url: `redis://:${encodeURIComponent(password)}@127.0.0.1:${port}`,
    password,
    start,
    stop: async () => {
      signal("SIGKILL")
      await ended
    },
    freeze: () => signal("SIGSTOP"),
    thaw: () => signal("SIGCONT")
  }
}
