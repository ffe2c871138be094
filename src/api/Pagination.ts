/** Keyset pages: how many, from where, and where the next one is. */
import { Schema } from "effect"

/** Tasks on a page: 1 to 100, 50 when the request does not say. */
export const Limit = Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 1, maximum: 100 }))
export const defaultLimit = 50

/** Where a page begins. Opaque: take it from the Link header of the page before. */
export const Cursor = Schema.String

/** `Link: <…>; rel="next"` (RFC 8288) while more follow. */
export const LinkHeader = Schema.String.annotate({
  description: 'RFC 8288: the next page as rel="next", while there is one'
})
