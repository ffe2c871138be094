/** Every endpoint of the API object, as tests walk them. */
import type { Schema } from "effect"
import { HttpApi, type HttpApiEndpoint } from "effect/http-api"
import { Api } from "../../src/api/Api.ts"
import { schemaExamples } from "../../src/api/OpenApiDocument.ts"

export interface Endpoint {
  readonly name: string
  readonly method: string
  readonly path: string
  /** the named schemas of its bodies */
  readonly bodies: ReadonlyMap<string, Schema.Top>
  /** an example of its JSON body; undefined where it has none */
  readonly body: unknown
  /** the same as a form, where it takes one */
  readonly form: string | undefined
}

/** A check that is added to a named schema carries the name. */
const nameOf = ({ ast }: Schema.Top): string => {
  const name = ast.annotations?.["identifier"] ?? ast.checks?.at(-1)?.annotations?.["identifier"]
  if (typeof name !== "string") throw new Error("a body's schema has no identifier")
  return name
}

export const endpoints: ReadonlyArray<Endpoint> = (() => {
  const found: Array<Endpoint> = []
  HttpApi.reflect(Api, {
    onGroup() {},
    onEndpoint: ({ endpoint }) => {
      const { method, path, payload } = endpoint as HttpApiEndpoint.Top
      const bodies = new Map(
        [...payload.values()].flatMap(({ schemas }) =>
          schemas.map((schema) => [nameOf(schema as Schema.Top), schema as Schema.Top] as const)
        )
      )
      const [first] = bodies.keys()
      const body = first === undefined ? undefined : schemaExamples[first]
      const isForm = payload.has("application/x-www-form-urlencoded")
      found.push({
        name: `${method} ${path}`,
        method,
        path,
        bodies,
        body,
        form: isForm ? new URLSearchParams(body as Record<string, string>).toString() : undefined
      })
    }
  })
  return found
})()
