import { Schema } from "effect"

/** An instant as it is shown: RFC 3339 in UTC with milliseconds. The database sets every instant of this API. */
export const Instant = Schema.String.annotate({
  identifier: "Instant",
  description: "RFC 3339, in UTC, with milliseconds",
  format: "date-time",
  examples: ["2026-11-20T09:53:19.437Z"]
})

/** The years of the dates and instants that are sent, 1970 to 9999, as a pattern of JSON Schema. */
export const supportedYears = "^(?:19[7-9]|[2-9]\\d\\d)\\d-"

const rfc3339 =
  /^(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/i

const isDay = (year: number, month: number, day: number): boolean => {
  const date = new Date(Date.UTC(year, month - 1, day))
  return year >= 1970 && date.getUTCMonth() === month - 1 && date.getUTCDate() === day
}

/** An offset can take an instant out of the years that its text may have. */
const isShown = (year: number): boolean => year >= 1970 && year <= 9999

/** An instant as it is sent: RFC 3339 with any offset, from 1970 to 9999. The database takes other forms; clients may not. */
export const SentInstant = Schema.String.check(
  Schema.makeFilter((text) => {
    const [, year, month, day] = rfc3339.exec(text) ?? []
    return isDay(Number(year), Number(month), Number(day)) && isShown(new Date(text).getUTCFullYear()) ||
      "must be an instant of RFC 3339 from 1970 to 9999"
  }, { toJsonSchema: () => ({ format: "date-time", pattern: supportedYears }) })
).annotate({ examples: ["2026-11-20T09:53:19Z"] })

/** The same instant in UTC, with all its digits: the database takes no offset of 16 hours or more. */
export const inUtc = (sent: string): string => {
  const [fraction = ""] = /\.\d+/.exec(sent) ?? []
  return new Date(sent.replace(fraction, "")).toISOString().replace(".000", fraction)
}
