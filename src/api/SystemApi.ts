/** The server itself: is it well, what can it do, what do its problems mean. */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { DatabaseUnavailable, MetricsProblem, NotFound, Overloaded } from "./Problems.ts"
import { problemCatalog, type ProblemCode } from "./ProblemCatalog.ts"
import { NoQuery } from "./Requests.ts"

const codes = Object.keys(problemCatalog) as [ProblemCode, ...Array<ProblemCode>]

export const Health = Schema.Struct({ status: Schema.Literal("ok") }).annotate({ identifier: "Health" })

/** What `GET /problems/{code}` tells. */
export const ProblemDescription = Schema.Struct({
  type: Schema.String,
  code: Schema.String,
  status: Schema.Int,
  title: Schema.String,
  meaning: Schema.String,
  remedy: Schema.String
}).annotate({ identifier: "ProblemDescription" })

/** A key as others may know it (RFC 7517, RFC 8037): every member is named, so that no private one can be sent. */
export const PublicJwk = Schema.Struct({
  kty: Schema.Literals(["OKP", "EC"]),
  crv: Schema.Literals(["Ed25519", "P-256"]),
  x: Schema.String,
  y: Schema.optionalKey(Schema.String),
  kid: Schema.String,
  alg: Schema.Literals(["EdDSA", "ES256"]),
  use: Schema.Literal("sig")
}).annotate({ identifier: "PublicJwk" })
export type PublicJwk = typeof PublicJwk.Type

export const JwkSet = Schema.Struct({ keys: Schema.Array(PublicJwk) }).annotate({ identifier: "JwkSet" })

/** Seconds for which others may keep the keys: a new one has to be published for longer before it signs. */
const jwkSetLifetime = 300

const CacheableJwkSet = JwkSet.pipe(
  HttpApiSchema.encodeToWithHeaders({ body: JwkSet, headers: { "cache-control": Schema.String } }, {
    decode: ({ body }) => body,
    encode: (body) => ({ body, headers: { "cache-control": `public, max-age=${jwkSetLifetime}` } })
  })
)

/** What the server can't do for now is told by the 503s that are part of every endpoint. */
const ready = { query: NoQuery, success: Health, error: [Overloaded, DatabaseUnavailable] as const }

export class SystemApi extends HttpApiGroup.make("system").add(
  HttpApiEndpoint.get("live", "/health/live", { query: NoQuery, success: Health })
    .annotateMerge(OpenApi.annotations({ summary: "Whether the process runs" })),
  HttpApiEndpoint.get("ready", "/health/ready", ready)
    .annotateMerge(OpenApi.annotations({ summary: "Whether the server takes requests" })),
  HttpApiEndpoint.get("health", "/health", ready)
    .annotateMerge(OpenApi.annotations({ summary: "Whether the server takes requests; the same as /health/ready" })),
  HttpApiEndpoint.get("problem", "/problems/:code", {
    params: { code: Schema.String.annotate({ description: codes.join(", ") }) },
    query: NoQuery,
    success: ProblemDescription,
    error: NotFound
  }).annotateMerge(OpenApi.annotations({ summary: "What a problem's code means and what to do about it" })),
  HttpApiEndpoint.get("metrics", "/metrics", {
    headers: { authorization: Schema.optionalKey(Schema.String) },
    success: Schema.String.pipe(HttpApiSchema.asText({ contentType: "text/plain; version=0.0.4; charset=utf-8" })),
    error: [NotFound, MetricsProblem]
  }).annotateMerge(OpenApi.annotations({
    summary: "Metrics in Prometheus' text format",
    description: "Needs METRICS_TOKEN as bearer where it is set; in production it is off without one."
  })),
  HttpApiEndpoint.get("jwks", "/.well-known/jwks.json", { query: NoQuery, success: CacheableJwkSet })
    .annotateMerge(OpenApi.annotations({ summary: "The public keys that access tokens can be verified with" }))
).annotateMerge(OpenApi.annotations({ title: "System" })) {}
