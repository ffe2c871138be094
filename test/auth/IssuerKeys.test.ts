import { setTimeout as pause } from "node:timers/promises"
import { Clock, Effect, Exit, Logger, Scope } from "effect"
import { TestClock } from "effect/testing"
import { describe, expect, it, type TestContext } from "vitest"
import { issuerKeys } from "../../src/auth/IssuerKeys.ts"
import { type Issuer, startIssuer } from "./issuer.ts"
import { newKeyPair } from "./keys.ts"

type OnTestFinished = TestContext["onTestFinished"]

/** Keys on a clock that stands still until the test moves it; the network is real. */
const follow = async (issuer: Issuer, finished: OnTestFinished, path = "/jwks") => {
  const scope = await Effect.runPromise(Scope.make())
  const clock = await Effect.runPromise(Effect.provideService(TestClock.make(), Scope.Scope, scope))
  const run = <A>(effect: Effect.Effect<A, never, Scope.Scope>) =>
    Effect.runPromise(effect.pipe(
      Effect.provideService(Clock.Clock, clock),
      Effect.provideService(Scope.Scope, scope),
      Effect.provide(Logger.layer([]))
    ))
  const keys = await run(issuerKeys(issuer.origin, issuer.origin + path, ["EdDSA", "ES256"]))
  finished(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  const kids = async () => keys.at(await run(Clock.currentTimeMillis)).map(({ kid }) => kid)
  return {
    kids,
    refresh: () => run(keys.refresh),
    pass: async (milliseconds: number) => {
      await Effect.runPromise(clock.adjust(milliseconds))
      // what the time woke up asks, and gets its answer
      await pause(400)
    }
  }
}

const minutes = 60_000
const hours = 60 * minutes

describe("R73 keys of an issuer", () => {
  it("are asked for at once and every five minutes, and follow what is published", async ({ onTestFinished }) => {
    const issuer = await startIssuer(onTestFinished)
    const { kids, pass, refresh } = await follow(issuer, onTestFinished)
    await refresh()
    expect(await kids()).toEqual(["first"])
    const asked = issuer.asked()
    issuer.publish(newKeyPair("ES256", "second"))
    await pass(5 * minutes - 1)
    expect(issuer.asked()).toBe(asked)
    await pass(1)
    expect(issuer.asked()).toBe(asked + 1)
    expect(await kids()).toEqual(["second"])
  })

  it("are asked for again by unknown kids at most once in 30 seconds, however many come", async ({ onTestFinished }) => {
    const issuer = await startIssuer(onTestFinished)
    const { kids, pass, refresh } = await follow(issuer, onTestFinished)
    await refresh()
    await pause(50)
    const begin = issuer.asked()
    issuer.publish(newKeyPair("EdDSA", "second"))
    await Promise.all(Array.from({ length: 100 }, refresh))
    expect(issuer.asked()).toBe(begin + 1)
    expect(await kids()).toEqual(["second"])
    issuer.publish(newKeyPair("EdDSA", "third"))
    await pass(29_999)
    await Promise.all(Array.from({ length: 100 }, refresh))
    expect(issuer.asked()).toBe(begin + 1)
    await pass(1)
    await Promise.all(Array.from({ length: 100 }, refresh))
    expect(issuer.asked()).toBe(begin + 2)
    expect(await kids()).toEqual(["third"])
  })

  const failures: ReadonlyArray<readonly [what: string, fail: (issuer: Issuer) => void]> = [
    ["answers 500", (issuer) => issuer.answer((_, response) => void response.writeHead(500).end())],
    ["ends connections", (issuer) => issuer.answer(({ socket }) => void socket.destroy())],
    ["answers HTML", (issuer) => issuer.answer((_, response) => void response.end("<html></html>"))],
    ["has no keys member", (issuer) => issuer.answer((_, response) => void response.end("{}"))],
    ["publishes two keys of one name", (issuer) => issuer.publish(newKeyPair("EdDSA", "a"), newKeyPair("EdDSA", "a"))],
    ["publishes a secret", (issuer) => issuer.publish(newKeyPair("EdDSA", "a"), { kty: "oct", k: "AAAA", kid: "b" })],
    ["publishes 21 keys", (issuer) => issuer.publish(...Array.from({ length: 21 }, () => newKeyPair("EdDSA")))],
    [
      "answers more than 64 KiB",
      (issuer) =>
        issuer.answer((_, response) => void response.end(JSON.stringify({ keys: [], pad: "a".repeat(65_536) })))
    ],
    ["never ends its answer", (issuer) =>
      issuer.answer((_, response) => {
        const timer = setInterval(() => response.write(" ".repeat(16_384)), 1)
        response.on("close", () => clearInterval(timer))
      })],
    ["redirects", (issuer) =>
      issuer.answer(({ url }, response) => {
        if (url === "/elsewhere") {
          response.end(JSON.stringify({ keys: [newKeyPair("EdDSA", "elsewhere").publicJwk] }))
        } else response.writeHead(302, { location: "/elsewhere" }).end()
      })]
  ]

  it.each(failures)("are the last good ones for 24 hours while it %s", async (_, fail) => {
    const ends: Array<() => unknown> = []
    const finished: OnTestFinished = (end) => void ends.push(end as () => unknown)
    const issuer = await startIssuer(finished)
    const { kids, pass, refresh } = await follow(issuer, finished)
    await refresh()
    await pause(50)
    fail(issuer)
    const before = issuer.asked()
    await pass(5 * minutes)
    await refresh()
    expect(issuer.asked()).toBeGreaterThan(before)
    expect(await kids()).toEqual(["first"])
    await pass(18 * hours)
    expect(await kids()).toEqual(["first"])
    await pass(6 * hours)
    expect(await kids()).toEqual([])
    issuer.publish(newKeyPair("EdDSA", "again"))
    await pass(5 * minutes)
    await refresh()
    expect(await kids()).toEqual(["again"])
    for (const end of ends.reverse()) await end()
  })

  it.each<[string, Parameters<Issuer["answer"]>[0]]>([
    ["an answer", () => {}],
    ["its end", (_, response) => void response.write('{"keys":[')]
  ])("are not waited for longer than 3 seconds, when %s does not come", async (_, answer) => {
    const ends: Array<() => unknown> = []
    const finished: OnTestFinished = (end) => void ends.push(end as () => unknown)
    const issuer = await startIssuer(finished)
    issuer.answer(answer)
    const { kids, pass, refresh } = await follow(issuer, finished)
    let isOver = false
    const refreshed = refresh().then(() => {
      isOver = true
    })
    await pass(2_999)
    expect([issuer.asked(), isOver]).toEqual([1, false])
    await pass(1)
    await refreshed
    expect(await kids()).toEqual([])
    for (const end of ends.reverse()) await end()
  })

  it("come from nowhere else", async ({ onTestFinished }) => {
    const [issuer, other] = [await startIssuer(onTestFinished), await startIssuer(onTestFinished)]
    issuer.answer((_, response) => void response.writeHead(302, { location: `${other.origin}/jwks` }).end())
    const { kids, refresh } = await follow(issuer, onTestFinished)
    await refresh()
    expect([other.asked(), await kids()]).toEqual([0, []])
  })
})
