/** What the documents print, run exactly as it is printed. */
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

/** Each block of commands of a document, or of one of its sections, with the output that is printed below it. */
const steps = (path: string, heading?: string): ReadonlyArray<Step> => {
  const markdown = readFileSync(new URL(`../../${path}`, import.meta.url), "utf8")
  const part = heading === undefined ? markdown : markdown.split(`\n## ${heading}\n`)[1]!.split("\n## ")[0]!
  const found: Array<Step> = []
  for (const [, language, text = ""] of part.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)) {
    if (language === "bash") found.push({ commands: text, printed: "" })
    else found.push({ commands: found.pop()!.commands, printed: text.trim() })
  }
  return found
}

/** What differs from run to run: ids, instants and days, tokens, cursors. */
const constant = (output: string): string =>
  output
    .replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "…")
    .replaceAll(/\d{4}-\d\d-\d\d(?:T[\d:.]+Z)?/g, "…")
    .replaceAll(/("(?:access_token|refresh_token|cursor)":)"[^"]+"/g, '$1"…"')
    .replaceAll(/(?<=[?&]cursor=)[\w-]+/g, "…")
    .replaceAll(/^(id: ).+$/gm, "$1…")

const separator = "--- next ---"

const bash = (script: string) =>
  new Promise<string>((done, failed) => {
    // where standard input is a socket, bash believes that it was started from afar, and reads somebody's settings
    const shell = spawn("bash", ["--norc", "-euo", "pipefail", "-c", script], {
      env: { ...process.env, API: server.url },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let output = ""
    shell.stdout.on("data", (chunk) => output += chunk)
    shell.stderr.on("data", (chunk) => output += chunk)
    shell.on("error", failed)
    shell.on("close", (code) => code === 0 ? done(output) : failed(new Error(`exit code ${code}: ${output}`)))
  })

it.each([
  { path: "README.md", heading: "Walk-through", blocks: 11 },
  { path: "docs/authentication.md", heading: undefined, blocks: 15 },
  { path: "docs/sync.md", heading: undefined, blocks: 13 },
  { path: "docs/tasks.md", heading: undefined, blocks: 21 }
])("prints what $path says it prints", async ({ blocks, heading, path }) => {
  const document = steps(path, heading)
  expect(document.length).toBe(blocks)
  const output = await bash(document.map(({ commands }) => commands).join(`\necho; echo "${separator}"\n`))
  const printed = output.split(separator).map((part) => constant(part.trim()))
  expect(printed).toEqual(document.map((step) => step.printed))
})
