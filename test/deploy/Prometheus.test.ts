/** What Prometheus is told to ask for is answered, and what it is told to look at is there. */
import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { parse } from "yaml"
import { expectProblem } from "../support/expect.ts"
import { useServer } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"

const token = "metrics-token-of-this-test-0123456789"
const server = useServer({ METRICS_TOKEN: token, REQUIRE_HTTPS: "true", TRUSTED_PROXIES: "127.0.0.1" })

// deno-lint-ignore no-explicit-any -- a document of another program's, of any form
const documentOf = (name: string): any =>
  parse(readFileSync(new URL(`../../deploy/${name}`, import.meta.url), "utf8"), { strict: true })

const [job] = documentOf("prometheus.yml").scrape_configs

/** What Prometheus sends, as its documentation has it: each of these says what it is if it is not said. */
const scrape = (headers: Record<string, string>) => server.request("GET", job.metrics_path ?? "/metrics", { headers })
const given: Record<string, string> = Object.fromEntries(
  Object.entries<{ readonly values: ReadonlyArray<string> }>(job.http_headers).map((
    [name, { values }]
  ) => [name, values.join(", ")])
)
const authorization = { authorization: `${job.authorization.type ?? "Bearer"} ${token}` }

describe("deploy/prometheus.yml", () => {
  it("says what production wants to hear of a scraper that it trusts, and no more", async () => {
    expect(job.scheme ?? "http").toBe("http")
    expect(job.authorization).toEqual({ credentials_file: expect.any(String) })
    having(200, await scrape({ ...given, ...authorization }))
    expectProblem(await scrape(authorization), 403, "https_required")
    expectProblem(await scrape(given), 401, "token_missing")
  })

  it("asks the instances of docker-compose.yml, and looks for the alerts", () => {
    const compose = parse(readFileSync(new URL("../../docker-compose.yml", import.meta.url), "utf8"), { merge: true })
    for (const target of job.static_configs[0].targets) {
      const [name, port] = target.split(":")
      expect(compose.services[name].environment.PORT).toBe(port)
    }
    const { rule_files } = documentOf("prometheus.yml")
    expect(rule_files).toEqual(["alerts.yml"])
  })
})

describe("deploy/alerts.yml", () => {
  const rules: ReadonlyArray<{ readonly alert: string; readonly expr: string; readonly for?: string }> = documentOf(
    "alerts.yml"
  ).groups.flatMap(({ rules }: { readonly rules: ReadonlyArray<unknown> }) => rules)

  it("looks at metrics and labels that /metrics has", async () => {
    having(200, await scrape({ ...given, ...authorization }))
    // a request is measured when it is over
    let text = ""
    await expect.poll(async () => text = (await scrape({ ...given, ...authorization })).text).toContain("/metrics")
    expect(rules.map(({ alert }) => alert)).toHaveLength(5)
    for (const { alert, expr } of rules) {
      const metrics = [...expr.matchAll(/(\w+)(?:\{([^}]*)\}|(?=\[))/g)]
      expect(metrics.length, alert).toBeGreaterThan(0)
      for (const [, metric = "", matchers = ""] of metrics) {
        // Prometheus' own, of each target
        if (metric === "up") {
          expect(matchers).toBe(`job="${job.job_name}"`)
          continue
        }
        const [, labels] = new RegExp(`^${metric}\\{(.*)\\} `, "m").exec(text) ?? expect.fail(`${metric} of ${alert}`)
        for (const [, label] of matchers.matchAll(/(\w+)(?:=|!=|=~|!~)"/g)) {
          expect(labels, alert).toContain(`${label}="`)
        }
      }
      for (const [, labels = ""] of expr.matchAll(/by \(([^)]*)\)/g)) {
        for (const label of labels.split(", ")) {
          if (label !== "instance") expect(text, alert).toMatch(new RegExp(`[{,]${label}="`))
        }
      }
    }
  })

  it("names routes as /metrics does", async () => {
    for (const path of ["/health", "/health/ready"]) having(200, await server.request("GET", path))
    const { text } = having(200, await scrape({ ...given, ...authorization }))
    for (const route of ["/health", "/health/ready"]) expect(text).toContain(`route="${route}"`)
  })
})
