import fc from "fast-check"
import { beforeAll, describe, expect, it } from "vitest"
import { type Account, useServer } from "../support/TestServer.ts"
import { create, families, having, patch, remove, type TaskAnswer } from "./families.ts"

const server = useServer()
let user: Account
beforeAll(async () => {
  user = await server.register()
})

const search = async (q: string, account = user, query = ""): Promise<ReadonlyArray<TaskAnswer>> =>
  having(
    200,
    await server.request("GET", `/api/v1/tasks?limit=100&q=${encodeURIComponent(q)}${query}`, {
      token: account.access_token
    })
  ).json

/** Whether a search by an account of its own finds the only task there is. */
const finds = async (task: Record<string, unknown>, q: string): Promise<boolean> => {
  const { id } = await create(server, user, { title: "unrelated", ...task })
  const found = (await search(q)).map((task) => task.id)
  await remove(server, user, id)
  expect(found.length === 0 || (found.length === 1 && found[0] === id), `only its own: ${q}`).toBe(true)
  return found.length === 1
}

const each = (pairs: ReadonlyArray<readonly [title: string, q: string]>) => pairs.map(([title, q]) => ({ title, q }))

describe("q finds whatever the case and the accents", () => {
  it.each(each([
    ["Café", "cafe"],
    ["cafe", "CAFÉ"],
    ["Café", "cafe\u0301"],
    ["cafe\u0301", "café"],
    ["Ünïcödé", "unicode"],
    ["Tiếng Việt", "tieng viet"],
    ["Łódź", "łódź"],
    ["ångström", "A\u030angstro\u0308m"],
    ["\u212Bngström", "ångström"],
    ["Straße", "STRASSE"],
    ["Straße", "strasse"],
    ["STRASSE", "straße"],
    ["GROẞ", "groß"],
    ["groß", "GROẞ"],
    ["İstanbul", "istanbul"],
    ["istanbul", "İSTANBUL"],
    ["ΣΊΣΥΦΟΣ", "σίσυφος"],
    ["σίσυφος", "ΣΙΣΥΦΟΣ"],
    ["Σίσυφος", "σισυφοσ"],
    ["Άνθρωπος", "ανθρωπος"],
    ["Ёлка", "елка"],
    ["ПРИВЕТ", "привет"],
    ["ǅungla", "ǆUNGLA"],
    ["ﬁsh", "FISH"],
    ["ＴＡＳＫ", "ｔａｓｋ"],
    ["مَرْحَبًا بالعالم", "مرحبا"],
    ["שָׁלוֹם עולם", "שלום"],
    ["Ὀδυσσεύς", "οδυσσευς"],
    ["Zażółć gęślą jaźń", "zazołc gesla jazn"],
    ["ᲐᲑᲒ", "აბგ"],
    ["Հայաստան", "ՀԱՅԱՍՏԱՆ"],
    ["𐐀𐐁", "𐐨𐐩"]
  ]))("$q in $title", async ({ q, title }) => {
    expect(await finds({ title }, q)).toBe(true)
  })
})

describe("q finds words of languages", () => {
  it.each(each([
    ["ฉันรักภาษาไทย", "ภาษา"],
    ["ฉันรักภาษาไทย", "ฉันรักภาษาไทย"],
    ["牛乳を買う", "牛乳"],
    ["牛乳を買う", "買う"],
    ["我们去买牛奶", "牛奶"],
    ["我们去买牛奶", "我们"],
    ["東京都庁に行く", "東京"],
    ["우유를 사다", "우유"],
    ["दूध खरीदना", "दूध"],
    ["می‌خواهم", "می‌خواهم"],
    ["مرحبا بالعالم", "بالعالم"],
    ["don't panic", "don't"],
    ["don't panic", "don"],
    ["home-office desk", "office"],
    ["pay 2026-11-20", "2026"],
    ["milk 🥛 and 👨‍👩‍👧 bread", "bread"],
    ["👨‍👩‍👧 family", "👨‍👩‍👧 family"],
    ["🇩🇪 Berlin", "berlin"],
    ["see https://example.com/milk", "milk"],
    ["(milk)", "milk"],
    ["“milk”", "milk"],
    ["\u202Emilk\u202C", "milk"],
    ["\u2066milk\u2069", "milk"],
    ["milk\u200Bbread", "milk"],
    ["\u200Bmilk", "milk"],
    ["milk", "\uFEFFmilk\u200B"],
    ["co\u00ADoperate", "cooperate"],
    ["a\tb\nmilk", "milk"],
    ["a\u00A0milk", "milk"]
  ]))("$q in $title", async ({ q, title }) => {
    expect(await finds({ title }, q)).toBe(true)
  })
})

describe("q finds nothing by", () => {
  it.each([
    ...[
      "",
      " ",
      "%",
      "_",
      "\\",
      "%%",
      "%_%",
      "*",
      "?",
      ".",
      "-",
      "--",
      "'",
      '"',
      "''",
      "&",
      "|",
      "!",
      ":*",
      "<->",
      "()"
    ],
    ...[
      "😀",
      "👨‍👩‍👧",
      "\u200B",
      "\u200D\uFE0F",
      "\u0301",
      "\uFEFF",
      "\u202E",
      "…",
      "¿",
      "€",
      "\t",
      "\u00A0",
      "\u3000",
      "\u0001"
    ]
  ])("%j, which has neither letter nor digit", async (q) => {
    const titles = ["milk", "% _ \\ * ' \" & | ! :* <-> () 😀 👨‍👩‍👧 \u0301 … ¿ €"]
    for (const title of titles) expect(await finds({ title, description: q === "" ? null : `x ${q}` }, q)).toBe(false)
  })

  it.each(each([
    ["milk", "ilk"],
    ["milk", "m%k"],
    ["milk", "m_lk"],
    ["milk", "mil_"],
    ["milk", "m*k"],
    ["milk", "m.lk"],
    ["milk", "[m]ilk"],
    ["milk", "milk bread"],
    ["milk", "milk | bread"],
    ["milk", "milk OR bread"],
    ["milk", "milk <-> bread"],
    ["milk", "milks"],
    ["milk", "milk'; drop table tasks; --"],
    ["milk", "x' or '1'='1"],
    ["ab", "b"],
    ["café", "caff"],
    ["10%", "1 0"]
  ]))("$q in $title", async ({ q, title }) => {
    expect(await finds({ title }, q)).toBe(false)
  })
})

it("R59 takes the operators of any search language for what stands between words", async () => {
  for (
    const q of [
      ...["milk%", "%milk%", "milk\\", "\\milk", "milk:*", "!milk", "milk & !", "milk &"],
      ...["'milk'", '"milk', "milk'", "(milk", "milk)", "((milk", "milk <->", "<-> milk", "$milk", "{milk}"],
      ...["*milk", "milk*", "milk~", "^milk$", "milk|", "|milk", "milk;", "milk--", "-milk", "+milk", "@milk", "#milk"]
    ]
  ) {
    const matches = await finds({ title: "milk" }, q)
    expect({ q, matches }).toEqual({ q, matches: true })
  }
})

describe.each(families)("q of GET $name", ({ tasks }) => {
  it("looks for every word in any of title, description and tags", async () => {
    const account = await server.register()
    const { id } = await create(server, account, {
      title: "Buy oat milk",
      description: "From the Märkischer shop",
      tags: ["Deep Work", "home-office", "Über"]
    })
    await create(server, account, { title: "Buy bread" })
    const found = async (q: string) =>
      having(
        200,
        await server.request("GET", `${tasks(account)}?count=exact&q=${encodeURIComponent(q)}`, {
          token: account.access_token
        })
      ).json.map((task: TaskAnswer) => task.id)
    for (
      const q of [
        ...["milk", "mil", "m", "buy milk", "milk buy", "MILK BUY oat", "milk milk", "milk mil m", "markisch milk"],
        ...["work", "wor deep", "office", "uber", "home office", "home-office", "deep work milk from", "o s f"]
      ]
    ) {
      expect([q, (await found(q)).includes(id)]).toEqual([q, true])
    }
    for (const q of ["ilk", "milk bread", "eep", "milk x", "buymilk", "oatmilk"]) {
      expect([q, await found(q)]).toEqual([q, []])
    }
    expect(await found("buy")).toHaveLength(2)
  })
})

it("finds by what a task says now, by whichever way it came to say it", async () => {
  const account = await server.register()
  const token = account.access_token
  const found = async (q: string, query = "") => (await search(q, account, query)).map(({ title }) => title)
  const { id } = await create(server, account, { title: "first", description: "second", tags: ["third"] })
  await patch(server, account, id, { title: "fourth" })
  expect([await found("first"), await found("fourth"), await found("second third")]).toEqual([[], ["fourth"], [
    "fourth"
  ]])
  await patch(server, account, id, { description: null, tags: [] })
  expect([await found("second"), await found("third"), await found("fourth")]).toEqual([[], [], ["fourth"]])
  having(200, await server.request("PUT", `/api/v1/tasks/${id}`, { token, body: { title: "fifth", tags: ["sixth"] } }))
  expect([await found("fourth"), await found("sixth")]).toEqual([[], ["fifth"]])
  const operations = [
    { op: "update", id, task: { description: "seventh" } },
    { op: "create", task: { title: "eighth", tags: ["seventh"] } }
  ]
  having(200, await server.request("POST", "/api/v1/tasks/batch", { token, body: { mode: "atomic", operations } }))
  expect((await found("seventh")).toSorted()).toEqual(["eighth", "fifth"])
  having(200, await server.request("POST", "/api/v1/tasks/bulk/complete", { token, body: { ids: [id] } }))
  expect(await found("seventh fifth")).toEqual(["fifth"])
  having(200, await server.request("POST", "/api/v1/tasks/bulk/delete", { token, body: { ids: [id] } }))
  expect([await found("fifth"), await found("fifth", "&deleted=true")]).toEqual([[], ["fifth"]])
  having(200, await server.request("POST", `/api/v1/tasks/${id}/restore`, { token }))
  expect([await found("fifth"), await found("fifth", "&deleted=true")]).toEqual([["fifth"], []])
})

describe("what is as long as it may be", () => {
  const ideographs = (count: number) =>
    Array.from({ length: count }, (_, index) => String.fromCodePoint(0x4e00 + index * 7))
  const letters = "abcdefghijklmnopqrstuvwxyz"
  const words = (count: number) =>
    Array.from({ length: count }, (_, index) => `${letters[index % 26]}${letters[Math.floor(index / 26) % 26]}`)

  it.each([
    { name: "one word of 1,000 letters", description: "w".repeat(1_000), q: "w".repeat(100) },
    { name: "one word of 1,000 letters outside of the BMP", description: "𝒜".repeat(1_000), q: "𝒜".repeat(100) },
    { name: "one word of 1,000 rare ideographs", description: "𠀀".repeat(1_000), q: "𠀀" },
    { name: "1,000 different ideographs", description: ideographs(1_000).join(""), q: ideographs(1)[0]! },
    {
      name: "333 different words",
      description: words(333).join(" ").slice(0, 1_000),
      q: words(300).slice(280, 299).join(" ")
    },
    { name: "500 words of one letter", description: Array.from({ length: 500 }, () => "w").join(" "), q: "w" },
    { name: "1,000 letters that grow eighteenfold when folded", description: "ﷺ".repeat(1_000), q: "ﷺ".repeat(100) },
    { name: "1,000 letters that become two in capitals", description: "ŉ".repeat(1_000), q: "ŉ".repeat(100) },
    { name: "one letter with 999 accents", description: `w${"\u0301".repeat(999)}`, q: "w" },
    { name: "1,000 accents without a letter", description: "\u0301".repeat(1_000), q: "unrelated" },
    { name: "1,000 Thai letters", description: "ภาษาไทย".repeat(142), q: "ภาษา" },
    { name: "1,000 joined emoji", description: "👨‍👩‍👧".repeat(200), q: "unrelated" }
  ])("is stored and found: $name", async ({ description, q }) => {
    expect(await finds({ description }, q)).toBe(true)
  })

  it("is stored and found when everything is", async () => {
    const letter = (index: number) => String.fromCodePoint(0x10400 + index)
    const tags = Array.from({ length: 20 }, (_, index) => `${letter(index)}${letter(index).repeat(49)}`)
    const task = { title: "𐐀".repeat(200), description: "𐐃".repeat(1_000), tags }
    for (const tag of tags) expect(await finds(task, `${tag} ${"𐐀".repeat(20)}`)).toBe(true)
  })

  it("counts a query of 100 characters whatever their bytes", async () => {
    for (const one of ["é", "e\u0301", "ß", "😀", "𐐀", "ﷺ", "界", "\u0301", "a "]) {
      const length = [...one].length
      await search(one.repeat(Math.floor(100 / length)))
    }
    expect(await finds({ title: "𐐀".repeat(200) }, "𐐀".repeat(100))).toBe(true)
    expect(await finds({ title: "𐐀".repeat(49) }, "𐐀".repeat(100))).toBe(false)
    expect(await finds({ title: "w ".repeat(100).trim() }, "w ".repeat(50))).toBe(true)
  })
})

describe("a task is found", () => {
  // not a letter that is but the presentation of a mark, or a filler
  const hasLetter = (text: string) =>
    /[\p{L}\p{Nd}]/u.test(text.normalize("NFKD").replace(/[\p{M}\p{Default_Ignorable_Code_Point}]/gu, ""))
  const title = (unit: fc.StringConstraints["unit"]) =>
    fc.string({ unit: unit!, minLength: 1, maxLength: 60 })
      .filter((text) => {
        const { length } = [...text.normalize("NFC").trim()]
        return length >= 1 && length <= 100 && [...text.trim()].length <= 100 && hasLetter(text) &&
          !text.includes("\u0000")
      })

  const letter = fc.constantFrom(
    ..."abcdefgABCDEFGéÉèÈñÑüÜßẞıIİiøØåÅœŒšŠžŽłŁþÞðÐŐőαΑάΆβΒσΣςΩωώΏдДйЙёЁіІїЇґҐ",
    ..." \t'’-_.,:;/0123456789",
    "e\u0301",
    "A\u030a",
    "\u0308"
  )

  it("by its own title, whatever that is", { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(title("grapheme"), async (text) => {
        expect(await finds({ title: text }, text)).toBe(true)
      }),
      // iteration marks, which no random title has alone
      { numRuns: 80, examples: [["々"], ["a 々〻"], ["\u{16fe3}"]] }
    )
  })

  it("or not, but never in vain, by code points that are no text", { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(title("binary"), async (text) => {
        await finds({ title: text, description: text, tags: [[...text.trim()].slice(0, 50).join("")] }, text)
      }),
      { numRuns: 30 }
    )
  })

  it("by its title in capitals, in small letters, composed and decomposed", { timeout: 60_000 }, async () => {
    const isShort = (text: string) => [...text].length <= 100
    await fc.assert(
      fc.asyncProperty(title(letter), async (text) => {
        const spellings = [text.toUpperCase(), text.toLowerCase(), text.normalize("NFD"), text.normalize("NFC")]
        for (const q of new Set(spellings.filter(isShort))) {
          expect([q, await finds({ title: text }, q)]).toEqual([q, true])
        }
      }),
      { numRuns: 40 }
    )
  })

  it("by the beginnings of any of its words in any order, and by nothing else", { timeout: 60_000 }, async () => {
    const word = fc.string({ unit: fc.constantFrom(..."aábB1"), minLength: 1, maxLength: 4 })
    const task = fc.record({
      title: fc.array(word, { minLength: 1, maxLength: 3 }),
      description: fc.array(word, { maxLength: 3 }),
      tags: fc.uniqueArray(word, { maxLength: 3, selector: (text) => text.toLowerCase() })
    })
    const plain = (text: string) => text.toLowerCase().replaceAll("á", "a")
    await fc.assert(
      fc.asyncProperty(
        fc.array(task, { minLength: 1, maxLength: 6 }),
        fc.array(word, { minLength: 1, maxLength: 3 }),
        async (tasks, asked) => {
          const made: Array<string> = []
          const expected: Array<string> = []
          for (const { description, tags, title } of tasks) {
            const { id } = await create(server, user, {
              title: title.join(" "),
              description: description.join(", "),
              tags
            })
            made.push(id)
            const has = [...title, ...description, ...tags].map(plain)
            if (asked.every((q) => has.some((one) => one.startsWith(plain(q))))) expected.push(id)
          }
          const found = (await search(asked.join(" "))).map(({ id }) => id)
          const operations = made.map((id) => ({ op: "delete", id }))
          await server.request("POST", "/api/v1/tasks/batch", {
            token: user.access_token,
            body: { mode: "atomic", operations }
          })
          expect(found.toSorted()).toEqual(expected.toSorted())
        }
      ),
      { numRuns: 30 }
    )
  })
})
