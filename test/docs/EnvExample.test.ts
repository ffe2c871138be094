/** .env.example explains every setting, and shows its default. */
import { readFileSync } from "node:fs"
import { parseEnv } from "node:util"
import { Effect } from "effect"
import { expect, it } from "vitest"
import { read } from "../../src/Settings.ts"

const text = readFileSync(new URL("../../.env.example", import.meta.url), "utf8")
/** with what the image sets for itself, which is commented out so that `docker run --env-file` leaves it alone */
const example = parseEnv(text.replaceAll(/^# ([A-Z_]+=)/gm, "$1"))
const JWT_SECRET = "a test secret with more than 32 bytes in it"

it("has every variable that is read, and no other", async () => {
  const names = new Set<string>()
  const environment = new Proxy<Record<string, string>>({ BETTER_AUTH_SECRET: JWT_SECRET }, {
    get: (target, name: string) => {
      names.add(name)
      return target[name]
    }
  })
  await Effect.runPromise(read(environment))
  expect(Object.keys(example).sort()).toEqual([...names].sort())
})

it("shows the defaults", async () => {
  const shown = await Effect.runPromise(read({ ...example, JWT_SECRET }))
  const defaults = await Effect.runPromise(read({ JWT_SECRET }))
  expect(JSON.stringify(shown)).toBe(JSON.stringify(defaults))
})
