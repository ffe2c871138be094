/** If-Match and If-None-Match (RFC 9110 13.1): entity tags of tasks are versions in double quotes. */
import { Effect } from "effect"
import { MalformedHeader } from "../api/Problems.ts"

/** The strong tags of a list, and whether it is `*`. Weak tags never match: our tags are strong. */
export interface EntityTags {
  readonly any: boolean
  readonly versions: ReadonlyArray<number>
}

const tag = /^(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"$/

/** Reads a header; fails with `malformed_header` where it is not a list of entity tags. */
export const parseEntityTags = (
  header: string,
  weak: "matches" | "differs"
): Effect.Effect<EntityTags, MalformedHeader> => {
  if (header.trim() === "*") return Effect.succeed({ any: true, versions: [] })
  const versions: Array<number> = []
  // no version has a comma, so a tag that has one never matches and may be split
  for (const item of header.split(",")) {
    const match = tag.exec(item.trim())
    if (match === null) return Effect.fail(new MalformedHeader({ detail: "not a list of entity tags" }))
    const isWeak = match[1] !== undefined
    if ((!isWeak || weak === "matches") && /^[1-9]\d{0,14}$/.test(match[2]!)) versions.push(Number(match[2]))
  }
  return Effect.succeed({ any: false, versions })
}
