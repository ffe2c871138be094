/** Writes docs/openapi.json, which a test keeps equal to what the server serves. */
import { writeFileSync } from "node:fs"
import { OpenApi } from "effect/http-api"
import { Api } from "../src/api/Api.ts"

writeFileSync(new URL("../docs/openapi.json", import.meta.url), `${JSON.stringify(OpenApi.fromApi(Api), null, 2)}\n`)
