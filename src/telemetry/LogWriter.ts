/** Writes lines to standard output without making anybody wait: neither for each line, nor for who reads them. */
import { write } from "node:fs"
import { Effect, type Scope } from "effect"

const standardOutput = 1

/** Characters that may wait for a reader that is slow or gone; what comes then is counted and left out. */
const maximumWaiting = 1_000_000

/** Milliseconds until a write is tried again that the reader had no room for. */
const pause = 10

/** Takes lines; those that come while some are written are written together after them. Ends with the scope. */
export const makeLogWriter: Effect.Effect<(line: string) => void, never, Scope.Scope> = Effect.gen(function* () {
  let waiting = ""
  let left = 0
  let isWriting = false

  const told = () => {
    const note = { message: "lines of the log were left out", level: "WARN", annotations: { lines: left } }
    const text = left === 0
      ? waiting
      : `${waiting}${JSON.stringify({ ...note, timestamp: new Date().toISOString() })}\n`
    waiting = ""
    left = 0
    return text
  }

  const next = () => {
    if (waiting === "") return
    isWriting = true
    send(Buffer.from(told()))
  }

  const send = (bytes: Buffer) =>
    write(standardOutput, bytes, (error, written) => {
      // nobody reads any more: what is not taken is lost, and the requests go on
      if (error !== null && error.code !== "EAGAIN") written = bytes.length
      const rest = bytes.subarray(written ?? 0)
      if (rest.length > 0) return void setTimeout(send, error === null ? 0 : pause, rest)
      isWriting = false
      next()
    })

  yield* Effect.addFinalizer(() =>
    Effect.callback<void>((resume) => {
      const end = () => {
        if (!isWriting && waiting === "") return resume(Effect.void)
        setTimeout(end, 1)
      }
      end()
    }).pipe(Effect.timeoutOption("1 second"))
  )

  return (line) => {
    if (waiting.length > maximumWaiting) return void left++
    waiting += `${line}\n`
    // gathered until what runs now has ended
    if (!isWriting) {
      isWriting = true
      setImmediate(next)
    }
  }
})
