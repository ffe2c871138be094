/** The example of a derived client, run as its comment says. */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import process from "node:process"
import { expect, it } from "vitest"
import { useServer } from "../support/TestServer.ts"

const server = useServer()
const example = fileURLToPath(new URL("../../examples/typed-client.ts", import.meta.url))

it("registers, creates, completes, and meets a typed 412", async () => {
  const run = "Deno" in globalThis ? ["run", "-A", example] : [example]
  const output = await new Promise<string>((done, failed) => {
    const child = spawn(process.execPath, [...run, server.url])
    let text = ""
    child.stdout.on("data", (chunk) => text += chunk)
    child.stderr.on("data", (chunk) => text += chunk)
    child.on("error", failed)
    child.on("close", (code) => code === 0 ? done(text) : failed(new Error(text)))
  })
  expect(output).toMatch(/registered as ada-\S+@example\.com/)
  expect(output).toContain("created Water the plants, version 1")
  expect(output).toMatch(/completed at \S+, version 2/)
  expect(output).toContain("changed meanwhile")
  expect(output).toContain("still called Water the plants")
})
