/** Keyset pages: how many, from where, and where the next one is. */
import { Schema, SchemaTransformation } from "effect"
import { OpenApi } from "effect/http-api"

/** A whole number in a query, in digits alone. */
export const wholeNumber = (minimum: number, maximum: number) =>
  Schema.String.check(
    Schema.makeFilter((text) =>
      /^\d{1,9}$/.test(text) && Number(text) >= minimum && Number(text) <= maximum ||
      `must be a whole number from ${minimum} to ${maximum}`
    )
  ).pipe(Schema.decodeTo(Schema.Int, SchemaTransformation.transform({ decode: Number, encode: String })))

/** Tasks on a page: 1 to 100, 50 when the request does not say. */
export const Limit = wholeNumber(1, 100)
export const defaultLimit = 50

/** Documents a parameter as the whole number that is meant; derived from its schema it is the text of one. */
export const integerParameter = (name: string, minimum: number, maximum: number, byDefault: number) =>
  OpenApi.annotations({
    transform: (operation) => ({
      ...operation,
      parameters: operation["parameters"].map((parameter: { readonly name: string }) =>
        parameter.name === name
          ? { ...parameter, schema: { type: "integer", minimum, maximum, default: byDefault } }
          : parameter
      )
    })
  })

/** Where a page begins. Opaque: take it from the answer before. */
export const Cursor = Schema.String

/** `Link: <…>; rel="next"` (RFC 8288) while more follow. */
export const LinkHeader = Schema.String.annotate({
  description: 'RFC 8288: the next page as rel="next", while there is one'
})

/** How many there are on all pages together, where `count=exact` asks for it. */
export const TotalCountHeader = Schema.FiniteFromString.annotate({ description: "how many tasks all pages have" })
