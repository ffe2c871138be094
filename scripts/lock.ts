/**
 * Brings both lock files in line after `npm install` has changed package-lock.json. Run by Deno: `deno task lock`.
 *
 * 1. package-lock.json gets the native packages of other platforms that npm left out because the registry it asked is
 *    an incomplete mirror. Without them `npm ci` refuses the file ("Missing: … from lock file") on every registry.
 * 2. deno.lock is derived from package-lock.json, so that both runtimes install the same versions. Deno resolves it
 *    against a registry on loopback that offers exactly what package-lock.json lists: nothing is asked elsewhere.
 *
 * Neither file names a registry's host. `--check` writes nothing and fails when something would change.
 */
import { execFile } from "node:child_process"
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"

interface Entry {
  version: string
  integrity?: string
  dev?: boolean
  peer?: boolean
  optional?: boolean
  hasInstallScript?: boolean
  bin?: Record<string, string>
  os?: Array<string>
  cpu?: Array<string>
  libc?: Array<string>
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
  peerDependencies?: Record<string, string>
  peerDependenciesMeta?: Record<string, { optional?: boolean }>
}
interface Lock {
  packages: Record<string, Entry>
}

const root = new URL("../", import.meta.url)
const nameOf = (at: string): string => at.slice(at.lastIndexOf("node_modules/") + "node_modules/".length)
const unknownIntegrity = `sha512-${"A".repeat(86)}==`

/** What such a package's name tells about its platform, in the words of package.json. */
const platformOf = (name: string) => {
  const words = name.split(/[-/]/)
  const one = (among: Array<string>) => among.filter((each) => words.includes(each)).slice(0, 1)
  return {
    os: one(["android", "darwin", "freebsd", "linux", "openharmony", "win32"]),
    cpu: one(["arm", "arm64", "ia32", "loong64", "ppc64", "riscv64", "s390x", "wasm32", "x64"]),
    libc: one(["gnu", "musl"]).map((libc) => libc === "gnu" ? "glibc" : libc)
  }
}

const completed = (lock: Lock): Lock => {
  const packages = { ...lock.packages }
  for (const [at, entry] of Object.entries(lock.packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      const exact = /^\d/.test(version)
      const top = packages[`node_modules/${name}`]
      if (packages[`${at}/node_modules/${name}`] !== undefined) continue
      if (top !== undefined && (top.version === version || !exact)) continue
      if (!exact) throw new Error(`${name}@${version}, optional for ${at}, is missing and has no exact version`)
      const { cpu, libc, os } = platformOf(name)
      packages[top === undefined ? `node_modules/${name}` : `${at}/node_modules/${name}`] = {
        version,
        ...(cpu.length > 0 ? { cpu } : {}),
        ...(entry.dev === true ? { dev: true } : {}),
        ...(libc.length > 0 ? { libc } : {}),
        optional: true,
        ...(os.length > 0 ? { os } : {}),
        ...(entry.peer === true ? { peer: true } : {})
      }
    }
  }
  return {
    ...lock,
    packages: Object.fromEntries(Object.entries(packages).sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0))
  }
}

/** The registry's documents about the locked packages. */
const documents = (lock: Lock, host: string): Map<string, unknown> => {
  const found = new Map<string, { name: string; "dist-tags": { latest: string }; versions: Record<string, unknown> }>()
  const names = new Set(Object.keys(lock.packages).map(nameOf))
  for (const [at, entry] of Object.entries(lock.packages)) {
    if (at === "") continue
    const name = nameOf(at)
    const document = found.get(name) ?? { name, "dist-tags": { latest: entry.version }, versions: {} }
    // an optional peer that was not installed is not to be looked for either
    const absent = (peer: string) => entry.peerDependenciesMeta?.[peer]?.optional === true && !names.has(peer)
    document.versions[entry.version] = {
      ...entry,
      name,
      ...(entry.hasInstallScript === true ? { scripts: { install: "exit 1" } } : {}),
      peerDependencies: Object.fromEntries(
        Object.entries(entry.peerDependencies ?? {}).filter(([peer]) => !absent(peer))
      ),
      dist: { tarball: `${host}/${name}.tgz`, integrity: entry.integrity ?? unknownIntegrity }
    }
    found.set(name, document)
  }
  return found
}

/** Without hosts, without checksums nobody knows, and without musl: Deno takes both C libraries' packages, and needs glibc. */
const cleaned = (denoLock: string): string => {
  const lock = JSON.parse(denoLock)
  const musl = /-musl(@|$)/
  for (const [id, entry] of Object.entries<Record<string, unknown>>(lock.npm)) {
    if (musl.test(id)) delete lock.npm[id]
    delete entry["tarball"]
    if (entry["integrity"] === unknownIntegrity) delete entry["integrity"]
    const optional = entry["optionalDependencies"]
    if (Array.isArray(optional)) entry["optionalDependencies"] = optional.filter((name: string) => !musl.test(name))
  }
  return JSON.stringify(lock, null, 2) + "\n"
}

const derived = async (lock: Lock): Promise<string> => {
  const scratch = await mkdtemp(join(tmpdir(), "lock-"))
  const server = createServer((request, response) => {
    const host = `http://${request.headers.host}`
    const document = documents(lock, host).get(decodeURIComponent((request.url ?? "/").slice(1)))
    response.writeHead(document === undefined ? 404 : 200, { "content-type": "application/json" })
    response.end(JSON.stringify(document ?? {}))
  })
  try {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    await copyFile(new URL("package.json", root), join(scratch, "package.json"))
    await writeFile(join(scratch, "deno.json"), `{ "nodeModulesDir": "manual" }`)
    await promisify(execFile)(process.execPath, ["install", "--lockfile-only"], {
      cwd: scratch,
      env: {
        ...process.env,
        DENO_DIR: join(scratch, "cache"),
        NPM_CONFIG_REGISTRY: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
      }
    })
    return cleaned(await readFile(join(scratch, "deno.lock"), "utf8"))
  } finally {
    server.close()
    await rm(scratch, { recursive: true, force: true })
  }
}

const check = process.argv.includes("--check")
const settle = async (file: string, wanted: string) => {
  const path = new URL(file, root)
  const present = await readFile(path, "utf8").catch(() => "")
  if (present === wanted) return console.log(`${file} is complete`)
  if (check) {
    console.error(`${file} is not what "deno task lock" makes of package.json and package-lock.json`)
    process.exitCode = 1
    return
  }
  await writeFile(path, wanted)
  console.log(`${file} written`)
}

const lock = completed(JSON.parse(await readFile(new URL("package-lock.json", root), "utf8")))
await settle("package-lock.json", JSON.stringify(lock, null, 2) + "\n")
await settle("deno.lock", await derived(lock))
