/** The manifest says what the image and the server are: whoever changes one of them has to change it too. */
import { readFileSync } from "node:fs"
import { Effect, Exit } from "effect"
import { describe, expect, it } from "vitest"
import { parseAllDocuments } from "yaml"
import { InvalidSettings, read } from "../../src/Settings.ts"
import { useServer } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"

const server = useServer()

const text = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8")
const dockerfile = text("Dockerfile")
const inImage = (pattern: RegExp): string => pattern.exec(dockerfile)?.[1] ?? expect.fail(`${pattern} in Dockerfile`)

// deno-lint-ignore no-explicit-any -- a document of another program's, of any form
type Json = any

const documents = new Map<string, Json>(
  parseAllDocuments(text("deploy/kubernetes.yaml")).map((document) => {
    expect(document.errors).toEqual([])
    const object = document.toJS()
    return [object.kind, object]
  })
)
const pod = documents.get("Deployment")?.spec.template.spec
const [container] = pod.containers

describe("deploy/kubernetes.yaml", () => {
  it("selects the pods that it makes", () => {
    const { spec } = documents.get("Deployment")
    expect(spec.template.metadata.labels).toMatchObject(spec.selector.matchLabels)
    expect(documents.get("Service").spec.selector).toEqual(spec.selector.matchLabels)
    expect(documents.get("PodDisruptionBudget").spec.selector).toEqual(spec.selector)
    expect(documents.get("PodDisruptionBudget").spec.minAvailable).toBeLessThan(spec.replicas)
  })

  it("R71 probes paths that answer 200 without a token, at the port where the image listens", async () => {
    const probes = ["startupProbe", "livenessProbe", "readinessProbe"].map((name) => container[name].httpGet)
    expect(probes.map(({ path }: { path: string }) => path)).toEqual(["/health/live", "/health/live", "/health/ready"])
    for (const { path, port } of probes) {
      having(200, await server.request("GET", path))
      const { containerPort } = container.ports.find(({ name }: { name: string }) => name === port)
      expect(String(containerPort)).toBe(inImage(/^\s*PORT=(\d+)/m))
      expect(String(containerPort)).toBe(inImage(/^EXPOSE (\d+)$/m))
    }
    const { ports: [{ targetPort }] } = documents.get("Service").spec
    expect(container.ports.map(({ name }: { name: string }) => name)).toContain(targetPort)
  })

  it("runs as the image's user, who can write to /tmp alone and become nobody else", () => {
    expect(`${pod.securityContext.runAsUser}:${pod.securityContext.runAsGroup}`).toBe(inImage(/^USER (\d+:\d+)$/m))
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } })
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] }
    })
    expect(container.volumeMounts).toEqual([{ name: expect.any(String), mountPath: "/tmp" }])
    const [{ name }] = container.volumeMounts
    // on the node's disk: in memory it would count for the container's limit
    expect(pod.volumes).toEqual([{ name, emptyDir: { sizeLimit: expect.stringMatching(/^\d+Gi$/) } }])
  })

  it("gives an export the folder that it is written to, which no setting of the image moves", () => {
    expect(text("src/auth/Exports.ts")).toContain("tmpdir()")
    expect(dockerfile).not.toContain("TMPDIR")
    expect(container.env.map(({ name }: { readonly name: string }) => name)).not.toContain("TMPDIR")
  })

  it("F11 leaves a process the 28 s that its end may take, and sees before its 5 s are over that it is not ready", () => {
    expect(container.lifecycle).toBeUndefined()
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(28)
    const { failureThreshold, periodSeconds, timeoutSeconds } = container.readinessProbe
    const draining = /seconds\(production \? (\d+)/.exec(text("src/http/Draining.ts"))?.[1]
    expect(periodSeconds * failureThreshold).toBeLessThan(Number(draining))
    const patience = /const patience = ([\d_]+)/.exec(text("src/system/SystemHttp.ts"))?.[1]?.replaceAll("_", "")
    expect(timeoutSeconds * 1_000).toBeGreaterThan(Number(patience))
  })

  it("does not start until somebody says whom it trusts, and then trusts those alone", async () => {
    const variable = container.env.find(({ name }: { readonly name: string }) => name === "TRUSTED_PROXIES")
    const start = (value: string) =>
      Effect.runPromiseExit(read({
        APP_ENV: "production",
        DATABASE_URL: "postgres://tasks:secret@db.example.com/tasks",
        JWT_SECRET: "a test secret with more than 32 bytes in it",
        TRUSTED_PROXIES: value
      }))
    const line = "TRUSTED_PROXIES: must be a comma list of addresses or networks such as 10.0.0.0/8"
    expect(await start(variable.value)).toEqual(Exit.fail(new InvalidSettings({ faults: [line] })))
    const started = await start("10.1.2.0/28")
    expect(Exit.isSuccess(started) && started.value.trustedProxies.length).toBe(1)
  })

  it("leaves a migration half an hour, and a Redis its password", () => {
    const { failureThreshold, periodSeconds } = container.startupProbe
    expect(failureThreshold * periodSeconds).toBeGreaterThanOrEqual(30 * 60)
    expect(documents.get("Deployment").spec.progressDeadlineSeconds).toBeGreaterThan(failureThreshold * periodSeconds)
    expect(text("deploy/kubernetes.yaml")).toMatch(/REDIS_URL='?rediss?:\/\/:[^@\s]+@/)
  })

  it("gives the heap of the image's NODE_OPTIONS half of the memory at most", () => {
    const megabytes = /^(\d+)Mi$/.exec(container.resources.limits.memory)?.[1]
    expect(Number(megabytes)).toBeGreaterThanOrEqual(2 * Number(inImage(/--max-old-space-size=(\d+)/)))
  })
})
