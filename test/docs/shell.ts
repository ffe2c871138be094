/** Commands of the documents, run by a shell. */
import { spawn } from "node:child_process"
import process from "node:process"
import { constant, type Step } from "./documents.ts"

const separator = "--- next ---"

const bash = (script: string, env: Readonly<Record<string, string>>, cwd: string | undefined) =>
  new Promise<string>((done, failed) => {
    // where standard input is a socket, bash believes that it was started from afar, and reads somebody's settings
    const shell = spawn("bash", ["--norc", "-euo", "pipefail", "-c", script], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      ...(cwd !== undefined && { cwd })
    })
    let output = ""
    shell.stdout.on("data", (chunk) => output += chunk)
    shell.stderr.on("data", (chunk) => output += chunk)
    shell.on("error", failed)
    shell.on("close", (code) => code === 0 ? done(output) : failed(new Error(`exit code ${code}: ${output}`)))
  })

/** What each step prints, in one shell, with what differs from run to run left out. */
export const printedBy = async (
  steps: ReadonlyArray<Step>,
  env: Readonly<Record<string, string>>,
  cwd?: string
): Promise<ReadonlyArray<string>> => {
  const output = await bash(steps.map(({ commands }) => commands).join(`\necho; echo "${separator}"\n`), env, cwd)
  return output.split(separator).map((part) => constant(part.trim()))
}
