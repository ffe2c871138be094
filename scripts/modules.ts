/**
 * Installs node_modules unless every package that package.json pins is there: so that `deno task start` works in a fresh
 * clone, and one node_modules serves both Deno and Node, whoever installed it.
 */
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"

const read = (path: string) => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"))

const isThere = ([name, version]: [string, string]): boolean => {
  try {
    return read(`../node_modules/${name}/package.json`).version === version
  } catch {
    return false
  }
}

const { dependencies, devDependencies } = read("../package.json")
if (!Object.entries<string>({ ...dependencies, ...devDependencies }).every(isThere)) {
  // on standard error: what the task itself prints on standard output stays clean
  execFileSync(process.execPath, ["install", "--frozen", "--quiet"], {
    cwd: new URL("../", import.meta.url),
    stdio: ["ignore", 2, 2]
  })
}
