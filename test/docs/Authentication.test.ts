/** docs/authentication.md tells what to do about every failure of the auth endpoints. */
import { expect, it } from "vitest"
import { OpenApi } from "effect/http-api"
import { Api } from "../../src/api/Api.ts"
import { problemCatalog } from "../../src/api/ProblemCatalog.ts"
import { textOf } from "./documents.ts"

const document = OpenApi.fromApi(Api)
const catalog: Readonly<Record<string, { readonly status: number }>> = problemCatalog

const section = textOf("docs/authentication.md", "What each code wants")
/** status by code */
const rows = new Map(
  [...section.matchAll(/^\| (\d{3}) +\| `(\w+)` +\| \S/gm)].map(([, status, code]) => [code!, Number(status)] as const)
)

it("has a row for every code of the auth endpoints that asks something of the client's user", () => {
  const codes = new Set<string>()
  const visit = (node: unknown): void => {
    if (typeof node !== "object" || node === null) return
    for (const [name, value] of Object.entries(node)) {
      const code = name === "$ref" && typeof value === "string" ? value.split("/").at(-1)! : undefined
      if (code !== undefined && code in catalog) codes.add(code)
      visit(value)
    }
  }
  for (const [path, item] of Object.entries(document.paths)) {
    if (!path.startsWith("/api/v1/auth/")) continue
    visit(item)
  }
  const expected = [...codes].filter((code) => [401, 403, 409, 422, 429].includes(catalog[code]!.status))
  expect(expected.length).toBeGreaterThan(12)
  expect(expected.filter((code) => !rows.has(code))).toEqual([])
})

it("gives each code its status", () => {
  for (const [code, status] of rows) {
    // the last ones are for what a server may be set to
    const known = catalog[code]?.status ?? { rate_limited: 429, external_account: 409, token_too_old: 401 }[code]
    expect({ code, status }).toEqual({ code, status: known })
  }
})
