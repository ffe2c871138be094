/** What the image and the deployment give a process: tests bound it by the same. */
import { readFileSync } from "node:fs"

const textOf = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8")

const found = (text: string, pattern: RegExp): string => {
  const value = pattern.exec(text)?.[1]
  if (value === undefined) throw new Error(`not found: ${pattern}`)
  return value
}

const image = textOf("Dockerfile")
const flags = found(image, /NODE_OPTIONS="([^"]+)"/)

/** The image's settings of the runtime. */
export const shippedRuntime: Record<string, string> = {
  UV_THREADPOOL_SIZE: found(image, /UV_THREADPOOL_SIZE=(\d+)/),
  ...("Deno" in globalThis ? { DENO_V8_FLAGS: flags.replaceAll(" ", ",") } : { NODE_OPTIONS: flags })
}

/** Megabytes (2^20 bytes) beyond which Kubernetes ends the process. */
export const shippedMegabytes = Number(found(textOf("deploy/kubernetes.yaml"), /limits:[^}]*memory: (\d+)Mi/))
