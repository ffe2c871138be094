/**
 * What docker-compose.yml runs as its profile "cluster", without containers: PostgreSQL, Redis, two instances in
 * production, and Caddy before them with the same deploy/Caddyfile.
 */
import { randomBytes } from "node:crypto"
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { get } from "node:https"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { setTimeout as pause } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { type Ending, freePort, type Process, startProcess } from "./Processes.ts"
import { startPostgres, startRedis } from "./Services.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

/** Milliseconds that the proxy may take to serve. */
const startTime = 30_000

/** Milliseconds: an instance has ended by itself after 28 s, and is killed after 30 s, as an orchestrator would do it. */
const stopTime = 30_000

/** One of the processes that serve the API. */
export interface Instance {
  /** where only the proxy would ask it */
  readonly url: string
  readonly output: () => string
  /** SIGTERM drains it; resolves when it has ended. */
  readonly stop: () => Promise<Ending>
  readonly kill: () => Promise<Ending>
  /** It holds its connections, and answers nothing until it is killed. */
  readonly freeze: () => void
  /** Starts it again where it was; resolves when it listens. */
  readonly start: () => Promise<void>
}

export interface Cluster {
  /** where clients ask, without a slash at its end */
  readonly url: string
  /** the same by plain HTTP */
  readonly plainUrl: string
  /** the certificate that clients have to trust: a file, and what is in it */
  readonly caFile: string
  readonly ca: string
  readonly instances: readonly [Instance, Instance]
  /** Ends everything, the instances first, and removes every file of it; takes some seconds. */
  readonly stop: () => Promise<void>
  /** The same at once. */
  readonly kill: () => Promise<void>
}

const startInstance = async (name: string, settings: Readonly<Record<string, string>>): Promise<Instance> => {
  let port = "0"
  let current: Process
  const start = async () => {
    current = await startProcess({
      name,
      command: process.execPath,
      args: "Deno" in globalThis ? ["run", "-A", "src/main.ts"] : ["src/main.ts"],
      env: { ...settings, PORT: port },
      cwd: root,
      ready: '"listening"'
    })
    port = /"address":"http:\/\/127\.0\.0\.1:(\d+)"/.exec(current.output())?.[1] ?? port
  }
  await start()
  return {
    url: `http://127.0.0.1:${port}`,
    output: () => current.output(),
    stop: () => current.stop("SIGTERM", stopTime),
    kill: () => current.stop("SIGKILL", stopTime),
    freeze: () => current.signal("SIGSTOP"),
    start
  }
}

/** Resolves once this answers 200: a new proxy makes its certificate while it listens already. */
const untilReady = async (url: string, ca: string) => {
  const ask = () =>
    new Promise<number | undefined>((resolve) => {
      const request = get(`${url}/health/ready`, { ca, agent: false, timeout: 5_000 }, (answer) => {
        answer.resume()
        resolve(answer.statusCode)
      })
      request.on("timeout", () => request.destroy(new Error("no answer"))).on("error", () => resolve(undefined))
    })
  for (const end = Date.now() + startTime; await ask() !== 200; await pause(100)) {
    if (Date.now() > end) throw new Error(`${url} does not answer`)
  }
}

/** Starts everything; what had started is ended again where something fails. */
export const startCluster = async (ports?: { readonly https: number; readonly http: number }): Promise<Cluster> => {
  const directory = mkdtempSync(join(tmpdir(), "tasks-cluster-"))
  // PostgreSQL's user has to get through
  chmodSync(directory, 0o755)
  const parts: Array<{ readonly kill: () => Promise<unknown> }> = []
  const keep = (started: Process) => {
    parts.push({ kill: () => started.stop("SIGKILL", stopTime) })
    return started
  }
  const kill = async () => {
    await Promise.all(parts.map((part) => part.kill()))
    rmSync(directory, { recursive: true, force: true })
  }

  try {
    const password = randomBytes(16).toString("hex")
    const postgres = await startPostgres(join(directory, "postgres"), password)
    keep(postgres)
    const redisPort = await freePort()
    const redis = keep(await startRedis(redisPort, password))

    // what docker-compose.yml sets
    const settings = {
      APP_ENV: "production",
      HOST: "127.0.0.1",
      DATA_DIR: join(directory, "data"),
      UV_THREADPOOL_SIZE: "8",
      DATABASE_URL: postgres.url,
      REDIS_URL: `redis://:${password}@127.0.0.1:${redisPort}`,
      JWT_SECRET: randomBytes(32).toString("hex"),
      // the address from which Caddy asks, and no more of this machine
      TRUSTED_PROXIES: "127.0.0.1",
      REQUIRE_HTTPS: "true",
      LOG_FORMAT: "json"
    }
    const started = await Promise.allSettled(["api-1", "api-2"].map((name) => startInstance(name, settings)))
    const [one, two] = started.flatMap((result) => result.status === "fulfilled" ? [result.value] : [])
    parts.push(...[one, two].filter((instance) => instance !== undefined))
    if (one === undefined || two === undefined) throw started.find((result) => result.status === "rejected")?.reason

    const { http, https } = ports ?? { https: await freePort(), http: await freePort() }
    const caddyDirectory = join(directory, "caddy")
    mkdirSync(caddyDirectory)
    const caddy = keep(
      await startProcess({
        name: "Caddy",
        command: "caddy",
        args: ["run", "--config", join(root, "deploy/Caddyfile"), "--adapter", "caddyfile"],
        env: {
          XDG_DATA_HOME: caddyDirectory,
          XDG_CONFIG_HOME: caddyDirectory,
          SITE_ADDRESS: "localhost",
          TLS_ISSUER: "internal",
          UPSTREAMS: `${new URL(one.url).host} ${new URL(two.url).host}`,
          HTTP_PORT: String(http),
          HTTPS_PORT: String(https),
          BIND: "127.0.0.1"
        },
        cwd: directory,
        ready: "serving initial configuration"
      })
    )
    const caFile = join(caddyDirectory, "caddy/pki/authorities/local/root.crt")
    const ca = readFileSync(caFile, "utf8")
    const url = `https://localhost:${https}`
    await untilReady(url, ca)
    return {
      url,
      plainUrl: `http://localhost:${http}`,
      caFile,
      ca,
      instances: [one, two],
      stop: async () => {
        await Promise.all([one.stop(), two.stop()])
        await caddy.stop("SIGTERM", 5_000)
        await Promise.all([redis.stop("SIGTERM", 5_000), postgres.stop("SIGINT", 10_000)])
        await kill()
      },
      kill
    }
  } catch (error) {
    await kill()
    throw error
  }
}
