import { describe, expect, it } from "vitest"
import { expectProblem } from "../support/expect.ts"
import { useServer } from "../support/TestServer.ts"
import { having } from "../tasks/families.ts"

const token = "metrics-token-of-this-test-0123456789"
const server = useServer({ METRICS_TOKEN: token })

describe("metrics with METRICS_TOKEN", () => {
  it("need exactly that token as bearer", async () => {
    expectProblem(await server.request("GET", "/metrics"), 401, "token_missing")
    const user = await server.register()
    for (const wrong of [`${token}x`, token.slice(0, -1), token.toUpperCase(), "x", user.access_token]) {
      expectProblem(await server.request("GET", "/metrics", { token: wrong }), 401, "token_invalid")
    }
    const query = await server.request("GET", `/metrics?access_token=${token}`)
    expect(query.status).toBe(401)
    expect(having(200, await server.request("GET", "/metrics", { token })).text).toContain("# TYPE ")
  })

  it("do not open anything else with it", async () => {
    expectProblem(await server.request("GET", "/api/v1/tasks", { token }), 401, "token_invalid")
  })
})
