/** Writes lines to standard output without making anybody wait: neither for each line, nor for who reads them. */
import { write } from "node:fs"
import { promisify } from "node:util"
import { Effect, type Scope } from "effect"

declare const Deno: { readonly stdout: { readonly write: (bytes: Uint8Array) => Promise<number> } } | undefined

const writeDescriptor = promisify(write)

/** How many of the bytes there was room for. Deno has its own: there, node:fs holds up the process while a pipe is full. */
const take = (bytes: Uint8Array): Promise<number> =>
  typeof Deno === "undefined"
    ? writeDescriptor(1, bytes).then(({ bytesWritten }) => bytesWritten)
    : Deno.stdout.write(bytes)

/** Characters that may wait for a reader that is slow or gone; what comes then is counted and left out. */
const maximumWaiting = 1_000_000

/** Milliseconds from one write to the next: what comes meanwhile is written together. */
const pause = 5

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
    if (waiting === "") isWriting = false
    else send(Buffer.from(told()))
  }

  const send = (bytes: Buffer) =>
    take(bytes).then(
      (written) => {
        if (written < bytes.length) send(bytes.subarray(written))
        else setTimeout(next, pause)
      },
      (error) => {
        // where nobody reads any more, what is not taken is lost, and the requests go on
        if (error.code === "EAGAIN") setTimeout(send, pause, bytes)
        else setTimeout(next, pause)
      }
    )

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
    // not before what runs now has ended
    if (!isWriting) {
      isWriting = true
      setImmediate(next)
    }
  }
})
