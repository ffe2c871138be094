/** Text that arrives from outside: what is refused, what is normalised, how long it may be. */
import { Schema, SchemaTransformation } from "effect"

/** How text is documented before it is normalised: the fragments of JSON Schema that describe what is sent. */
export interface TextDocumentation {
  readonly description?: string
  readonly examples?: readonly [string, ...Array<string>]
  readonly format?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly pattern?: string
}

const isStorable = (text: string): boolean => text.isWellFormed() && !text.includes("\u0000")

/**
 * A string that PostgreSQL can store and that reads back unchanged: no NUL (the database refuses it) and no lone
 * surrogate (it would silently be stored as U+FFFD).
 */
export const text = ({ description, examples, ...fragment }: TextDocumentation = {}) =>
  Schema.String.check(
    Schema.makeFilter((text: string) => isStorable(text) || "must not contain NUL or a lone surrogate", {
      expected: "text without NUL and lone surrogates",
      toJsonSchema: () => ({
        ...fragment,
        ...(description !== undefined && { description }),
        ...(examples && { examples })
      })
    })
  )

/** The number of Unicode code points, which is what users call characters (an emoji outside the BMP counts once). */
export const codePoints = (text: string): number => {
  let count = 0
  for (const _ of text) count++
  return count
}

/** Between `minimum` and `maximum` code points, both included. */
export const length = (minimum: number, maximum: number) =>
  Schema.makeFilter<string>((text) => {
    const count = codePoints(text)
    if (count < minimum) return minimum === 1 ? "must not be empty" : `must have at least ${minimum} characters`
    return count <= maximum || `must have at most ${maximum} characters`
  }, { toJsonSchema: () => ({ ...(minimum > 0 && { minLength: minimum }), maxLength: maximum }) })

const normalised = (
  minimum: number,
  maximum: number,
  documentation: TextDocumentation,
  normalise: (text: string) => string
) =>
  text({ ...(minimum > 0 && { minLength: minimum }), maxLength: maximum, ...documentation }).pipe(
    Schema.decodeTo(
      Schema.String.check(length(minimum, maximum)),
      SchemaTransformation.transform({ decode: normalise, encode: (text: string) => text })
    )
  )

/** Text in Unicode normalisation form C, so that two spellings of one word are one word. */
export const nfc = (minimum: number, maximum: number, documentation: TextDocumentation = {}) =>
  normalised(minimum, maximum, documentation, (text) => text.normalize("NFC"))

/** As `nfc`, without white space around it. */
export const trimmed = (minimum: number, maximum: number, documentation: TextDocumentation = {}) =>
  normalised(minimum, maximum, { pattern: "\\S", ...documentation }, (text) => text.normalize("NFC").trim())
