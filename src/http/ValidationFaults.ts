/** From schema issues to one entry in `errors` per fault. */
import { SchemaAST, SchemaIssue } from "effect"
import type { HttpApiError } from "effect/http-api"
import type { Fault } from "../api/Problems.ts"

const describe = SchemaIssue.makeFormatterDefault()

const codes: Partial<Record<SchemaIssue.Issue["_tag"], string>> = {
  MissingKey: "required",
  UnexpectedKey: "unknown_member",
  InvalidType: "invalid_type",
  AnyOf: "invalid_type",
  OneOf: "ambiguous"
}

/** A closed struct gives its unknown members the type never. */
const isUnknownMember = (issue: SchemaIssue.Issue) => issue._tag === "InvalidType" && SchemaAST.isNever(issue.ast)

const escaped = (key: PropertyKey) => String(key).replaceAll("~", "~0").replaceAll("/", "~1")

interface Located {
  readonly path: ReadonlyArray<PropertyKey>
  readonly code: string
  readonly detail: string
}

/** The faults of an issue; of a union, those of the member that comes nearest. */
const locate = (issue: SchemaIssue.Issue, path: ReadonlyArray<PropertyKey>, code?: string): ReadonlyArray<Located> => {
  switch (issue._tag) {
    case "Pointer":
      return locate(issue.issue, [...path, ...issue.path], code)
    case "Composite":
      return issue.issues.flatMap((inner) => locate(inner, path, code))
    case "Encoding":
      return locate(issue.issue, path, code)
    case "Filter": {
      const own = issue.filter.annotations?.["faultCode"]
      return locate(issue.issue, path, typeof own === "string" ? own : code)
    }
    case "AnyOf":
      if (issue.issues.length > 0) {
        return issue.issues.map((inner) => locate(inner, path, code)).reduce((nearest, other) =>
          other.length < nearest.length ? other : nearest
        )
      }
  }
  return [
    isUnknownMember(issue) ? { path, code: "unknown_member", detail: "is not a known member" } : {
      path,
      code: code ?? codes[issue._tag] ?? "invalid_value",
      detail: describe(issue).replace(/\n\s*at .*$/s, "")
    }
  ]
}

const pointers: Record<string, (path: ReadonlyArray<PropertyKey>) => string> = {
  Payload: (path) => path.map((key) => `/${escaped(key)}`).join(""),
  Query: ([name = ""]) => `?${String(name)}`,
  Params: ([name = ""]) => `{${String(name)}}`,
  Headers: ([name = ""]) => `${String(name)}:`
}

/** Where a request does not fit its endpoint's schemas. */
export const faultsOf = (error: HttpApiError.HttpApiSchemaError): ReadonlyArray<Fault> =>
  locate(error.cause.issue, []).map(({ code, detail, path }) => ({
    pointer: pointers[error.kind]?.(path) ?? "",
    code: code === "unknown_member" && error.kind === "Query" ? "unknown_parameter" : code,
    detail
  }))
