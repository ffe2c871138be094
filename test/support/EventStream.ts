/** Event streams as clients read them. */
import { get } from "node:http"

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

/** Follows the changes of this user on a connection of its own; resolves with the first that it is told. */
export const followChanges = (
  { url }: { readonly url: string },
  { access_token }: { readonly access_token: string },
  finished: (work: () => void) => void
) =>
  new Promise<EventReader>((resolve, reject) => {
    const request = get(`${url}/api/v1/changes/stream`, {
      agent: false,
      headers: { authorization: `Bearer ${access_token}` }
    }, (response) => {
      const reader = makeReader()
      response.setEncoding("utf8").on("data", (text: string) => {
        reader.feed(text)
        resolve(reader)
      }).on("error", () => {})
    })
    request.on("error", reject)
    finished(() => void request.on("error", () => {}).destroy())
  })
