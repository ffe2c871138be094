import { Schema } from "effect"

/** An instant as it is shown: RFC 3339 in UTC with milliseconds. The database sets every instant of this API. */
export const Instant = Schema.String.annotate({
  identifier: "Instant",
  description: "RFC 3339, in UTC, with milliseconds",
  format: "date-time",
  examples: ["2026-11-20T09:53:19.437Z"]
})

const rfc3339 =
  /^(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/i

const isDay = (year: number, month: number, day: number): boolean => {
  const date = new Date(Date.UTC(year, month - 1, day))
  return year >= 1970 && date.getUTCMonth() === month - 1 && date.getUTCDate() === day
}

/** An instant as it is sent: RFC 3339 with any offset, from 1970 to 9999. The database takes other forms; clients may not. */
export const SentInstant = Schema.String.check(
  Schema.makeFilter((text) => {
    const [, year, month, day] = rfc3339.exec(text) ?? []
    return isDay(Number(year), Number(month), Number(day)) || "must be an instant of RFC 3339 from 1970 to 9999"
  }, { toJsonSchema: () => ({ format: "date-time" }) })
).annotate({ examples: ["2026-11-20T09:53:19Z"] })
