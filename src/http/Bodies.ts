/** Reading bodies, each within its limit and all of them within what the process can hold. */
import { toIncomingMessage } from "@effect/platform-node/NodeHttpServerRequest"
import { Data, Effect } from "effect"
import type { HttpServerRequest } from "effect/http"
import { MalformedBody, Overloaded, TooLarge } from "../api/Problems.ts"

/** Bytes that every body may have, whatever others have: 10,000 connections hold 40 MiB of them. */
const free = 4 * 1024

/** Bytes that longer bodies have together: with 9,000 clients that stay half-way, the process grows by less than 200 MB. */
const capacity = 32 * 1024 * 1024

/** What the object for a chunk takes besides its bytes: it counts where a body comes byte by byte. */
const chunkOverhead = 256

export class Unreadable
  extends Data.TaggedError("Unreadable")<{ readonly problem: TooLarge | MalformedBody | Overloaded }> {}

const tooLarge = new Unreadable({ problem: new TooLarge() })
const overloaded = new Unreadable({ problem: new Overloaded() })
const malformed = (detail: string) => new Unreadable({ problem: new MalformedBody({ detail }) })

// a byte order mark stays, so that JSON refuses it
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** A body's part of the room. It has to be given back when the request is over. */
export interface Share {
  readonly hasRoom: (size: number) => boolean
  readonly giveBack: Effect.Effect<void>
}

/** The room that all bodies have: a crowd of them is told to come back, and ends no process. */
export const makeRoom = () => {
  let left = capacity
  return (): Share => {
    let taken = 0
    return {
      hasRoom: (size) => {
        const more = size - free - taken
        if (more <= 0) return true
        if (more > left) return false
        left -= more
        taken += more
        return true
      },
      giveBack: Effect.sync(() => {
        left += taken
        taken = 0
      })
    }
  }
}

/**
 * Reads a body of at most `limit` bytes. The socket of a longer one, or of one for which there is no room, is left alone,
 * so that the 413 or the 503 arrives before the connection is closed.
 */
export const readText = (
  request: HttpServerRequest.HttpServerRequest,
  limit: number,
  { hasRoom }: Share
): Effect.Effect<string, Unreadable> =>
  Effect.callback((resume) => {
    const source = toIncomingMessage(request)
    if (Number(source.headers["content-length"] ?? 0) > limit) return resume(Effect.fail(tooLarge))
    const chunks: Array<Uint8Array> = []
    let size = 0
    const stop = () => {
      source.off("data", onData).off("end", onEnd).off("error", onError).off("close", onError)
    }
    const onData = (chunk: Uint8Array) => {
      size += chunk.length
      if (size > limit) {
        stop()
        source.pause()
        return resume(Effect.fail(tooLarge))
      }
      chunks.push(chunk)
      if (hasRoom(size + chunks.length * chunkOverhead)) return
      stop()
      source.pause()
      resume(Effect.fail(overloaded))
    }
    const onEnd = () => {
      stop()
      try {
        resume(Effect.succeed(utf8.decode(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks))))
      } catch {
        resume(Effect.fail(malformed("The body is not valid UTF-8.")))
      }
    }
    const onError = () => {
      stop()
      resume(Effect.fail(malformed("The body ended early.")))
    }
    source.on("data", onData).once("end", onEnd).once("error", onError).once("close", onError)
    return Effect.sync(stop)
  })
