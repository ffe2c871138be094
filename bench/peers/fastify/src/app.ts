/** The server: what every request passes through, and the routes. */
import type { JsonSchemaToTsProvider } from "@fastify/type-provider-json-schema-to-ts"
import fastify, { LogController } from "fastify"
import { v7 as uuidv7 } from "uuid"
import { authRoutes } from "./auth/routes.ts"
import { authentication } from "./auth/authentication.ts"
import { accounts } from "./auth/accounts.ts"
import { tokens } from "./auth/tokens.ts"
import type { Config } from "./config.ts"
import { createPool } from "./database.ts"
import { deriveKeys } from "./keys.ts"
import { handleError, handleNotFound, Problem } from "./problems.ts"
import { formats } from "./schemas.ts"
import { cursors } from "./tasks/cursors.ts"
import { tasksRepository } from "./tasks/repository.ts"
import { tasksRoutes } from "./tasks/routes.ts"

/** Ids that a proxy or a client gives are kept where they are harmless in a log. */
const givenId = /^[\w.:-]{1,100}$/

const securityHeaders = {
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store"
}

export const buildApp = (config: Config) => {
  const app = fastify({
    logger: { level: config.logLevel },
    // one line a request, written below once it is answered
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: "request_id" }),
    requestIdHeader: false,
    genReqId: ({ headers }) => {
      const given = headers["x-request-id"]
      return typeof given === "string" && givenId.test(given) ? given : uuidv7()
    },
    bodyLimit: 128 * 1024,
    ajv: {
      // a value of the wrong type or with an unknown name is refused, not repaired
      customOptions: {
        allErrors: true,
        coerceTypes: false,
        removeAdditional: false,
        useDefaults: false,
        $data: true,
        formats
      }
    }
  }).withTypeProvider<JsonSchemaToTsProvider>()

  const pool = createPool(config, app.log)
  const keys = deriveKeys(config.jwtSecret)
  const accessTokens = tokens(config.jwtSecret, keys)
  app.addHook("onClose", () => pool.end())

  app.setErrorHandler(handleError)
  app.setNotFoundHandler(handleNotFound)
  app.addContentTypeParser(
    "application/merge-patch+json",
    { parseAs: "string" },
    app.getDefaultJsonParser("error", "error")
  )

  app.decorateRequest("user", null)
  app.addHook("onRequest", (request, reply, done) => {
    reply.headers(securityHeaders).header("x-request-id", request.id)
    done()
  })
  app.addHook("onResponse", (request, reply, done) => {
    request.log.info({
      event: "request",
      method: request.method,
      route: request.routeOptions.url ?? "none",
      status: reply.statusCode,
      duration_ms: Math.round(reply.elapsedTime * 100) / 100,
      user_id: request.user?.id ?? null,
      address: request.ip
    }, "request")
    done()
  })

  app.get("/health/ready", async () => {
    await pool.query("select 1").catch(() => {
      throw new Problem("database_unavailable")
    })
    return { status: "ok" }
  })
  app.register(authRoutes, { prefix: "/api/v1/auth", accounts: accounts(pool, accessTokens) })
  app.register(tasksRoutes, {
    prefix: "/api/v1/tasks",
    authenticate: authentication(pool, accessTokens),
    tasks: tasksRepository(pool),
    cursors: cursors(keys.cursor)
  })
  return app
}
