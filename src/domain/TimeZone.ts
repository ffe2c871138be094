import { Schema } from "effect"

/** A name of the IANA time zone database, in which dates can be computed. Offsets such as `+01:00` are not zones. */
export const TimeZone = Schema.String.check(
  Schema.makeFilter((zone) => isTimeZone(zone) || "must be a time zone of the IANA database", {
    expected: "a time zone of the IANA database",
    toJsonSchema: () => ({ maxLength: 64 })
  })
).annotate({ description: "a name of the IANA time zone database", examples: ["Europe/Berlin"] })

/**
 * Names that Intl knows and the database does not: dates can't be computed in them, or only on one of the runtimes. The
 * short ones are ICU's, and mean something else in every country.
 */
const foreign = new RegExp(
  "^(?:ACT|AET|AGT|ART|AST|BET|BST|CAT|CNT|CST|CTT|EAT|ECT|IET|IST|JST|MIT|NET|NST|PLT|PNT|PRT|PST|SST|VST|Factory|" +
    "SystemV/.*|US/Pacific-New)$",
  "i"
)

const isTimeZone = (zone: string): boolean => {
  if (zone.length > 64 || !/^[A-Za-z]/.test(zone) || foreign.test(zone)) return false
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone })
    return true
  } catch {
    return false
  }
}
