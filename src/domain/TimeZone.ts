import { Schema } from "effect"
import { Temporal } from "temporal-polyfill"

/** A name of the IANA time zone database, in which dates can be computed. Offsets such as `+01:00` are not zones. */
export const TimeZone = Schema.String.check(
  Schema.makeFilter((zone) => isTimeZone(zone) || "must be a time zone of the IANA database", {
    expected: "a time zone of the IANA database",
    toJsonSchema: () => ({ maxLength: 64 })
  })
).annotate({ description: "a name of the IANA time zone database", examples: ["Europe/Berlin"] })

/** Names that the database no longer has: of the runtimes, one would compute what another stored, and one would not. */
const former = /^SystemV\/|^US\/Pacific-New$/i

/** Intl also knows short names such as `PST`; Temporal, which computes the dates, may take the zone out of an instant. */
const isTimeZone = (zone: string): boolean => {
  if (zone.length > 64 || !/^[A-Za-z]/.test(zone) || former.test(zone)) return false
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone })
    Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(zone)
    return true
  } catch {
    return false
  }
}
