import { Schema } from "effect"

/** An instant as it is shown: RFC 3339 in UTC with milliseconds. The database sets every instant of this API. */
export const Instant = Schema.String.annotate({
  identifier: "Instant",
  description: "RFC 3339, in UTC, with milliseconds",
  format: "date-time",
  examples: ["2026-11-20T09:53:19.437Z"]
})
