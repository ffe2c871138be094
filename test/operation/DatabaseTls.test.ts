/** What the URL of a database promises, on a PostgreSQL server with TLS and passwords as providers run them. */
import { execFileSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import { type AddressInfo, createServer } from "node:net"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { having } from "../tasks/families.ts"
import { connectTo, type Session } from "./postgres.ts"
import { emptyDirectory, type Ending, type Finished, patience, run, start, useFinished } from "./program.ts"
import { type Cluster, hasPostgres, startCluster } from "./servers.ts"

const atTheEnd = useFinished()

const JWT_SECRET = randomBytes(32).toString("hex")
/** With letters that a URL has to encode. */
const password = "a/secret?of:the@database"

/** What a server shows, and the key that belongs to it. */
interface Certificate {
  readonly certificate: string
  readonly key: string
}

/** Makes certificates with openssl, in a folder that goes with the test. */
const certificates = (finished: Finished) => {
  const folder = emptyDirectory(finished)
  const at = (name: string) => join(folder, name)
  const openssl = (...args: ReadonlyArray<string>) => void execFileSync("openssl", [...args], { stdio: "pipe" })
  const key = (name: string) =>
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", at(`${name}.key`))
  const read = (name: string): Certificate => ({
    certificate: readFileSync(at(`${name}.pem`), "utf8"),
    key: readFileSync(at(`${name}.key`), "utf8")
  })
  const selfSigned = (name: string, names: string): Certificate => {
    key(name)
    openssl(
      "req",
      "-x509",
      "-new",
      "-key",
      at(`${name}.key`),
      "-days",
      "2",
      "-subj",
      `/CN=${name}`,
      "-out",
      at(`${name}.pem`),
      "-addext",
      `subjectAltName=${names}`
    )
    return read(name)
  }
  /** Signed by a CA that `selfSigned` has made. */
  const signed = (name: string, ca: string, names: string, days: number): Certificate => {
    key(name)
    openssl(
      "req",
      "-new",
      "-key",
      at(`${name}.key`),
      "-subj",
      `/CN=${name}`,
      "-addext",
      `subjectAltName=${names}`,
      "-out",
      at(`${name}.csr`)
    )
    openssl(
      "x509",
      "-req",
      "-in",
      at(`${name}.csr`),
      "-CA",
      at(`${ca}.pem`),
      "-CAkey",
      at(`${ca}.key`),
      "-CAcreateserial",
      "-copy_extensions",
      "copy",
      "-days",
      String(days),
      "-out",
      at(`${name}.pem`)
    )
    return read(name)
  }
  return { at, selfSigned, signed }
}

const filesOf = ({ certificate, key }: Certificate) => ({ "server.crt": certificate, "server.key": key })

const loopback = "DNS:localhost,IP:127.0.0.1"

describe.skipIf(!hasPostgres)("a database with TLS and passwords (PostgreSQL installed)", () => {
  let cluster: Cluster
  let admin: Session
  let make: ReturnType<typeof certificates>
  let good: Certificate

  beforeAll(async () => {
    make = certificates(atTheEnd)
    make.selfSigned("ca", "DNS:ca.test")
    make.selfSigned("unknown-ca", "DNS:ca.test")
    good = make.signed("good", "ca", loopback, 2)
    cluster = await startCluster(atTheEnd, {
      files: filesOf(good),
      settings: {
        ssl: "on",
        password_encryption: "scram-sha-256",
        // what nothing may depend on
        timezone: "Pacific/Kiritimati",
        datestyle: "SQL, DMY"
      },
      hba: ["hostssl all app 127.0.0.1/32 scram-sha-256", "host all postgres 127.0.0.1/32 trust"]
    })
    admin = connectTo(cluster.url, atTheEnd)
    await admin.sql(`create role app login password '${password}'`)
    await admin.sql("create schema authorization app")
  }, patience)

  const settings = (
    finished: Finished,
    query: string,
    { ca = "ca", host = "localhost", secret = password }: { ca?: string; host?: string; secret?: string } = {}
  ) => {
    const url = new URL(`postgres://app@${host}:${cluster.port}/postgres?${query}`)
    url.password = encodeURIComponent(secret)
    return {
      DATABASE_URL: url.href,
      ...(ca !== "" && { DATABASE_CA: make.at(`${ca}.pem`) }),
      DATA_DIR: emptyDirectory(finished),
      JWT_SECRET,
      PORT: "0"
    }
  }
  const expectOneLine = ({ code, stderr, stdout }: Ending, line: RegExp) => {
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" })
    expect(stderr).toMatch(/^[^\n]+\n$/)
    expect(stderr).toMatch(line)
    for (const secret of [password, encodeURIComponent(password), JWT_SECRET]) expect(stderr).not.toContain(secret)
  }

  it("is used over TLS with what its URL says, and dates are the same whatever its settings", async ({
    onTestFinished
  }) => {
    const query = "sslmode=verify-full&channel_binding=require&application_name=mine&options=-c%20search_path%3Dapp"
    const server = await start(settings(onTestFinished, query), onTestFinished)
    const { access_token: token } = await server.register()
    const created = having(
      201,
      await server.request("POST", "/api/v1/tasks", {
        token,
        body: {
          title: "water",
          due: { date: "2031-01-31", time: "09:00", time_zone: "Europe/Berlin" },
          recurrence: { rule: "FREQ=MONTHLY" }
        }
      })
    ).json
    expect(created.due_at).toBe("2031-01-31T08:00:00.000Z")
    const completed = await server.request("PATCH", `/api/v1/tasks/${created.id}/complete`, {
      token,
      body: { occurrence: "2031-01-31" }
    })
    expect(having(200, completed).json.due).toMatchObject({ date: "2031-02-28" })
    const sessions = await admin.sql(
      "select distinct application_name, ssl, version from pg_stat_activity join pg_stat_ssl using (pid) where usename = 'app'"
    )
    expect(sessions).toEqual([{ application_name: "mine", ssl: true, version: "TLSv1.3" }])
    const tables = await admin.sql("select distinct schemaname from pg_tables where tableowner = 'app'")
    expect(tables).toEqual([{ schemaname: "app" }])
    expect(server.stdout()).not.toContain(password)
  }, patience)

  it("is used over TLS by sslmode=require at its address", async ({ onTestFinished }) => {
    const server = await start(settings(onTestFinished, "sslmode=require", { host: "127.0.0.1" }), onTestFinished)
    await server.register()
    having(200, await server.request("GET", "/health/ready"))
  }, patience)

  const refused: ReadonlyArray<readonly [title: string, certificate: () => Certificate, ca: string]> = [
    ["of a CA that is not the one of DATABASE_CA", () => make.signed("unknown", "unknown-ca", loopback, 2), "ca"],
    ["of a CA that the system does not know", () => good, ""],
    ["that signs itself", () => make.selfSigned("self", loopback), "ca"],
    ["of another host", () => make.signed("other", "ca", "DNS:other.test,IP:127.0.0.2", 2), "ca"],
    ["that has expired", () => make.signed("expired", "ca", loopback, -1), "ca"]
  ]

  it.for(refused)(
    "refuses a certificate %s",
    { timeout: patience },
    async ([, certificate, ca], { onTestFinished }) => {
      cluster.write(filesOf(certificate()))
      await cluster.restart()
      const endings = await Promise.all(
        ["sslmode=require", "sslmode=verify-full"].map((query) =>
          run("src/main.ts", settings(onTestFinished, query, { ca }), onTestFinished)
        )
      )
      cluster.write(filesOf(good))
      await cluster.restart()
      for (const ending of endings) {
        expectOneLine(ending, /^DATABASE_URL: the server's certificate is not accepted; .+ \([A-Z_]+\)$/m)
      }
    }
  )

  it.for(
    [
      ["a wrong password", "sslmode=require", "wrong", /^DATABASE_URL: the database refuses .+ password \(28P01\)$/m],
      ["no TLS where the server wants it", "sslmode=disable", password, /^DATABASE_URL: .+ without TLS .+ \(28000\)$/m],
      ["an unknown sslmode", "sslmode=on", password, /^DATABASE_URL: sslmode must be one of disable, /m]
    ] as const
  )("is not used with %s", { timeout: patience }, async ([, query, secret, line], { onTestFinished }) => {
    expectOneLine(await run("src/main.ts", settings(onTestFinished, query, { secret }), onTestFinished), line)
  })

  it("without TLS is not used where sslmode wants it", async ({ onTestFinished }) => {
    // what such a server answers to a request for TLS
    const server = createServer((socket) => socket.on("error", () => {}).once("data", () => socket.end("N")))
      .listen(0, "127.0.0.1")
    await new Promise((resolve) => server.once("listening", resolve))
    onTestFinished(() => void server.close())
    const { port } = server.address() as AddressInfo
    const env = settings(onTestFinished, "sslmode=require", { ca: "" })
    const url = new URL(env.DATABASE_URL)
    url.port = String(port)
    expectOneLine(
      await run("src/main.ts", { ...env, DATABASE_URL: url.href }, onTestFinished),
      /^DATABASE_URL: the server has no TLS; /m
    )
  }, patience)
})
