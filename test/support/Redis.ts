/** A Redis of the tests: Debian's redis-server on a port of its own, which keeps nothing. */
import process from "node:process"
import { freePort, isInstalled } from "../../scripts/cluster/Processes.ts"
import { startRedis as startServer } from "../../scripts/cluster/Services.ts"

/** False where Debian's package redis-server is missing: then what needs it is skipped. */
export const hasRedis = isInstalled("redis-server", "--version")
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

/** Starts it; whoever does so stops it. */
export const startRedis = async (): Promise<TestRedis> => {
  const port = await freePort()
  const password = "a password of Redis"
  let server = await startServer(port, password)
  return {
    url: `redis://:${encodeURIComponent(password)}@127.0.0.1:${port}`,
    password,
    start: async () => {
      server = await startServer(port, password)
    },
    stop: async () => {
      await server.stop("SIGKILL", 0)
    },
    freeze: () => server.signal("SIGSTOP"),
    thaw: () => server.signal("SIGCONT")
  }
}
