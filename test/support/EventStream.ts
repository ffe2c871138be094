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
