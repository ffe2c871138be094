/** What the dashboard asks Prometheus for is there. */
import { readFileSync } from "node:fs"
import { expect, it } from "vitest"
import { useServer } from "../support/TestServer.ts"
import { create, having } from "../tasks/families.ts"

const server = useServer()

interface Dashboard {
  readonly templating: { readonly list: ReadonlyArray<{ readonly name: string; readonly query: string }> }
  readonly panels: ReadonlyArray<{ readonly title: string; readonly targets: ReadonlyArray<{ readonly expr: string }> }>
}
const dashboard: Dashboard = JSON.parse(
  readFileSync(new URL("../../deploy/grafana-dashboard.json", import.meta.url), "utf8")
)

/** Prometheus gives it to whatever it scrapes. */
const given = "instance"

it("deploy/grafana-dashboard.json shows metrics and labels that /metrics has", async () => {
  const user = await server.register()
  await create(server, user)
  const reminded = await create(server, user, {
    title: "a",
    reminders: [{ at: new Date(Date.now() - 60_000).toISOString() }]
  })
  await expect.poll(async () => {
    await server.remind()
    const { json } = await server.request("GET", `/api/v1/tasks/${reminded.id}`, { token: user.access_token })
    return json.reminders[0].delivered_at
  }, { timeout: 10_000 }).not.toBeNull()
  const { text } = having(200, await server.request("GET", "/metrics"))
  const labelsOf = (metric: string) =>
    new Set(
      [...text.matchAll(new RegExp(`^${metric}(?:\\{(.*)\\})? `, "gm"))].flatMap(([, labels = ""]) =>
        [...labels.matchAll(/(\w+)="/g)].map(([, label]) => label)
      )
    )

  const expressions = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr))
  expect(expressions.length).toBeGreaterThanOrEqual(dashboard.panels.length)
  const selected = expressions.flatMap((expression) => {
    const metrics = [...expression.matchAll(/(\w+)\{([^}]*)\}\[/g)].map(([, metric = "", matchers = ""]) => ({
      metric,
      labels: [...matchers.matchAll(/(\w+)=~?"/g)].map(([, label = ""]) => label)
    }))
    const grouped = [...expression.matchAll(/by \(([^)]*)\)/g)].flatMap(([, labels = ""]) => labels.split(", "))
    expect(metrics.length).toBeGreaterThan(0)
    return metrics.map(({ labels, metric }) => ({ metric, labels: [...labels, ...grouped] }))
  })
  const listed = dashboard.templating.list.flatMap(({ query }) => /^label_values\((\w+),/.exec(query)?.[1] ?? [])
  expect(listed).toHaveLength(1)
  for (const { labels, metric } of [...selected, ...listed.map((metric) => ({ metric, labels: [] }))]) {
    expect(text, metric).toMatch(new RegExp(`^${metric}[{ ]`, "m"))
    expect({ metric, labels: [...labelsOf(metric), given] }).toEqual({
      metric,
      labels: expect.arrayContaining(labels)
    })
  }
})

it("reminded_tasks_total grows by one with each task that is reminded of", async () => {
  const count = async () => {
    const { text } = having(200, await server.request("GET", "/metrics"))
    return Number(/^reminded_tasks_total (\d+)$/m.exec(text)?.[1] ?? 0)
  }
  const before = await count()
  const user = await server.register()
  const at = new Date(Date.now() - 60_000).toISOString()
  await create(server, user, { title: "a", reminders: [{ at }, { at }] })
  await create(server, user, { title: "a", reminders: [{ at }] })
  await create(server, user)
  await expect.poll(count, { timeout: 10_000 }).toBe(before + 2)
})
