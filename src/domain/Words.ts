/** Words as they are searched for: found in any language, told apart by letters and digits alone. */

const segmenter = new Intl.Segmenter(undefined, { granularity: "word" })

/** Code points of a word that count: longer ones are found by their beginning. */
const maximumLength = 50

/** Accents of the scripts that have them as marks of their own once taken apart; other marks are part of the letter. */
const accents = /[\u0300-\u036f]/g

/** One form for what differs in case, accents or compatibility: ß is ss, and Turkish ı and İ are i. */
export const fold = (text: string): string =>
  text.normalize("NFKD").toUpperCase().toLowerCase().replaceAll("ς", "σ").normalize("NFKD").replace(accents, "")
    .normalize("NFC")

/** The words of a text, folded, each once. White space and signs are no words. */
export const wordsOf = (text: string): ReadonlyArray<string> => {
  const words = new Set<string>()
  for (const { isWordLike, segment } of segmenter.segment(fold(text))) {
    if (isWordLike) words.add(Array.from(segment).slice(0, maximumLength).join(""))
  }
  return [...words]
}
