import { Schema } from "effect"

/** A name of the IANA time zone database, which this runtime knows. Offsets such as `+01:00` are not zones. */
export const TimeZone = Schema.String.check(
  Schema.makeFilter((zone) => isTimeZone(zone) || "must be a time zone of the IANA database", {
    expected: "a time zone of the IANA database",
    toJsonSchema: () => ({ maxLength: 64 })
  })
).annotate({ description: "a name of the IANA time zone database", examples: ["Europe/Berlin"] })

const isTimeZone = (zone: string): boolean => {
  if (zone.length > 64 || !/^[A-Za-z]/.test(zone)) return false
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone })
    return true
  } catch {
    return false
  }
}
