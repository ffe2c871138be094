/** Event streams as clients read them. */
import { get } from "node:http"
import { get as httpsGet } from "node:https"

export interface SentEvent {
  readonly event: string
  readonly id: string
  readonly data: string
}

/** Reads the event stream format of the HTML standard, 9.2.6; a block without data is no event, but its id counts. */
export const makeReader = () => {
  const events: Array<SentEvent> = []
  const comments: Array<string> = []
  let rest = ""
  let lastId = ""
  let block = { event: "", data: [] as Array<string> }
  const line = (text: string) => {
    if (text === "") {
      if (block.data.length > 0) {
        events.push({ event: block.event === "" ? "message" : block.event, id: lastId, data: block.data.join("\n") })
      }
      block = { event: "", data: [] }
      return
    }
    if (text.startsWith(":")) return void comments.push(text)
    const [, field = "", value = ""] = /^([^:]*)(?:: ?(.*))?$/.exec(text) ?? []
    if (field === "event") block.event = value
    else if (field === "data") block.data.push(value)
    else if (field === "id" && !value.includes("\u0000")) lastId = value
    else if (field !== "retry") throw new Error(`not a line of an event stream: ${text}`)
  }
  return {
    events,
    comments,
    lastId: () => lastId,
    feed: (chunk: string) => {
      const lines = (rest + chunk).split(/\r\n|\n|\r/)
      rest = lines.pop() ?? ""
      for (const one of lines) line(one)
    }
  }
}

/** What a stream has told so far. */
export type EventReader = ReturnType<typeof makeReader>

export interface Followed extends EventReader {
  readonly requestId: string
  /** resolves when it breaks off */
  readonly ended: Promise<void>
}

/**
 * Follows the changes of this user on a connection of its own, from now or after an event; resolves with the first that
 * it is told.
 */
export const followChanges = (
  { ca, url }: { readonly url: string; readonly ca?: string },
  { access_token }: { readonly access_token: string },
  finished: (work: () => void) => void,
  lastEventId?: string
) =>
  new Promise<Followed>((resolve, reject) => {
    const request = (url.startsWith("https:") ? httpsGet : get)(`${url}/api/v1/changes/stream`, {
      agent: false,
      ...(ca !== undefined && { ca }),
      headers: {
        authorization: `Bearer ${access_token}`,
        ...(lastEventId !== undefined && { "last-event-id": lastEventId })
      }
    }, (response) => {
      if (response.statusCode !== 200) {
        response.resume()
        return void request.destroy(new Error(`no stream: ${response.statusCode}`))
      }
      const reader = makeReader()
      const ended = new Promise<void>((end) => response.once("close", end))
      const followed = { ...reader, requestId: String(response.headers["x-request-id"]), ended }
      response.setEncoding("utf8").on("data", (text: string) => {
        clearTimeout(timer)
        reader.feed(text)
        resolve(followed)
      }).on("error", () => {})
    })
    request.on("error", reject)
    const timer = setTimeout(() => request.destroy(new Error("the stream tells nothing")), 10_000)
    finished(() => void request.on("error", () => {}).destroy())
  })
