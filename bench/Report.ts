/** Tables, for a terminal and for bench/RESULTS.md alike. */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os"
import process from "node:process"

/** What a part of the benchmark has found. */
export interface Section {
  readonly title: string
  readonly lines: ReadonlyArray<string>
}

/** A number as people read it: three digits that tell something, no more. */
export const figure = (value: number, digits = 3): string =>
  Number.isFinite(value)
    ? Math.abs(value) >= 10 ** (digits - 1)
      ? Math.round(value).toLocaleString("en")
      : String(Number(value.toPrecision(digits)))
    : "–"

export const ratio = (value: number): string => Number.isFinite(value) ? `${value.toFixed(2)} ×` : "–"

/** A table of Markdown whose columns are in line also for who reads it as text. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const [head = []] = rows
  const columns = head.map((_, column) => rows.map((row) => row[column] ?? ""))
  const widths = columns.map((cells) => Math.max(3, ...cells.map(({ length }) => length)))
  // numbers to the right, words to the left
  const isText = columns.map(([, ...cells], column) => column === 0 || cells.some((cell) => /^[a-zA-Z`]/.test(cell)))
  const line = (cells: ReadonlyArray<string>) =>
    `| ${
      cells.map((cell, column) => isText[column] ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)).join(
        " | "
      )
    } |`
  const rule = `|${widths.map((width, column) => `${"-".repeat(width + 1)}${isText[column] ? "-" : ":"}`).join("|")}|`
  return [line(head), rule, ...rows.slice(1).map(line)]
}

export interface Provenance {
  readonly commit: string
  readonly node: string
  readonly postgres: string
}

const { deno, node } = process.versions

/** Where and when a section was measured, and how to measure it again. */
const provenance = ({ commit, node: servers, postgres }: Provenance): string =>
  `${new Date().toISOString().slice(0, 16)}Z, commit ${commit}; ` +
  `${availableParallelism()} × ${cpus()[0]?.model ?? "unknown"}, ${figure(totalmem() / 2 ** 30, 2)} GB, ` +
  `${process.platform} ${release().split(".", 2).join(".")}, load average before it ${
    loadBefore.toFixed(2)
  }; servers on Node ${servers}, ` +
  `${postgres}, benchmark on ${deno === undefined ? `Node ${node}` : `Deno ${deno}`}: ` +
  `\`deno task bench ${process.argv.slice(2).join(" ")}\``.replace(" `", "`")
const loadBefore = loadavg()[0]!

export const format = ({ lines, title }: Section): string => [`## ${title}`, "", ...lines, ""].join("\n")

const preface = `# Results

What the last run of each part of the benchmark has found, written by \`deno task bench --out bench/RESULTS.md\`.
What is measured, and how, is told by [README.md](README.md).
`

/** Puts a section in its file, in place of the last one with its title. */
export const keep = (file: string, section: Section, from: Provenance) => {
  const [, ...old] = (existsSync(file) ? readFileSync(file, "utf8") : preface).split(/^(?=## )/m)
  const text = format({ ...section, lines: [provenance(from), "", ...section.lines] })
  const isSame = (it: string) => it.startsWith(`## ${section.title}\n`)
  const all = old.some(isSame) ? old.map((it) => isSame(it) ? text : it) : [...old, text]
  writeFileSync(file, [preface, ...all.map((it) => `${it.trimEnd()}\n`)].join("\n"))
}
