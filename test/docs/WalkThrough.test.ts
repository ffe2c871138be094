/** The README's walk-through, run exactly as it is printed. */
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import process from "node:process"
import { expect, it } from "vitest"
import { useServer } from "../support/TestServer.ts"

const server = useServer()

interface Step {
  readonly commands: string
  readonly printed: string
}

/** Each block of commands, with the output that is printed below it. */
const steps = (markdown: string, heading: string): ReadonlyArray<Step> => {
  const section = markdown.split(`\n## ${heading}\n`)[1]!.split("\n## ")[0]!
  const found: Array<Step> = []
  for (const [, language, text = ""] of section.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)) {
    if (language === "bash") found.push({ commands: text, printed: "" })
    else found.push({ commands: found.pop()!.commands, printed: text.trim() })
  }
  return found
}

/** What differs from run to run. */
const constant = (output: string): string =>
  output
    .replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "…")
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "…")
    .replaceAll(/("(?:access|refresh)_token":)"[^"]+"/g, '$1"…"')

const separator = "--- next ---"

const bash = (script: string) =>
  new Promise<string>((done, failed) => {
    const shell = spawn("bash", ["-euo", "pipefail", "-c", script], { env: { ...process.env, API: server.url } })
    let output = ""
    shell.stdout.on("data", (chunk) => output += chunk)
    shell.stderr.on("data", (chunk) => output += chunk)
    shell.on("error", failed)
    shell.on("close", (code) => code === 0 ? done(output) : failed(new Error(`exit code ${code}: ${output}`)))
  })

it("prints what the README says it prints", async () => {
  const readme = steps(readFileSync(new URL("../../README.md", import.meta.url), "utf8"), "Walk-through")
  expect(readme.length).toBe(11)
  const output = await bash(readme.map(({ commands }) => commands).join(`\necho; echo "${separator}"\n`))
  const printed = output.split(separator).map((part) => constant(part.trim()))
  expect(printed).toEqual(readme.map((step) => step.printed))
})
