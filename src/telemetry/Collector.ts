/** Traces, metrics and logs, sent to a collector by OTLP over HTTP, as JSON. */
import { randomUUID } from "node:crypto"
import { Effect, Layer, Tracer } from "effect"
import { FetchHttpClient, HttpClient, HttpClientError } from "effect/http"
import { Otlp, OtlpResource } from "effect/observability"

/** A collector that does not answer may not keep what it was sent: it is given up, and sent nothing for a minute. */
const patience = "5 seconds"

/** Fetch, of which no request takes longer than that. */
const client = Layer.effect(
  HttpClient.HttpClient,
  Effect.map(
    HttpClient.HttpClient,
    HttpClient.transform((response, request) =>
      Effect.timeoutOrElse(response, {
        duration: patience,
        orElse: () =>
          Effect.fail(
            new HttpClientError.HttpClientError({
              reason: new HttpClientError.TransportError({ request, description: `no answer in ${patience}` })
            })
          )
      })
    )
  )
).pipe(Layer.provide(FetchHttpClient.layer))

/** What a span does not get: a query has what a user searched for, and cursors. */
const withheld = new Set(["url.full", "url.query"])

const discreet = (tracer: Tracer.Tracer) =>
  Tracer.make({
    ...tracer,
    span(options) {
      const span = tracer.span(options)
      const attribute = span.attribute.bind(span)
      span.attribute = (key, value) => withheld.has(key) ? undefined : attribute(key, value)
      return span
    }
  })

const serviceName = "tasks-api"
const instanceId = "service.instance.id"

/** Tells this process from the others, unless OTEL_RESOURCE_ATTRIBUTES does (semantic conventions: a random UUID). */
const resource = Effect.map(OtlpResource.fromConfig({ serviceName }), ({ attributes }) => ({
  serviceName,
  ...(!attributes.some(({ key }) => key === instanceId) && { attributes: { [instanceId]: randomUUID() } })
}))

export const layer = (baseUrl: string) =>
  Layer.effect(Tracer.Tracer, Effect.map(Effect.tracer, discreet)).pipe(
    Layer.provideMerge(
      Layer.unwrap(
        Effect.map(resource, (resource) => Otlp.layerJson({ baseUrl, resource, shutdownTimeout: "3 seconds" }))
      )
    ),
    Layer.provide(client)
  )
