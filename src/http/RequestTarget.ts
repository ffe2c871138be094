import type { HttpServerRequest } from "effect/http"

/**
 * Path and query of a request as the client sent them, without scheme and host: behind a proxy those are not what the
 * client used, and they may be anything. Slashes at the beginning are one: two would name a host.
 */
export const requestTarget = ({ originalUrl }: HttpServerRequest.HttpServerRequest) => {
  const [path = "", query = ""] = originalUrl.replace(/^[a-z]+:\/\/[^/?]*/i, "").split("?", 2)
  return { path: path.replace(/^\/+/, "/"), query }
}
