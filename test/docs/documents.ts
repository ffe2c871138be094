/** The documents for users, as tests read them. */
import { readFileSync } from "node:fs"

/** The text of a document, or of one of its sections. */
export const textOf = (path: string, heading?: string): string => {
  const markdown = readFileSync(new URL(`../../${path}`, import.meta.url), "utf8")
  if (heading === undefined) return markdown
  const [, section] = markdown.split(`\n## ${heading}\n`)
  if (section === undefined) throw new Error(`${path} has no section ${heading}`)
  return section.split("\n## ")[0]!
}

/** Those that the text does not have as code, alone or with a value. */
export const missing = (names: ReadonlyArray<string>, text: string): ReadonlyArray<string> =>
  names.filter((name) => !new RegExp(`\`${name}[\`=]`).test(text))

export interface Step {
  readonly commands: string
  readonly printed: string
}

/** Each block of commands of a text, with the output that is printed below it. */
export const stepsOf = (text: string): ReadonlyArray<Step> => {
  const found: Array<Step> = []
  for (const [, language, block = ""] of text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)) {
    // what needs more than a shell on this machine
    if (language === "sh") continue
    if (language === "bash") {
      found.push({ commands: block, printed: "" })
      continue
    }
    const last = found.pop()
    if (last === undefined || last.printed !== "") throw new Error(`no command prints this: ${block}`)
    found.push({ commands: last.commands, printed: block.trim() })
  }
  return found
}

/** What differs from run to run: ids, instants and days (not those of the 2030s), tokens, cursors. */
export const constant = (output: string): string =>
  output
    .replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "…")
    .replaceAll(/(?!203)\d{4}-\d\d-\d\d(?:T[\d:.]+Z)?/g, "…")
    .replaceAll(/("(?:access_token|refresh_token|cursor)":)"[^"]+"/g, '$1"…"')
    .replaceAll(/(?<=[?&]cursor=)[\w-]+/g, "…")
    .replaceAll(/^(id: ).+$/gm, "$1…")
