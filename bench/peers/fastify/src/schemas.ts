/** Schemas of what is sent and answered: Ajv compiles the first, fast-json-stringify the second. */
import type { JSONSchema } from "json-schema-to-ts"

const isTimeZone = (zone: string): boolean => {
  if (!/^[A-Za-z]/.test(zone)) return false
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone })
    return true
  } catch {
    return false
  }
}

export const formats = { "time-zone": isTimeZone }

// what PostgreSQL can store and gives back unchanged: no NUL and no lone surrogate
const character = "[^\\0\\p{Cs}]"
const text = { type: "string", pattern: `^${character}*$` } as const
const solid = "[^\\s\\0\\p{Cs}]"
/** Text of 1 to `maximum` characters, white space around it not counted. */
const trimmed = (maximum: number) =>
  ({ type: "string", pattern: `^\\s*${solid}(?:${character}{0,${maximum - 2}}${solid})?\\s*$` }) as const

const closed = { type: "object", additionalProperties: false } as const

export const priorities = ["none", "low", "medium", "high", "urgent"] as const

const title = trimmed(200)
const description = { ...text, type: ["string", "null"], maxLength: 1_000 } as const
const priority = { enum: priorities } as const
const tags = { type: "array", maxItems: 20, items: trimmed(50) } as const

export const taskCreate = {
  ...closed,
  required: ["title"],
  properties: { title, description, priority, tags }
} as const

/** A merge patch: `null` returns a member to its default. */
export const taskPatch = {
  ...closed,
  properties: {
    title,
    description,
    completed: { type: ["boolean", "null"] },
    priority: { enum: [...priorities, null] },
    tags: { ...tags, type: ["array", "null"] }
  }
} as const

export const completion = { ...closed, properties: { completed: { type: "boolean" } } } as const

export const listQuery = {
  ...closed,
  properties: {
    completed: { enum: ["true", "false"] },
    sort: { enum: ["created_at", "-created_at"] },
    limit: { type: "string", pattern: "^0*([1-9]\\d?|100)$" },
    cursor: { type: "string" }
  }
} as const

export const noQuery = { ...closed, properties: {} } as const

export const taskParams = {
  type: "object",
  required: ["id"],
  properties: {
    id: {
      type: "string",
      pattern: "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-7[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$"
    }
  }
} as const

const entityTag = '(?:W/)?"[\\x21\\x23-\\x7e\\x80-\\xff]*"'
const entityTags = { type: "string", pattern: `^\\s*(?:\\*|${entityTag}(?:\\s*,\\s*${entityTag})*)\\s*$` } as const
export const ifMatch = { type: "object", properties: { "if-match": entityTags } } as const
export const ifNoneMatch = { type: "object", properties: { "if-none-match": entityTags } } as const

const loginName = { ...text, minLength: 1, maxLength: 254 } as const

export const registration = {
  ...closed,
  required: ["email", "password"],
  properties: {
    email: { type: "string", format: "email", maxLength: 254 },
    password: { ...text, minLength: 8, maxLength: 256 },
    confirm_password: { const: { $data: "1/password" } },
    username: { type: "string", pattern: "^[A-Za-z0-9_.]{3,30}$" },
    name: { ...text, minLength: 1, maxLength: 100 },
    time_zone: { type: "string", maxLength: 64, format: "time-zone" }
  }
} as const

export const credentials = {
  ...closed,
  required: ["password"],
  properties: {
    password: { ...text, minLength: 1, maxLength: 256 },
    email: loginName,
    username: loginName,
    username_or_email: loginName
  }
} as const

// what is answered has Dates, which the serialiser writes as such strings
const instant = { type: "string", format: "date-time" } as const
const nullableInstant = { type: ["string", "null"], format: "date-time" } as const
const nullableText = { type: ["string", "null"] } as const

export const task: JSONSchema = {
  type: "object",
  properties: {
    id: { type: "string" },
    user_id: { type: "string" },
    title: { type: "string" },
    description: nullableText,
    completed: { type: "boolean" },
    completed_at: nullableInstant,
    priority: { type: "string" },
    tags: { type: "array", items: { type: "string" } },
    version: { type: "integer" },
    created_at: instant,
    updated_at: instant,
    deleted_at: nullableInstant
  }
}

export const login: JSONSchema = {
  type: "object",
  properties: {
    message: { type: "string" },
    user: {
      type: "object",
      properties: {
        id: { type: "string" },
        email: nullableText,
        username: nullableText,
        name: nullableText,
        time_zone: { type: "string" },
        created_at: instant,
        updated_at: instant
      }
    },
    access_token: { type: "string" },
    refresh_token: { type: "string" },
    token_type: { type: "string" },
    expires_in: { type: "integer" }
  }
}

export const problem: JSONSchema = {
  type: "object",
  properties: {
    type: { type: "string" },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string" },
    code: { type: "string" },
    request_id: { type: "string" },
    errors: {
      type: "array",
      items: {
        type: "object",
        properties: { pointer: { type: "string" }, code: { type: "string" }, detail: { type: "string" } }
      }
    },
    current: task
  }
}
