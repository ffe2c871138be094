/** What the documents print, run exactly as it is printed. */
import { spawn } from "node:child_process"
import process from "node:process"
import { expect, it } from "vitest"
import { useServer } from "../support/TestServer.ts"
import { constant, stepsOf, textOf } from "./documents.ts"

const server = useServer()

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
  { path: "README.md", heading: "Walk-through", blocks: 13 },
  { path: "docs/authentication.md", heading: undefined, blocks: 15 },
  { path: "docs/sync.md", heading: undefined, blocks: 13 },
  { path: "docs/tasks.md", heading: undefined, blocks: 21 },
  { path: "docs/dates.md", heading: undefined, blocks: 19 }
])("prints what $path says it prints", async ({ blocks, heading, path }) => {
  const document = stepsOf(textOf(path, heading))
  expect(document.length).toBe(blocks)
  const output = await bash(document.map(({ commands }) => commands).join(`\necho; echo "${separator}"\n`))
  const printed = output.split(separator).map((part) => constant(part.trim()))
  expect(printed).toEqual(document.map((step) => step.printed))
})
