import { HttpApi, OpenApi } from "effect/http-api"
import { AuthApi, UnversionedAuthApi } from "./AuthApi.ts"
import { ChangesApi, UserChangesApi } from "./ChangesApi.ts"
import { completeOpenApi } from "./OpenApiDocument.ts"
import { Faults } from "./Requests.ts"
import { SystemApi } from "./SystemApi.ts"
import { TasksApi, UserTasksApi } from "./TasksApi.ts"

/** The whole contract. Servers implement it, clients derive from it; it needs neither. */
export class Api extends HttpApi.make("tasks-api")
  .add(AuthApi, TasksApi, ChangesApi, UnversionedAuthApi, UserTasksApi, UserChangesApi, SystemApi)
  .middleware(Faults)
  .annotate(HttpApi.ParseOptions, { errors: "all" })
  .annotateMerge(OpenApi.annotations({
    title: "Tasks API",
    version: "0.1.0",
    description: "Task management for many users: accounts with JWT authentication, and strictly isolated tasks.",
    license: { name: "MIT", identifier: "MIT" },
    transform: completeOpenApi
  })) {}
