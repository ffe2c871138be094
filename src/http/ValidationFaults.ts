/** From schema issues to one entry in `errors` per fault. */
import { SchemaAST, SchemaIssue } from "effect"
import type { HttpApiError } from "effect/http-api"
import type { Fault } from "../api/Problems.ts"

const format = SchemaIssue.makeFormatterDefault()

const types: Partial<Record<SchemaAST.AST["_tag"], string>> = {
  String: "a string",
  Number: "a number",
  Boolean: "true or false",
  Arrays: "an array",
  Objects: "an object"
}

/** What the value must be, in words for a developer; never the value. */
const describe = (issue: SchemaIssue.Issue): string => {
  if (issue._tag === "MissingKey") return "is required"
  const type = issue._tag === "InvalidType" ? types[issue.ast._tag] : undefined
  return type === undefined
    ? format(issue).replace(/\n\s*at .*$/s, "").replace(/^Expected /, "must be ").replaceAll(" | ", " or ")
      // named schemas are objects; their names are ours, not the client's
      .replace(/^must be [A-Z]\w*(?: or [A-Z]\w*)*$/, "must be an object")
    : `must be ${type}`
}

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
      const ownCode = typeof own === "string" ? own : code
      // what a filter expects is known to the filter, not to the issue in it
      return issue.issue._tag === "InvalidValue"
        ? [{ path, code: ownCode ?? "invalid_value", detail: describe(issue) }]
        : locate(issue.issue, path, ownCode)
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
      detail: describe(issue)
    }
  ]
}

/** A JSON Pointer (RFC 6901). */
export const pointerOf = (path: ReadonlyArray<PropertyKey>) => path.map((key) => `/${escaped(key)}`).join("")

/** Faults that are told at most: who has more will not read them all. */
const mostFaults = 100

const pointers: Record<string, (path: ReadonlyArray<PropertyKey>) => string> = {
  Payload: pointerOf,
  Query: ([name = ""]) => `?${String(name)}`,
  Params: ([name = ""]) => `{${String(name)}}`,
  Headers: ([name = ""]) => `${String(name)}:`
}

/** Where a request does not fit its endpoint's schemas: the first 100. A value that fails several checks has one fault. */
export const faultsOf = (error: HttpApiError.HttpApiSchemaError): ReadonlyArray<Fault> => {
  const faults = new Map<string, Fault>()
  for (const { code, detail, path } of locate(error.cause.issue, [])) {
    const pointer = pointers[error.kind]?.(path) ?? ""
    const fault = code === "unknown_member" && error.kind === "Query"
      ? { pointer, code: "unknown_parameter", detail: "is not a known parameter" }
      : { pointer, code, detail }
    if (!faults.has(pointer)) faults.set(pointer, fault)
  }
  return [...faults.values()].slice(0, mostFaults)
}
