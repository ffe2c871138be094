import process from "node:process"
import { buildApp } from "./app.ts"
import { config } from "./config.ts"

const app = buildApp(config)
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => app.close())
await app.listen({ host: config.host, port: config.port })
