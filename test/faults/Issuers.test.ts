/** Another issuer's keys can't be had, in every way, while its users and local ones go on. */
import { describe, expect, it } from "vitest"
import { startIssuer, trusting } from "../auth/issuer.ts"
import { newKeyPair } from "../auth/keys.ts"
import { emptyDirectory, emptyPlace, patience, start, useFinished } from "../operation/program.ts"
import { expectProblem } from "../support/expect.ts"
import { having } from "../tasks/families.ts"
import { pause } from "./process.ts"
import { size } from "./sizes.ts"

const atTheEnd = useFinished()

describe("an issuer whose keys", () => {
  it(
    "F20 are away, wrong, endless or others is no matter of local users, nor of tokens whose keys are known",
    async () => {
      const issuer = await startIssuer(atTheEnd)
      const place = { ...await emptyPlace(atTheEnd), DATA_DIR: emptyDirectory(atTheEnd) }
      const server = await start({ ...place, TRUSTED_ISSUERS: JSON.stringify([trusting(issuer)]) }, atTheEnd)
      const local = await server.register()
      const user = { sub: "user-1" }
      const read = (token: string) => server.request("GET", "/api/v1/tasks", { token })
      having(200, await read(await issuer.token(user)))

      let isOver = false
      let asked = 0
      let slowest = 0
      /** Requests that have nothing to do with what the issuer answers: each is 200, and none waits for it. */
      const client = async (ask: () => ReturnType<typeof read>) => {
        while (!isOver) {
          const begin = performance.now()
          having(200, await ask())
          slowest = Math.max(slowest, performance.now() - begin)
          asked++
          await pause(20)
        }
      }
      // of its own: the 21st login ends the first session
      const { email, password } = await server.register()
      const clients = Promise.all([
        client(async () => read(await issuer.token(user))),
        client(() => read(local.access_token)),
        client(() => server.request("POST", "/api/v1/auth/login", { body: { email, password } })),
        client(() => server.request("GET", "/health/ready"))
      ])
      clients.catch(() => {
        isOver = true
      })

      const stranger = newKeyPair("EdDSA", "stranger")
      const modes: ReadonlyArray<() => void> = [
        () => issuer.answer(({ socket }) => void socket.destroy()),
        () => issuer.answer((_, response) => void response.writeHead(500).end()),
        // it never answers
        () => issuer.answer(() => {}),
        () => issuer.answer((_, response) => void response.end(" ".repeat(10 * 1024 * 1024))),
        () => issuer.answer((_, response) => void response.setHeader("content-type", "text/html").end("<html></html>")),
        () => issuer.answer((_, response) => void response.writeHead(302, { location: "/elsewhere" }).end())
      ]
      for (const fail of modes) {
        const before = issuer.asked()
        fail()
        // an unknown key makes the server ask, at most once in 30 s; the token is refused either way
        const flood = await Promise.all(
          Array.from(
            { length: 20 },
            async (_, index) => read(await issuer.token(user, { key: stranger, header: { kid: `${index}` } }))
          )
        )
        for (const answer of flood) {
          expectProblem(answer, 401, "token_invalid")
        }
        expect(issuer.asked() - before).toBeLessThanOrEqual(1)
        await pause(size(300, 31_000))
      }

      // it rotates: tokens of both keys are good while both are published, and of the new one alone afterwards
      const next = newKeyPair("EdDSA", "next")
      issuer.publish(issuer.key, next)
      const signedByNext = async () => (await read(await issuer.token(user, { key: next }))).status
      const until = performance.now() + 35_000
      while (await signedByNext() !== 200) {
        if (performance.now() > until) throw new Error("the new key is not known after the cooldown of 30 s")
        await pause(500)
      }
      having(200, await read(await issuer.token(user)))
      isOver = true
      await clients
      console.log(`F20: ${asked} requests beside it, the slowest took ${slowest.toFixed(0)} ms`)
      expect(asked).toBeGreaterThan(50)
      expect(server.lines().filter(({ message }) => message === "defect")).toEqual([])
    },
    6 * patience
  )
})
