/**
 * Asks a server of its own about every operation of the OpenAPI document with Schemathesis: examples, edges of every
 * schema, random requests and sequences of them, valid and not. Fails on whatever test/contract/schemathesis.toml and
 * hooks.py do not explain. About 6,000 requests.
 *
 * Needs Python 3.11 or newer with its module `venv`, and PyPI, unless SCHEMATHESIS names the program as it is installed by
 * test/contract/requirements.txt. The database is an embedded one, unless CONTRACT_DATABASE_URL names one, which it fills.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), "contract-"))

/** The program, in a virtual environment that is thrown away. */
const installed = (): string => {
  const environment = join(scratch, "python")
  execFileSync("python3", ["-m", "venv", environment], { stdio: ["ignore", 2, 2] })
  const requirements = join(root, "test/contract/requirements.txt")
  const args = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", requirements]
  execFileSync(join(environment, "bin/pip"), args, { stdio: ["ignore", 2, 2] })
  return join(environment, "bin/schemathesis")
}

const isListening = /"message":"listening".*"address":"([^"]+)"/

const listening = (server: ChildProcess) =>
  new Promise<string>((resolve, reject) => {
    let log = ""
    server.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
      const address = isListening.exec(log = (log + chunk).slice(-10_000))?.[1]
      if (address !== undefined) resolve(address)
    })
    server.once("close", () => reject(new Error(`the server ended:\n${log}`)))
  })

const ended = (child: ChildProcess) =>
  new Promise<number>((resolve, reject) => {
    child.once("error", reject)
    child.once("close", (code) => resolve(code ?? 1))
  })

const schemathesis = process.env["SCHEMATHESIS"] || installed()
const server = spawn(
  process.execPath,
  [..."Deno" in globalThis ? ["run", "-A"] : [], "src/main.ts"],
  {
    cwd: root,
    env: {
      ...process.env,
      APP_ENV: "development",
      HOST: "127.0.0.1",
      PORT: "0",
      DATA_DIR: join(scratch, "data"),
      // not what somebody uses
      DATABASE_URL: process.env["CONTRACT_DATABASE_URL"] ?? "",
      DATABASE_DIRECT_URL: "",
      JWT_SECRET: randomBytes(32).toString("hex"),
      LOG_FORMAT: "json",
      RATE_LIMITS: "off"
    },
    stdio: ["ignore", "pipe", "inherit"]
  }
)
try {
  const origin = await listening(server)
  const answer = await fetch(`${origin}/api/v1/auth/register`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: "contract@example.com", password: "lantern orbit 47 velvet" })
  })
  const { access_token, user }: { access_token: string; user: { id: string } } = JSON.parse(await answer.text())
  process.exitCode = await ended(spawn(schemathesis, ["run", `${origin}/openapi.json`], {
    cwd: join(root, "test/contract"),
    env: { ...process.env, API_ORIGIN: origin, TOKEN: access_token, USER_ID: user.id, PYTHONDONTWRITEBYTECODE: "1" },
    stdio: ["ignore", "inherit", "inherit"]
  }))
} finally {
  if (server.exitCode === null && server.pid !== undefined) {
    const end = ended(server)
    process.kill(server.pid, "SIGTERM")
    await end
  }
  rmSync(scratch, { recursive: true, force: true })
}
