import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { wordsOf } from "../../src/domain/Words.ts"

const segmenter = new Intl.Segmenter("en", { granularity: "word" })

/** As plainly as it can be said. */
const expected = (text: string) => {
  const folded = text.replace(/(?!\u200b)\p{Default_Ignorable_Code_Point}/gu, "").normalize("NFKD").toLowerCase()
    .toUpperCase().toLowerCase().replaceAll("ς", "σ").normalize("NFKD")
    .replace(/[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u0652\u0670]/g, "")
    .normalize("NFC").replace(/:|(?<!\d)\.|\.(?!\d)/g, " ")
  return [
    ...new Set(
      [...segmenter.segment(folded)].flatMap(({ isWordLike, segment }) =>
        isWordLike || /\p{L}/u.test(segment) ? [Array.from(segment).slice(0, 50).join("")] : []
      )
    )
  ]
}

describe("the words of a text", () => {
  it("are those that Unicode's segmentation finds, however they are found", () => {
    const unit = fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(..."abzAZ0189__''..,,;::-  \t\n\r\"/\\@#") },
      { weight: 1, arbitrary: fc.string({ unit: "binary-ascii", minLength: 1, maxLength: 1 }) },
      {
        weight: 1,
        arbitrary: fc.constantFrom(..."éßœİıςΣ’—…·€½ﬁ１ａ．：_\u00ad\u200d\u0301\u00a0\u2003東京でガラスซื้อ한글😀אב׳")
      },
      { weight: 1, arbitrary: fc.string({ unit: "grapheme", minLength: 1, maxLength: 1 }) },
      { weight: 1, arbitrary: fc.string({ unit: "binary", minLength: 1, maxLength: 1 }) }
    )
    const text = fc.array(unit, { maxLength: 40 }).map((units) => units.join(""))
    const ascii = fc.string({ unit: "binary-ascii", maxLength: 120 })
    fc.assert(
      fc.property(fc.oneof(text, ascii, fc.stringMatching(/^[a-c0-2_'.,; ]{0,20}$/)), (text) => {
        expect(wordsOf(text)).toEqual(expected(text))
      }),
      { numRuns: 3_000 }
    )
  })

  it("are also the letters that the segmentation takes for signs", () => {
    for (const mark of ["々", "〻", "\u{16fe3}"]) expect(wordsOf(mark)).toEqual([mark])
    expect(wordsOf("a々b 〻!")).toEqual(["a", "々", "b", "〻"])
    expect(wordsOf("人々、時々刻々")).toEqual(["人々", "時々刻々"])
  })

  it("are the same on every runtime where letters are joined by a sign", () => {
    expect(wordsOf("see example.org/a:b, v1.2.3 at 9:30; e.g. don't")).toEqual(
      ["see", "example", "org", "a", "b", "v1.2.3", "at", "9", "30", "e", "g", "don't"]
    )
  })
})
