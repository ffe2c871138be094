/** How wide a JSON body may be, whatever its endpoint: every fault of a schema costs memory and a part of the answer. */
import type { Fault } from "../api/Problems.ts"
import { pointerOf } from "./ValidationFaults.ts"

/** Items of an array and members of an object. No schema takes more than 100 items, or 20 members. */
const most = 100

/** Levels below which nothing is looked at: no schema goes as deep, so what is there is one fault with all that it has. */
const levels = 8

/** Characters of a body whose faults cost little, however many they are: there is no need to look at it twice. */
const short = 4 * 1024

/** The first array or object that has more than any schema takes. Undefined where the text is no JSON, too. */
export const tooWide = (text: string): Fault | undefined => {
  if (text.length <= short) return undefined
  const found = widest(text)
  return found && { pointer: pointerOf(found), code: "invalid_value", detail: `must have at most ${most} items` }
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const widest = (text: string): ReadonlyArray<string> | undefined => {
  const left: Array<readonly [path: ReadonlyArray<string>, value: unknown]> = [[[], parsed(text)]]
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const [path, value] = next
    const entries = Object.entries(value ?? {})
    if (entries.length > most) return path
    if (path.length === levels) continue
    for (const [key, inner] of entries) {
      if (typeof inner === "object" && inner !== null) left.push([[...path, key], inner])
    }
  }
  return undefined
}
