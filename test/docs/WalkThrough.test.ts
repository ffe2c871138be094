/** What the documents print, run exactly as it is printed. */
import { expect, it } from "vitest"
import { useServer } from "../support/TestServer.ts"
import { stepsOf, textOf } from "./documents.ts"
import { printedBy } from "./shell.ts"

const server = useServer()

it.each([
  { path: "README.md", heading: "Walk-through", blocks: 13 },
  { path: "docs/authentication.md", heading: undefined, blocks: 15 },
  { path: "docs/sync.md", heading: undefined, blocks: 13 },
  { path: "docs/tasks.md", heading: undefined, blocks: 21 },
  { path: "docs/dates.md", heading: undefined, blocks: 19 }
])("prints what $path says it prints", async ({ blocks, heading, path }) => {
  const document = stepsOf(textOf(path, heading))
  expect(document.length).toBe(blocks)
  expect(await printedBy(document, { API: server.url })).toEqual(document.map((step) => step.printed))
})
