/** Two instances of the server behind a proxy with TLS, as they would be hosted, until Ctrl+C: `deno task try:cluster`. */
import { createServer } from "node:net"
import process from "node:process"
import { startCluster } from "./cluster/Cluster.ts"
import { missingPackages } from "./cluster/Services.ts"

const fail = (why: string): never => {
  process.stderr.write(`${why}\n`)
  process.exit(1)
}

const portOf = (name: string, otherwise: number): number => {
  const port = Number(process.env[name] || otherwise)
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : fail(`${name}: must be a port`)
}

/** Caddy would share the port with another Caddy. */
const isFree = (port: number) =>
  new Promise<boolean>((resolve) => {
    const server = createServer().once("error", () => resolve(false))
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
  })

const missing = missingPackages()
if (missing.length > 0) fail(`missing: apt-get install --no-install-recommends ${missing.join(" ")}`)

const ports = { https: portOf("HTTPS_PORT", 8443), http: portOf("HTTP_PORT", 8080) }
for (const [name, port] of [["HTTPS_PORT", ports.https], ["HTTP_PORT", ports.http]] as const) {
  if (!await isFree(port)) fail(`${name}: ${port} is in use`)
}
const starting = startCluster(ports)

let isStopping = false
const stop = async () => {
  const cluster = await starting
  // whoever asks twice does not want to wait
  if (isStopping) return cluster.kill()
  isStopping = true
  console.log("stopping; once more to stop at once")
  await cluster.stop()
}
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    stop().then(() => process.exit(0), () => process.exit(1))
  })
}

const { caFile, plainUrl, url } = await starting.catch((error: unknown) =>
  fail(error instanceof Error ? error.message : String(error))
)
console.log(`\
${url} is served by two instances behind Caddy, with PostgreSQL and Redis; ${plainUrl} is refused.
Its certificate is of a CA of its own. To trust it:
  curl --cacert ${caFile} ${url}/health/ready
  NODE_EXTRA_CA_CERTS=${caFile} node …
  DENO_CERT=${caFile} deno …
Ctrl+C stops everything and removes its data.`)
