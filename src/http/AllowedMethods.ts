/** Which methods a path has: the router forgets that once a method did not match. */
import { Effect, type Layer } from "effect"
import { FindMyWay, HttpRouter, HttpServerError } from "effect/http"
import { HttpApi } from "effect/http-api"
import { Api } from "../api/Api.ts"
import { pagePaths } from "../system/Pages.ts"

const methods = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const
type Path = HttpRouter.PathInput

/** The path by which each method of each path is found. */
const table = FindMyWay.make<Path>()
const paths = new Set<Path>()
const add = (method: typeof methods[number], path: Path) => {
  table.on(method, path, path)
  paths.add(path)
}
HttpApi.reflect(Api, {
  onGroup() {},
  onEndpoint: ({ endpoint }) => add(endpoint.method as typeof methods[number], endpoint.path as Path)
})
for (const path of pagePaths) add("GET", path)

const parameters = (path: string) => path.split(":").length

/** The methods of a URL's path; none where the path does not exist. HEAD is answered like GET. */
export const allowedMethods = (url: string): ReadonlyArray<string> => {
  const found = methods.flatMap((method) => {
    const route = table.find(method, url)
    const userId = route?.params["user_id"]?.toLowerCase()
    return route === undefined || userId === "v1" || userId === "auth" ? [] : [{ method, path: route.handler }]
  })
  // /tasks/stats is no task, whatever can be done with tasks (OpenAPI 3.1, 4.8.8.2)
  const fewest = Math.min(...found.map(({ path }) => parameters(path)))
  return found.filter(({ path }) => parameters(path) === fewest)
    .flatMap(({ method }) => method === "GET" ? ["GET", "HEAD"] : [method])
}

/** Keeps a method that a path does not have from being found under a more general path. */
export const layer: Layer.Layer<never, never, HttpRouter.HttpRouter> = HttpRouter.use((router) =>
  Effect.forEach(paths, (path) =>
    Effect.forEach(methods, (method) => {
      const found = table.find(method, path)?.handler
      if (found === undefined || found === path) return Effect.void
      return router.add(method, path, (request) =>
        Effect.die(new HttpServerError.HttpServerError({ reason: new HttpServerError.RouteNotFound({ request }) })))
    }))
)
