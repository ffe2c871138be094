/** What Linux tells about running processes. Elsewhere there is no /proc, and every figure is NaN. */
import { existsSync, readdirSync, readFileSync } from "node:fs"

export const isMeasurable = existsSync("/proc/self/stat")

const read = (file: string): string => {
  try {
    return readFileSync(file, "utf8")
  } catch {
    // it has ended meanwhile
    return ""
  }
}

const threads = (pid: number): ReadonlyArray<string> => {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

/** A process and everything that it started and that still runs. */
const family = (pid: number): ReadonlyArray<number> => {
  const children = threads(pid).flatMap((thread) =>
    read(`/proc/${pid}/task/${thread}/children`).split(" ").filter((child) => child !== "").map(Number)
  )
  return [pid, ...children.flatMap(family)]
}

/** CPU time of one process with all its threads and the children that have ended; Linux counts in ticks of 10 ms. */
const ownMicros = (pid: number): number => {
  const stat = read(`/proc/${pid}/stat`)
  // the program's name, in parentheses, may hold spaces
  const [user, system, childrenUser, childrenSystem] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 15)
  return (Number(user) + Number(system) + Number(childrenUser) + Number(childrenSystem)) * 10_000 || 0
}

/** CPU time of a process and its descendants so far, in microseconds. */
export const cpuMicros = (pid: number): number =>
  isMeasurable ? family(pid).reduce((sum, member) => sum + ownMicros(member), 0) : NaN

/** Resident memory of a process and its descendants, in megabytes (2^20 bytes). */
export const residentMegabytes = (pid: number): number =>
  isMeasurable
    ? family(pid).reduce(
      (sum, member) => sum + Number(/^VmRSS:\s+(\d+) kB$/m.exec(read(`/proc/${member}/status`))?.[1] ?? 0) / 1024,
      0
    )
    : NaN
