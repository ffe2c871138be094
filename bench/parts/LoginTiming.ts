/** Whether the time of a failed login tells that there is such an account. */
import { performance } from "node:perf_hooks"
import { Effect } from "effect"
import { Connection } from "../load/Connection.ts"
import { median, rankAuc } from "../load/Statistics.ts"
import { BenchFailed } from "../machine/Children.ts"
import { figure, table } from "../Report.ts"
import type { Server } from "../targets/Servers.ts"

const pairs = 300
const warmUp = 20

const request = (email: string, password: string): string => {
  const body = JSON.stringify({ email, password })
  return "POST /api/v1/auth/login HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n" +
    `content-length: ${body.length}\r\n\r\n${body}`
}

/** Unknown addresses and wrong passwords in turns, one at a time; which goes first changes from pair to pair. */
const sample = async (port: number, emails: ReadonlyArray<string>, password: string) => {
  const connection = new Connection(port)
  const timed = async (email: string) => {
    const begin = performance.now()
    const { body, status } = await connection.ask(request(email, `${password}?`))
    if (status !== 401) throw new Error(`${status} ${body()}`)
    return performance.now() - begin
  }
  const unknown: Array<number> = []
  const wrong: Array<number> = []
  for (let n = -warmUp; n < pairs; n++) {
    const email = emails[(n + warmUp) % emails.length]!
    // as long as one that is known
    const stranger = email.replace("login", "guess")
    const order = n % 2 === 0 ? [stranger, email] : [email, stranger]
    for (const it of order) {
      const time = await timed(it)
      if (n >= 0) (it === stranger ? unknown : wrong).push(time)
    }
  }
  connection.close()
  return { unknown, wrong }
}

export const loginTiming = Effect.fnUntraced(function* (
  server: Server,
  emails: ReadonlyArray<string>,
  password: string
) {
  const { unknown, wrong } = yield* Effect.tryPromise({
    try: () => sample(server.port, emails, password),
    catch: (error) => new BenchFailed({ message: `the time of failed logins: ${String(error)}` })
  })
  const hash = median(wrong)
  const difference = median(unknown.map((time, index) => time - wrong[index]!))
  return [
    `### ${pairs} interleaved pairs of an unknown e-mail and a wrong password`,
    "",
    "Aimed at: a median difference of at most 5 % of the time of a hash, and an AUC from 0.45 to 0.55.",
    "",
    ...table([
      ["unknown e-mail, median ms", "wrong password, median ms", "median difference ms", "of the answer's time", "AUC"],
      [
        figure(median(unknown)),
        figure(hash),
        difference.toFixed(3),
        `${(difference / hash * 100).toFixed(1)} %`,
        rankAuc(unknown, wrong).toFixed(3)
      ]
    ])
  ]
})
