/** If-Match and If-None-Match (RFC 9110 13.1): entity tags of tasks are versions in double quotes. */
import { Schema } from "effect"

export interface EntityTags {
  /** `*`: whatever is there */
  readonly any: boolean
  readonly versions: ReadonlyArray<number>
}

/** An element of the list, which may be empty (RFC 9110 5.6.1), and what follows it. */
const element = /[ \t]*(?:(W\/)?"([\x21\x23-\x7e\x80-\xff]*)")?[ \t]*(?:,|$)/y

/** The tags of a header; undefined where it is no list of them. Tags that are no versions of ours match nothing. */
const parse = (header: string, weak: "matches" | "differs"): EntityTags | undefined => {
  if (header.trim() === "*") return { any: true, versions: [] }
  const versions: Array<number> = []
  let tags = 0
  for (let end = 0; end < header.length; end = element.lastIndex) {
    element.lastIndex = end
    const match = element.exec(header)
    if (match === null) return undefined
    const [, isWeak, tag] = match
    if (tag === undefined) continue
    tags++
    if ((isWeak === undefined || weak === "matches") && /^[1-9]\d{0,14}$/.test(tag)) versions.push(Number(tag))
  }
  return tags === 0 ? undefined : { any: false, versions }
}

/** A header that names entity tags. */
export const EntityTagsHeader = Schema.String.check(
  Schema.makeFilter((header) => parse(header, "matches") !== undefined || "must be a list of entity tags, or *", {
    // as clients should write it: empty elements and obs-text, which are read too, are left out
    toJsonSchema: () => ({ pattern: '^(?:\\*|(?:W/)?"[!#-~]*"(?: *, *(?:W/)?"[!#-~]*")*)$' })
  })
).annotate({ examples: ['"7"'] })

/** The tags of a header that is one. Our tags are strong: where `weak` differs, a weak tag never matches (RFC 9110 8.8.3.2). */
export const entityTags = (header: string, weak: "matches" | "differs"): EntityTags =>
  parse(header, weak) ?? { any: false, versions: [] }
