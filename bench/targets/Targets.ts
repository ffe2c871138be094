/**
 * The servers that are measured. Each speaks the contract on PORT of 127.0.0.1, with the database of DATABASE_URL, the
 * tokens of JWT_SECRET and at most DATABASE_POOL_SIZE connections. Another peer is one more entry.
 */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { node, root } from "../machine/Children.ts"

export interface Target {
  readonly name: string
  /** what is run, for people */
  readonly description: string
  /** where its commands run */
  readonly folder: string
  /** what makes it ready to run; done once, as long as `installed` is there */
  readonly install: ReadonlyArray<ReadonlyArray<string>>
  readonly installed: string | undefined
  readonly command: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  /** any answer tells that it is up; else only a 200 of /health/ready */
  readonly isUpOnAnyAnswer: boolean
}

/** What the image sets, so that what is measured is what is run. */
const imageEnv = (): Record<string, string> => {
  const dockerfile = readFileSync(join(root, "Dockerfile"), "utf8")
  const value = (name: string) =>
    new RegExp(`\\b${name}="?([^"\\n\\\\]+?)"?\\s*(\\\\?\\n|$)`).exec(dockerfile)?.[1] ?? ""
  return { NODE_OPTIONS: value("NODE_OPTIONS"), UV_THREADPOOL_SIZE: value("UV_THREADPOOL_SIZE") }
}

/**
 * The production bundle, assembled in `folder` as in the image. APP_ENV only decides which settings are refused and
 * whether /metrics is open; production would refuse RATE_LIMITS, without which one user could not ask so much.
 */
export const ours = (folder: string, flags: ReadonlyArray<string>): Target => ({
  name: "tasks-api",
  description: ["node", ...flags, "dist/main.js"].join(" "),
  folder,
  install: [],
  installed: undefined,
  command: [node, ...flags, "dist/main.js"],
  env: {
    ...imageEnv(),
    NODE_ENV: "production",
    APP_ENV: "development",
    RATE_LIMITS: "off",
    HOST: "127.0.0.1",
    // the load comes without a proxy in front
    REQUIRE_HTTPS: "false"
  },
  isUpOnAnyAnswer: false
})

const peer = (name: string, description: string, rest: Pick<Target, "install" | "installed" | "command" | "env">) => ({
  name,
  description,
  folder: join(root, "bench/peers", name),
  isUpOnAnyAnswer: true,
  ...rest
})

const npm = { install: [["npm", "ci", "--omit=dev", "--no-audit", "--no-fund"]], installed: "node_modules" }

// the same heap and threads as this server has
const nodeEnv = { NODE_ENV: "production", HOST: "127.0.0.1", ...imageEnv() }

export const peers: ReadonlyArray<Target> = [
  peer("fastify", "Fastify, schema-compiled serialisation, pg", {
    ...npm,
    command: [node, "src/main.ts"],
    env: nodeEnv
  }),
  peer("fastapi", "FastAPI, SQLModel, uvicorn", {
    install: [
      ["python3", "-m", "venv", ".venv"],
      [".venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"],
      // only once everything before has succeeded
      ["touch", ".venv/complete"]
    ],
    installed: ".venv/complete",
    command: [".venv/bin/python", "main.py"],
    env: { HOST: "127.0.0.1" }
  }),
  peer("bare", "node:http, postgres.js, one HMAC, no validation", {
    ...npm,
    command: [node, "server.ts"],
    env: nodeEnv
  })
]

export const targetNames = ["tasks-api", ...peers.map(({ name }) => name)]

/** Why a target can't even be tried, or undefined. */
export const missing = (target: Target): string | undefined =>
  existsSync(target.folder) ? undefined : "its folder is not there"
