/**
 * What search and tags are looked up by: terms, of which each task has an inverted index (PostgreSQL's tsvector, by GIN).
 * A term begins with a part of its owner's id, so that nobody's search gets slower by other people's tasks.
 */
import { wordsOf } from "../domain/Words.ts"
import type { UserId } from "../domain/User.ts"

const scope = (userId: UserId) => userId.slice(-4)

/** The terms of a text. */
export const wordTerms = (userId: UserId, text: string | null): ReadonlyArray<string> =>
  wordsOf(text ?? "").map((word) => `${scope(userId)}${word}`)

/** A whole tag: tags that differ in nothing but case are one, and no word begins with this sign. */
const tagTerm = (userId: UserId, tag: string) => `${scope(userId)}#${tag.toLowerCase()}`

/** The terms of tags: each as a whole, and its words. */
export const tagTerms = (userId: UserId, tags: ReadonlyArray<string>): ReadonlyArray<string> => [
  ...new Set(tags.flatMap((tag) => [tagTerm(userId, tag), ...wordTerms(userId, tag)]))
]

const quoted = (term: string) => `'${term.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`

/** A tsquery for tasks that have all of these tags, and words that begin with these. */
export const termQuery = (
  userId: UserId,
  { tags, words }: { readonly tags: ReadonlyArray<string>; readonly words: ReadonlyArray<string> }
): string =>
  [
    ...tags.map((tag) => quoted(tagTerm(userId, tag))),
    ...words.map((word) => `${quoted(scope(userId) + word)}:*`)
  ].join(" & ")
