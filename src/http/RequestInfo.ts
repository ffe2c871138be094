import { Context } from "effect"
import { TimeLimit } from "../api/Requests.ts"

/**
 * What is known of a request while it is answered: made at the edge, completed on the way in, read where a log line or
 * a session's row needs it.
 */
export interface RequestInfo {
  readonly id: string
  /** the address of the nearest hop that is not a trusted proxy */
  readonly address: string | undefined
  readonly userAgent: string | undefined
  /** the matched route, never the URL as it was sent */
  route: string | undefined
  userId: string | undefined
  /** milliseconds that it may take, once its body has arrived */
  timeLimit: number
}

export const RequestInfo = Context.Reference<RequestInfo>("tasks-api/http/RequestInfo", {
  defaultValue: () => ({
    id: "-",
    address: undefined,
    userAgent: undefined,
    route: undefined,
    userId: undefined,
    timeLimit: TimeLimit.defaultValue()
  })
})
