/** What Linux tells of a process, and waiting for it. */
import { readdirSync, readFileSync } from "node:fs"
import { residentMegabytes as resident } from "../../bench/machine/Processes.ts"

export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Resident memory in megabytes (2^20 bytes). */
export const residentMegabytes = (pid: number | undefined): number => pid === undefined ? NaN : resident(pid)

/** Files, sockets and the like that it has open. */
export const handlesOf = (pid: number | undefined): number => readdirSync(`/proc/${pid}/fd`).length

/** Seconds for which its first thread, which serves, could have run while other processes had the cores. */
export const waitedForACore = (pid: number | undefined): number =>
  Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[1]) / 1e9

/** Waits until it is so; fails after this many milliseconds. */
export const settled = async (isSo: () => boolean | Promise<boolean>, limit: number): Promise<void> => {
  const until = performance.now() + limit
  while (!await isSo()) {
    if (performance.now() > until) throw new Error(`not so after ${limit} ms: ${isSo}`)
    await pause(50)
  }
}
