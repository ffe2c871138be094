import { toIncomingMessage } from "@effect/platform-node/NodeHttpServerRequest"
import type { HttpServerRequest } from "effect/http"

/**
 * Path and query of a request as the client sent them, without scheme and host: behind a proxy those are not what the
 * client used, and they may be anything. Slashes at the beginning are one: two would name a host.
 */
export const requestTarget = (request: HttpServerRequest.HttpServerRequest) => {
  const { url = "" } = toIncomingMessage(request)
  const [path = "", ...query] = url.replace(/^[a-z]+:\/\/[^/?]*/i, "").split("?")
  return { path: path.replace(/^\/+/, "/"), query: query.join("?") }
}
