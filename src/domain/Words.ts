/** Words as they are searched for: found in any language, told apart by letters and digits alone. */

// of one language on every machine: what is stored by one is searched for by another
const segmenter = new Intl.Segmenter("en", { granularity: "word" })

/** Code points of a word that count: longer ones are found by their beginning. */
const maximumLength = 50

/**
 * Accents of the scripts that have them as marks of their own once taken apart, and the points of Hebrew and Arabic, which
 * most texts leave out; other marks are part of the letter.
 */
const accents = /[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u0652\u0670]/g

const ascii = /^[\0-\x7f]*$/

/** What nobody sees or types, as soft hyphens and joiners. The zero-width space is not among it: it stands between words. */
const invisible = /(?!\u200b)\p{Default_Ignorable_Code_Point}/gu

/** One form for what differs in case, accents or compatibility: ß and ẞ are ss, and Turkish ı and İ are i. */
export const fold = (text: string): string =>
  ascii.test(text)
    ? text.toLowerCase()
    : text.replace(invisible, "").normalize("NFKD").toLowerCase().toUpperCase().toLowerCase().replaceAll("ς", "σ")
      .normalize("NFKD").replace(accents, "").normalize("NFC")

/** Signs between letters, of which runtimes do not agree whether they are part of a word. */
const separators = /:|(?<!\d)\.|\.(?!\d)/g

/** What the segmenter finds in folded ASCII without separators, at a tenth of its price (UAX #29, WB5 to WB13b). */
const asciiWords = /[a-z0-9_]+(?:(?:(?<=[a-z])'(?=[a-z])|(?<=[0-9])[.,;'](?=[0-9]))[a-z0-9_]+)*/g

/** Iteration marks by themselves are letters, which the segmenter takes for signs: 々, 〻 and the Chinese one. */
const letter = /\p{L}/u

/** The words of a text, folded, each once. White space and signs are no words. */
export const wordsOf = (text: string): ReadonlyArray<string> => {
  const words = new Set<string>()
  // no word has a space in it, so only what is around a letter or sign beyond ASCII takes the long way
  for (const part of ascii.test(text) ? [text] : text.split(" ")) {
    const folded = fold(part).replace(separators, " ")
    if (ascii.test(folded)) {
      for (const word of folded.match(asciiWords) ?? []) if (word !== "_") words.add(word.slice(0, maximumLength))
    } else {
      for (const { isWordLike, segment } of segmenter.segment(folded)) {
        if (isWordLike || letter.test(segment)) words.add(Array.from(segment).slice(0, maximumLength).join(""))
      }
    }
  }
  return [...words]
}
