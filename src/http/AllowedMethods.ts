/** Which methods a path has: the router forgets that once a method did not match. */
import { FindMyWay, type HttpRouter } from "effect/http"
import { HttpApi } from "effect/http-api"
import { Api } from "../api/Api.ts"
import { pagePaths } from "../system/Pages.ts"

const methods = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const

const table = FindMyWay.make<true>()
HttpApi.reflect(Api, {
  onGroup() {},
  onEndpoint: ({ endpoint }) => table.on(endpoint.method, endpoint.path as HttpRouter.PathInput, true)
})
for (const path of pagePaths) table.on("GET", path, true)

/** The methods of a URL's path; none where the path does not exist. HEAD is answered like GET. */
export const allowedMethods = (url: string): ReadonlyArray<string> =>
  methods.filter((method) => {
    const found = table.find(method, url)
    const userId = found?.params["user_id"]?.toLowerCase()
    return found !== undefined && userId !== "v1" && userId !== "auth"
  }).flatMap((method) => method === "GET" ? ["GET", "HEAD"] : [method])
