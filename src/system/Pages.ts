/** The pages for people: `/` leads to the docs. */
import { createHash } from "node:crypto"
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { HttpApiScalar, OpenApi } from "effect/http-api"
import { Api } from "../api/Api.ts"
import { RequestInfo } from "../http/RequestInfo.ts"

/** The paths that are not endpoints of the API. */
export const pagePaths = ["/", "/docs", "/openapi.json"] as const

/** The viewer's scripts are inline: they are allowed by their hashes, and nothing else is (CSP level 3). */
const contentSecurityPolicy = (html: string): string => {
  const scripts = [...html.matchAll(/<script>([\s\S]*?)<\/script>/g)]
    .map(([, script]) => `'sha256-${createHash("sha256").update(script!).digest("base64")}'`)
  return [
    "default-src 'none'",
    `script-src ${scripts.join(" ")}`,
    "style-src 'unsafe-inline'",
    "img-src 'self' data:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'"
  ].join("; ")
}

/** No fonts, no telemetry and no tools that lead to other hosts. The type of the package does not know them all. */
const viewer: HttpApiScalar.ScalarConfig = Object.assign({ withDefaultFonts: false }, {
  telemetry: false,
  showDeveloperTools: "never",
  hideClientButton: true,
  authentication: { preferredSecurityScheme: "bearer" },
  agent: { disabled: true },
  mcp: { disabled: true }
})

/**
 * The docs viewer, 3 MB with its assets inside, so that it needs no network. It is rendered for the first who asks, on
 * a router of its own, because its layer loads it when it is built: until then it costs no memory.
 */
const docs = Effect.gen(function* () {
  const { dispose, handler } = HttpRouter.toWebHandler(
    HttpApiScalar.layer(Api, {
      path: "/docs",
      scalar: viewer
    }),
    { disableLogger: true }
  )
  const html = yield* Effect.promise(async () => (await handler(new Request("http://localhost/docs"))).text())
  yield* Effect.promise(dispose)
  return HttpServerResponse.html(html).pipe(
    HttpServerResponse.setHeader("content-security-policy", contentSecurityPolicy(html))
  )
})

const route =
  (path: typeof pagePaths[number]) => <E, R>(effect: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
    Effect.flatMap(RequestInfo, (info) => {
      info.route = path
      return effect
    })

export const layer = HttpRouter.use(Effect.fnUntraced(function* (router) {
  const page = yield* Effect.cached(docs)
  const document = yield* Effect.cached(Effect.sync(() => HttpServerResponse.jsonUnsafe(OpenApi.fromApi(Api))))
  yield* router.add("GET", "/", route("/")(Effect.succeed(HttpServerResponse.redirect("/docs", { status: 303 }))))
  yield* router.add("GET", "/docs", route("/docs")(page))
  yield* router.add("GET", "/openapi.json", route("/openapi.json")(document))
})) satisfies Layer.Layer<never, never, HttpRouter.HttpRouter>
