/**
 * Adds to package-lock.json what an incomplete registry mirror made npm leave out: the native packages of other
 * platforms. Without them `npm ci` refuses the lock file ("Missing: … from lock file") on every registry.
 * To be run after `npm install` has changed the lock file; a complete lock file stays as it is.
 */
import { readFileSync, writeFileSync } from "node:fs"

interface Entry {
  version?: string
  dev?: boolean
  peer?: boolean
  optional?: boolean
  os?: Array<string>
  cpu?: Array<string>
  libc?: Array<string>
  optionalDependencies?: Record<string, string>
}

const path = new URL("../package-lock.json", import.meta.url)
const lock: { packages: Record<string, Entry> } = JSON.parse(readFileSync(path, "utf8"))

/** the platform that such a package's name tells, in the words of package.json */
const platform = (name: string): Pick<Entry, "os" | "cpu" | "libc"> => {
  const words = name.split(/[-/]/)
  const os = ["android", "darwin", "freebsd", "linux", "openharmony", "win32"].find((each) => words.includes(each))
  const cpu = ["arm64", "arm", "ia32", "ppc64", "riscv64", "s390x", "wasm32", "x64"].find((each) => words.includes(each))
  const libc = words.at(-1) === "gnu" ? "glibc" : words.at(-1) === "musl" ? "musl" : undefined
  return {
    ...(cpu === undefined ? {} : { cpu: [cpu] }),
    ...(os === undefined ? {} : { os: [os] }),
    ...(libc === undefined ? {} : { libc: [libc] })
  }
}

let added = 0
for (const [at, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (`${at}/node_modules/${name}` in lock.packages) continue
    const top = lock.packages[`node_modules/${name}`]
    if (top !== undefined && (top.version === version || !/^\d/.test(version))) continue
    if (!/^\d/.test(version)) throw new Error(`${name}@${version} of ${at} is missing and has no exact version`)
    const key = top === undefined ? `node_modules/${name}` : `${at}/node_modules/${name}`
    const { libc, ...rest } = platform(name)
    lock.packages[key] = {
      version,
      ...(rest.cpu === undefined ? {} : { cpu: rest.cpu }),
      ...(entry.dev === true ? { dev: true } : {}),
      ...(libc === undefined ? {} : { libc }),
      optional: true,
      ...(rest.os === undefined ? {} : { os: rest.os }),
      ...(entry.peer === true ? { peer: true } : {})
    }
    added++
  }
}

if (added > 0) {
  lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0))
  writeFileSync(path, JSON.stringify(lock, null, 2) + "\n")
}
console.log(`${added} packages of other platforms added to package-lock.json`)
