/** Where limits are counted: in memory that is bounded, and in Redis, which may be away. */
import { randomUUID } from "node:crypto"
import { setTimeout as pause } from "node:timers/promises"
import { Duration, Effect, Layer, Logger, ManagedRuntime } from "effect"
import * as RateLimiter from "effect/persistence/RateLimiter"
import { TestClock } from "effect/testing"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { capacity, type Counter, makeMemoryStore } from "../../src/limits/MemoryStore.ts"
import { networkOf } from "../../src/limits/Network.ts"
import * as SharedStore from "../../src/limits/SharedStore.ts"
import { read, Settings } from "../../src/Settings.ts"
import { hasRedis, startRedis, type TestRedis } from "../support/Redis.ts"

type Store = RateLimiter.RateLimiterStore["Service"]

/** Ten in fifteen minutes, unless told otherwise. */
const spend = (store: Store, key: string, tokens = 1, limit = 10, seconds = 900) =>
  store.fixedWindow({ key, tokens, limit, refillRate: Duration.seconds(seconds / limit) })

describe("the store in memory", () => {
  const test =
    (program: (store: Store, counters: Map<string, Counter>) => Effect.Effect<void, RateLimiter.RateLimiterError>) =>
    () => {
      const counters = new Map<string, Counter>()
      return Effect.runPromise(
        Effect.flatMap(makeMemoryStore(counters), (store) => program(store, counters)).pipe(
          Effect.provide(TestClock.layer())
        )
      )
    }

  it(
    "counts up to the limit, and anew once what was spent has come back",
    test(Effect.fnUntraced(function* (store) {
      for (let count = 1; count <= 10; count++) expect(yield* spend(store, "a")).toEqual([count, count * 90_000])
      for (let i = 0; i < 3; i++) expect(yield* spend(store, "a")).toEqual([11, 900_000])
      expect(yield* spend(store, "b")).toEqual([1, 90_000])
      yield* TestClock.adjust("899 seconds")
      expect(yield* spend(store, "a")).toEqual([11, 1_000])
      yield* TestClock.adjust("1 second")
      expect(yield* spend(store, "a")).toEqual([1, 90_000])
    }))
  )

  it(
    "takes back what is given back, and gives no credit",
    test(Effect.fnUntraced(function* (store) {
      yield* spend(store, "a")
      yield* spend(store, "a")
      expect(yield* spend(store, "a", -1)).toEqual([1, 90_000])
      yield* TestClock.adjust("90 seconds")
      expect(yield* spend(store, "a", -1)).toEqual([0, 0])
      expect(yield* spend(store, "unknown", -1)).toEqual([0, 0])
      expect(yield* spend(store, "a")).toEqual([1, 90_000])
      expect(yield* spend(store, "unknown")).toEqual([1, 90_000])
    }))
  )

  it(
    "forgets those first of which least was spent, when there are too many keys",
    test(Effect.fnUntraced(function* (store) {
      for (let i = 0; i < 10; i++) yield* spend(store, "at its limit")
      yield* spend(store, "twice", 2)
      for (let i = 0; i < 2 * capacity; i++) yield* spend(store, `once ${i}`)
      expect(yield* spend(store, "at its limit")).toEqual([11, 900_000])
      expect(yield* spend(store, "twice")).toEqual([3, 270_000])
      expect(yield* spend(store, `once ${2 * capacity - 1}`)).toEqual([2, 180_000])
      expect(yield* spend(store, "once 0")).toEqual([1, 90_000])
    }))
  )

  it(
    "holds no key that has expired for long, and never more than its capacity",
    test(Effect.fnUntraced(function* (store, counters) {
      for (let i = 0; i < 1_000; i++) yield* spend(store, `key ${i}`)
      expect(counters.size).toBe(1_000)
      yield* TestClock.adjust("10 minutes")
      yield* spend(store, "key of a later time")
      expect(counters.size).toBe(1)
      for (let i = 0; i < 2 * capacity; i++) {
        yield* spend(store, `key ${i}`)
        if (counters.size > capacity) throw new Error(`${counters.size} keys`)
      }
    }))
  )
})

describe("R16 a network", () => {
  it.each([
    ["203.0.113.7", "203.0.113.7"],
    ["::ffff:203.0.113.7", "203.0.113.7"],
    ["::FFFF:cb00:7107", "203.0.113.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:DB8:1:2::", "2001:db8:1:2::/64"],
    ["2001:db8:1:3::1", "2001:db8:1:3::/64"],
    ["::1", "::/64"],
    ["", "unknown"],
    ["<script>", "unknown"]
  ])("of %s is %s", (address, expected) => {
    expect(networkOf(address)).toBe(expected)
  })

  it("of no address is one that others without an address share", () => {
    expect(networkOf(undefined)).toBe("unknown")
  })
})

describe.skipIf(!hasRedis)("the store in Redis", () => {
  let redis: TestRedis
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.stop())

  /** One process's store, and what it has told. */
  const makeInstance = (url: string) => {
    const lines: Array<string> = []
    const runtime = ManagedRuntime.make(SharedStore.layer.pipe(
      Layer.provide(
        Layer.effect(Settings, read({ JWT_SECRET: "a test secret with more than 32 bytes", REDIS_URL: url }))
      ),
      Layer.provide(Logger.layer([Logger.map(Logger.formatJson, (line) => void lines.push(line))]))
    ))
    const ask = (key: string, tokens = 1) =>
      runtime.runPromise(Effect.flatMap(RateLimiter.RateLimiterStore, (store) => spend(store, key, tokens)))
        .then(([count]) => count)
    const told = (text: string) => lines.filter((line) => line.includes(text)).length
    return { ask, told, lines, stop: () => runtime.dispose() }
  }
  const away = "by this process alone"
  const shared = "limits are shared"
  const until = async (isSo: () => boolean) => {
    const end = Date.now() + 15_000
    while (!isSo() && Date.now() < end) await pause(20)
    expect(isSo()).toBe(true)
  }

  // on a machine that is busy for half a second it seems to be away
  it("is one for all instances, and atomic", { retry: 3 }, async () => {
    const key = randomUUID()
    const [one, other] = [makeInstance(redis.url), makeInstance(redis.url)]
    const counts = await Promise.all(
      Array.from({ length: 100 }, (_, index) => (index % 2 === 0 ? one : other).ask(key))
    )
    expect(counts.filter((count) => count <= 10).sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    expect(await one.ask(key, -1)).toBe(9)
    expect(await other.ask(key)).toBe(10)
    expect(await other.ask(key)).toBe(11)
    // what is given back to nobody is no credit
    await one.ask(`nobody ${key}`, -1)
    await pause(20)
    expect(await one.ask(`nobody ${key}`)).toBe(1)
    expect(one.told(away)).toBe(0)
    await Promise.all([one.stop(), other.stop()])
  })

  it("is replaced by memory while it is stopped, and used again when it is back", async () => {
    const both = () => [makeInstance(redis.url), makeInstance(redis.url)] as const
    let [one, other] = both()
    for (;; [one, other] = both()) {
      const key = randomUUID()
      const counts: Array<number> = []
      for (let count = 1; count <= 10; count++) counts.push(await one.ask(key))
      counts.push(await other.ask(key))
      // on a machine that is busy for half a second it seems to be away
      if (one.told(away) + other.told(away) === 0) {
        expect(counts).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
        break
      }
      await Promise.all([one.stop(), other.stop()])
    }

    await redis.stop()
    // limited all the same, by each for itself
    for (const { ask } of [one, other]) {
      for (let count = 1; count <= 10; count++) expect(await ask("stopped")).toBe(count)
      expect(await ask("stopped")).toBe(11)
    }
    await pause(2_500)
    for (const { told } of [one, other]) expect(told(away)).toBe(1)

    await redis.start()
    await until(() => one.told(shared) === 2 && other.told(shared) === 2)
    expect(await one.ask("stopped")).toBe(1)
    expect(await other.ask("stopped")).toBe(2)
    const text = [...one.lines, ...other.lines].join("\n")
    expect(text).not.toContain(redis.password)
    expect(text).not.toContain(encodeURIComponent(redis.password))
    await Promise.all([one.stop(), other.stop()])
  })

  it("is waited for only once for a while when it does not answer, and used again when it does", async () => {
    const instance = makeInstance(redis.url)
    expect(await instance.ask("frozen")).toBe(1)
    redis.freeze()
    try {
      const begin = performance.now()
      const counts = await Promise.all(Array.from({ length: 20 }, () => instance.ask("frozen")))
      expect(counts.filter((count) => count <= 10)).toHaveLength(10)
      for (let i = 0; i < 50; i++) expect(await instance.ask("frozen")).toBe(11)
      // half a second for all of them, and not for each
      expect(instance.lines.join("\n")).toContain("no answer in 500ms")
      expect(performance.now() - begin).toBeLessThan(5_000)
      await pause(3_000)
      expect(await instance.ask("frozen")).toBe(11)
      expect(instance.told(away)).toBe(1)
    } finally {
      redis.thaw()
    }
    await until(() => instance.told(shared) === 2)
    expect(await instance.ask("since then")).toBe(1)
    await instance.stop()
  })

  it("need not be there at the start", async () => {
    await redis.stop()
    const instance = makeInstance(redis.url)
    expect(await instance.ask("start")).toBe(1)
    expect(instance.told(away)).toBe(1)
    await redis.start()
    await until(() => instance.told(shared) === 1)
    expect(await instance.ask("start")).toBe(1)
    await instance.stop()
  })

  it("that refuses this password is as good as none", async () => {
    const instance = makeInstance(redis.url.replace("password", "passwort"))
    expect(await instance.ask("refused")).toBe(1)
    expect(instance.told(away)).toBe(1)
    await instance.stop()
  })
})
