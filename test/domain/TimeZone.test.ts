import { Schema } from "effect"
import { expect, it } from "vitest"
import { dateOf, dueAt } from "../../src/dates/LocalTimes.ts"
import { TimeZone } from "../../src/domain/TimeZone.ts"

const isTimeZone = Schema.is(TimeZone)

/** Names that Intl or Temporal takes, in one runtime or in both, and that are no zones of the IANA database. */
const others = [
  ..."ACT AET AGT ART AST BET BST CAT CNT CST CTT EAT ECT IET IST JST MIT NET NST PLT PNT PRT PST SST VST".split(" "),
  ...[
    "pst",
    "Factory",
    "US/Pacific-New",
    "SystemV/PST8",
    "SystemV/AST4ADT",
    "SystemV/HST10",
    "systemv/mst7",
    "Etc/Unknown"
  ],
  ...["T12Z", "T12:00Z", "T12+01", "Z", "UTC+1", "GMT+1", "+01:00", "2031-01-01T00:00[Europe/Berlin]"]
]

/** Older names, which Intl does not list. */
const links = [
  ...["EST", "MST", "HST", "WET", "CET", "MET", "EET", "EST5EDT", "CST6CDT", "MST7MDT", "PST8PDT", "GMT", "GMT0"],
  ...["UTC", "UCT", "Zulu", "Universal", "Etc/GMT+12", "Etc/GMT-14", "GB", "GB-Eire", "NZ-CHAT", "PRC", "ROC", "ROK"],
  ...["Navajo", "W-SU", "US/Pacific", "Asia/Calcutta", "Asia/Kolkata", "Asia/Rangoon", "Europe/Kiev", "Europe/Kyiv"],
  ...["Brazil/East", "Pacific/Kanton", "America/Ciudad_Juarez", "europe/berlin"]
]

it("is any of the IANA database, and dates can be computed in it", () => {
  for (const zone of [...Intl.supportedValuesOf("timeZone"), ...links]) {
    expect(isTimeZone(zone), zone).toBe(true)
    for (const date of ["1970-01-01", "2031-07-01", "9999-12-30"]) {
      const noon = dueAt({ date, time: "12:00" }, zone)
      expect(dateOf(noon, zone), zone).toBe(date)
      expect(dueAt({ date }, zone), zone).toBeGreaterThan(noon)
    }
  }
})

it.each(others)("is not %s", (zone) => expect(isTimeZone(zone)).toBe(false))
