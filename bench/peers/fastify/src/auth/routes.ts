import type { FastifyPluginCallbackJsonSchemaToTs } from "@fastify/type-provider-json-schema-to-ts"
import { invalid } from "../problems.ts"
import * as schemas from "../schemas.ts"
import type { Accounts } from "./accounts.ts"

export const authRoutes: FastifyPluginCallbackJsonSchemaToTs<{ Options: { readonly accounts: Accounts } }> = (
  app,
  { accounts },
  done
) => {
  const bodyLimit = 16 * 1024
  const failures = { "4xx": schemas.problem, "5xx": schemas.problem }

  app.post("/register", {
    bodyLimit,
    schema: {
      querystring: schemas.noQuery,
      body: schemas.registration,
      response: { 201: schemas.login, ...failures }
    }
  }, async (request, reply) => {
    const user = await accounts.register(request.body)
    const tokens = await accounts.startSession(user.id, request.ip, request.headers["user-agent"])
    return reply.code(201).send({ message: "User created successfully", user, ...tokens })
  })

  app.post("/login", {
    bodyLimit,
    schema: { querystring: schemas.noQuery, body: schemas.credentials, response: { 200: schemas.login, ...failures } }
  }, async ({ body, headers, ip }) => {
    const { password, ...names } = body
    const [name, another] = Object.values(names)
    if (name === undefined || another !== undefined) {
      throw invalid("", "needs exactly one of email, username and username_or_email")
    }
    const user = await accounts.logIn(name, password)
    return { user, ...await accounts.startSession(user.id, ip, headers["user-agent"]) }
  })
  done()
}
