/**
 * A process that asks for one short page every 50 ms, whether or not the one before it has been answered, and tells how
 * many milliseconds each answer took. What it is told: SERVER, BEARER and SECONDS.
 */
import process from "node:process"
import { setTimeout as pause } from "node:timers/promises"
import { send } from "../http/exchange.ts"

const { BEARER, SECONDS, SERVER } = process.env

const ask = async () => {
  const begin = performance.now()
  const { status } = await send({ url: SERVER ?? "" }, "GET", "/api/v1/tasks?limit=1", {
    headers: { authorization: `Bearer ${BEARER}` }
  })
  return { status, ms: performance.now() - begin }
}

await ask()
const asked: Array<ReturnType<typeof ask>> = []
for (const begin = performance.now(); performance.now() - begin < Number(SECONDS) * 1_000; await pause(50)) {
  asked.push(ask())
}
const answers = await Promise.all(asked)
console.log(JSON.stringify({
  message: "asked",
  annotations: { statuses: [...new Set(answers.map(({ status }) => status))], latencies: answers.map(({ ms }) => ms) }
}))
