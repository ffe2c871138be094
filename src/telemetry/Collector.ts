/** Traces, metrics and logs, sent to a collector by OTLP over HTTP, as JSON. */
import { Effect, Layer, Tracer } from "effect"
import { FetchHttpClient, HttpClient, HttpClientError } from "effect/http"
import { Otlp } from "effect/observability"

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

export const layer = (baseUrl: string) =>
  Layer.effect(Tracer.Tracer, Effect.map(Effect.tracer, discreet)).pipe(
    Layer.provideMerge(Otlp.layerJson({
      baseUrl,
      resource: { serviceName: "tasks-api" },
      shutdownTimeout: "3 seconds"
    })),
    Layer.provide(client)
  )
