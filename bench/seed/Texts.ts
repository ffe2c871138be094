/** What people write into tasks, and the terms by which the application finds it. */
import { UserId } from "../../src/domain/User.ts"
import { tagTerms, wordTerms } from "../../src/tasks/Terms.ts"

/** A text that many tasks share; each adds its own number to the title. */
export interface Text {
  readonly title: string
  readonly description: string | null
  readonly tags: ReadonlyArray<string>
  readonly priority: number
  /** without the part of the owner's id that each begins with */
  readonly title_terms: ReadonlyArray<string>
  readonly description_terms: ReadonlyArray<string>
  readonly tag_terms: ReadonlyArray<string>
}

export const textCount = 10_000

/** In a tenth of all texts, and in no other word's beginning. */
export const frequentWord = "weekly"
/** A tenth of all tasks have this tag. */
export const frequentTag = "errands"
/** In ten tasks of each user, however many there are. */
export const rareWord = "anniversary"

const verbs = ["Call", "Water", "Buy", "Send", "Review", "Book", "Clean", "Prepare", "Pay", "Fix", "Order", "Return"]
  .concat(["Write", "Read", "Renew", "Plan", "Cancel", "Check", "Pack", "Paint", "Repair", "Sort", "Sign", "Print"])
const things = ["the plants", "invoice", "dentist", "train tickets", "report", "slides", "kitchen", "passport"]
  .concat(["groceries", "winter tyres", "insurance", "contract", "bicycle", "birthday cake", "library books", "rent"])
  .concat(["budget", "newsletter", "backup", "heating", "garage", "curtains", "crème brûlée", "Übungsblatt", "café"])
const whom = [
  "for Anna",
  "with Jonas",
  "for the office",
  "at school",
  "before the holidays",
  "in Zürich",
  "on the balcony"
]
  .concat(["for the team", "with the landlord", "for Mum", "at the town hall", "until Friday", "for 3 people", ""])
const notes = [
  "Ask for the discount that they don't mention on the website.",
  "The number is on the old letter in the drawer."
]
  .concat(["Every other day, and more often when it is hot.", "Needs two signatures and a copy of the first page."])
  .concat(["See https://example.org/orders for the details; delivery takes 2.5 weeks.", "Not before 9:30."])
  .concat(["Take photographs first — it has to look the same afterwards.", "Cheaper by the dozen, says Zoë."])
const tags: ReadonlyArray<readonly [tag: string, share: number]> = [
  ["home", 0.25],
  ["Work", 0.3],
  [frequentTag, 0.1],
  ["family", 0.12],
  ["health", 0.06],
  ["finance", 0.08],
  ["school", 0.05],
  ["garden", 0.04],
  ["waiting for", 0.07],
  ["someday", 0.05],
  ["urlaub", 0.02]
]
/** How many of a hundred tasks have each priority, from none to urgent. */
const priorities = [50, 15, 20, 10, 5]

/** Numbers from 0 to 1, the same in every run (mulberry32). */
const numbers = (seed: number) => () => {
  seed = seed + 0x6d2b79f5 | 0
  let value = Math.imul(seed ^ seed >>> 15, 1 | seed)
  value = value + Math.imul(value ^ value >>> 7, 61 | value) ^ value
  return ((value ^ value >>> 14) >>> 0) / 2 ** 32
}

const someone = UserId.make("00000000-0000-7000-8000-000000000000", { disableChecks: true })
const scope = 4
const withoutScope = (terms: ReadonlyArray<string>) => terms.map((term) => term.slice(scope))

export const texts = (): ReadonlyArray<Text> => {
  const next = numbers(1)
  const oneOf = <A>(items: ReadonlyArray<A>): A => items[Math.floor(next() * items.length)]!
  const rankOf = (share: number) => {
    let sum = 0
    return priorities.findIndex((it) => (sum += it) > share * 100)
  }
  return Array.from({ length: textCount }, (_, index) => {
    const often = index % 10 === 3 ? ` (${frequentWord})` : ""
    const title = `${oneOf(verbs)} ${oneOf(things)} ${oneOf(whom)}`.trim() + often
    const description = next() < 0.4 ? null : next() < 0.5 ? oneOf(notes) : `${oneOf(notes)} ${oneOf(notes)}`
    const ownTags = tags.flatMap(([tag, share]) => next() < share ? [tag] : [])
    return {
      title,
      description,
      tags: ownTags,
      priority: rankOf(next()),
      title_terms: withoutScope(wordTerms(someone, title)),
      description_terms: withoutScope(wordTerms(someone, description)),
      tag_terms: withoutScope(tagTerms(someone, ownTags))
    }
  })
}
