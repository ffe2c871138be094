/** docker-compose.yml, and the script that makes its database, are what they say. */
import { execFileSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { parse } from "yaml"
import { connectTo } from "../operation/postgres.ts"
import { patience, run } from "../operation/program.ts"
import { hasPostgres, startCluster } from "../operation/servers.ts"

const pathOf = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const text = (path: string) => readFileSync(pathOf(path), "utf8")
const source = text("docker-compose.yml")

// deno-lint-ignore no-explicit-any -- a document of another program's, of any form
type Json = any
const compose: Json = parse(source, { merge: true })
const services: ReadonlyArray<[string, Json]> = Object.entries<Json>(compose.services)
const apis = services.filter(([, { image }]) => image === "tasks-api")
const cluster = apis.filter(([, { profiles }]) => profiles?.includes("cluster"))

/** A value as it is where .env does not name its variables; those that have to be there are `required`. */
const withDefaults = (value: string) =>
  value.replace(
    /\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}/g,
    (_, name: string, otherwise?: string) => otherwise ?? `required_${name}`
  )

const init = "deploy/postgres-init.sh"

describe("docker-compose.yml", () => {
  it.each(services)("gives %s a root that is read-only, no privilege, and limits", (name, service) => {
    expect(service).toMatchObject({
      read_only: true,
      cap_drop: ["ALL"],
      security_opt: ["no-new-privileges:true"],
      deploy: { resources: { limits: { memory: expect.stringMatching(/^\d+[MG]$/), pids: expect.any(Number) } } }
    })
    // Compose takes no file that has both this one and `limits`
    expect(service.pids_limit).toBeUndefined()
    // a machine with fewer cores would not start it
    expect(service.deploy.resources.limits.cpus).toBeUndefined()
    expect(service.privileged).toBeUndefined()
    expect(service.cap_add ?? []).toEqual(name === "proxy" ? ["NET_BIND_SERVICE"] : [])
  })

  it("runs the API as the image's user, in production, with 30 s to end and a folder for exports", () => {
    expect(text("Dockerfile")).toMatch(/^USER [1-9]\d*:[1-9]\d*$/m)
    expect(apis.map(([name]) => name)).toEqual(["api", "api-1", "api-2"])
    for (const [, { environment, stop_grace_period, stop_signal, tmpfs, user }] of apis) {
      expect(user).toBeUndefined()
      expect(Number(/^(\d+)s$/.exec(stop_grace_period)?.[1])).toBeGreaterThanOrEqual(30)
      expect(stop_signal).toBe("SIGTERM")
      expect(environment.APP_ENV).toBe("production")
      expect(tmpfs).toEqual([expect.stringMatching(/^\/tmp:size=\d+m$/)])
    }
  })

  it("builds the image once in each form", () => {
    const building = services.filter(([, { build }]) => build !== undefined)
    expect(building.map(([name, { image, profiles }]) => [name, image, profiles])).toEqual([
      ["api", "tasks-api", undefined],
      ["api-1", "tasks-api", ["cluster"]]
    ])
  })

  it("has the cluster refuse plain HTTP, and believe the proxies' network and no other", () => {
    expect(cluster).toHaveLength(2)
    const [{ subnet }] = compose.networks.proxies.ipam.config
    expect(compose.networks.proxies.internal).toBe(true)
    for (const [, { environment, networks, ports }] of cluster) {
      expect(environment.REQUIRE_HTTPS).toBe("true")
      expect(environment.TRUSTED_PROXIES).toBe(subnet)
      expect(networks).toContain("proxies")
      expect(ports).toBeUndefined()
    }
    const inNetwork = services.filter(([, { networks }]) => networks.includes("proxies")).map(([name]) => name)
    expect(inNetwork).toEqual(["api-1", "api-2", "proxy"])
    const [address, bits] = withDefaults(subnet).split("/")
    expect(address).toMatch(/^172\.(1[6-9]|2\d|3[01])\./)
    // the network's own address, its gateway's and that of broadcasts are nobody's
    expect(2 ** (32 - Number(bits)) - 3).toBe(1 + 4)
    expect(source).toContain("room for the proxy and four instances")
  })

  it("names the address that a proxy on the machine has for the single instance", () => {
    const { environment, networks, ports } = compose.services.api
    expect(environment.REQUIRE_HTTPS).toBe("${REQUIRE_HTTPS:-false}")
    expect(environment.TRUSTED_PROXIES).toBeUndefined()
    expect(ports).toEqual([expect.stringMatching(/^127\.0\.0\.1:/)])
    // a port is published by a network that is not internal: there is only one
    expect(networks.filter((name: string) => compose.networks[name]?.internal !== true)).toEqual(["outside"])
    const [{ subnet }] = compose.networks.outside.ipam.config
    const [address = "", bits] = withDefaults(subnet).split("/")
    expect(address).not.toBe(withDefaults(compose.networks.proxies.ipam.config[0].subnet).split("/")[0])
    // those who are in it at once, and one that `docker compose run` starts
    const inNetwork = services.filter(([, { networks }]) => networks.includes("outside"))
    expect(2 ** (32 - Number(bits)) - 3).toBeGreaterThan(inNetwork.length)
    const first = address.replace(/\d+$/, (last) => String(Number(last) + 1))
    for (const path of ["docker-compose.yml", "docs/quickstart.md", "docs/operations.md"]) {
      expect(text(path), path).toContain(`TRUSTED_PROXIES=${first}`)
    }
  })

  it("leaves PostgreSQL connections: its instances take less than 80 % of the 100 that it has", () => {
    const example = text(".env.example")
    const preset = (name: string) => Number(new RegExp(`^${name}=(\\d+)$`, "m").exec(example)?.[1])
    // one for NOTIFY, two while it migrates
    const each = preset("DATABASE_POOL_SIZE") + 1 + 2
    expect(each).toBeGreaterThan(3)
    expect(cluster.length * preset("WORKERS") * each).toBeLessThan(0.8 * 100)
    expect(JSON.stringify(compose.services.postgres)).not.toContain("max_connections")
  })

  it("explains each variable of .env", () => {
    const head = source.slice(0, source.indexOf("\n\n"))
    const example = text(".env.example")
    const names = new Set([...source.matchAll(/(?<!\$)\$\{(\w+)/g)].map(([, name]) => name!))
    expect(names.size).toBeGreaterThan(5)
    for (const name of names) {
      expect(new RegExp(`\\b${name}\\b`).test(head) || new RegExp(`^(# )?${name}=`, "m").test(example), name).toBe(true)
    }
  })

  it("gives the API the passwords of nobody else, and the name of no superuser", () => {
    const { environment, user } = compose.services.postgres
    expect(user).toBe("postgres")
    for (const [, api] of apis) {
      expect(api.environment).toMatchObject({ POSTGRES_PASSWORD: "", REDIS_PASSWORD: "" })
      const { pathname, username } = new URL(withDefaults(api.environment.DATABASE_URL))
      expect(username).not.toBe(environment.POSTGRES_USER)
      expect(pathname).toBe(`/${environment.POSTGRES_DB}`)
      expect(text(init)).toContain(`create role ${username} login`)
    }
  })
})

describe("deploy/postgres-init.sh", () => {
  it("is mounted where PostgreSQL's image looks, and is a script", () => {
    expect(compose.services.postgres.volumes).toContain(`./${init}:/docker-entrypoint-initdb.d/tasks.sh:ro`)
    execFileSync("bash", ["-n", pathOf(init)])
  })

  it.skipIf(!hasPostgres)("makes an owner of the database who can migrate it, and is no superuser", async ({
    onTestFinished
  }) => {
    // as the image has them
    const hba = ["local all all trust", "host all all all scram-sha-256"]
    const { port, socket } = await startCluster(onTestFinished, { hba })
    const password = `it's "a" \\secret$`
    const env = {
      PATH: process.env["PATH"] ?? "",
      POSTGRES_USER: "postgres",
      POSTGRES_DB: "tasks",
      POSTGRES_PASSWORD: password,
      PGHOST: socket,
      PGPORT: String(port)
    }
    const psql = (...args: ReadonlyArray<string>) =>
      execFileSync("psql", ["-XAtq", "-U", "postgres", ...args], { env, encoding: "utf8" })
    psql("-c", "create database tasks", "-c", `alter role postgres password 'superuser'`)
    execFileSync("bash", [pathOf(init)], { env, stdio: "pipe" })

    const url = new URL(`postgres://tasks@127.0.0.1:${port}/tasks`)
    url.password = encodeURIComponent(password)
    const DATABASE_URL = url.href
    const { sql } = connectTo(DATABASE_URL, onTestFinished)
    expect(await sql("select rolsuper, rolcreaterole, rolcreatedb, rolbypassrls from pg_roles where rolname = user"))
      .toEqual([{ rolsuper: false, rolcreaterole: false, rolcreatedb: false, rolbypassrls: false }])
    const { code, stderr } = await run(
      "src/migrate.ts",
      { DATABASE_URL, JWT_SECRET: randomBytes(32).toString("hex") },
      onTestFinished
    )
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(await sql("select count(*) > 0 as found from schema_migrations")).toEqual([{ found: true }])
    // nobody is the superuser by way of the network
    const superuser = { ...env, PGHOST: "127.0.0.1", PGPASSWORD: "superuser" }
    expect(() => execFileSync("psql", ["-X", "-U", "postgres", "-c", "select 1"], { env: superuser, stdio: "pipe" }))
      .toThrow(/password authentication failed/)
    expect(psql("-c", "select rolpassword is null from pg_authid where rolname = 'postgres'")).toBe("t\n")
  }, patience)
})
