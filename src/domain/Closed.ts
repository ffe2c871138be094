import { Schema } from "effect"

/**
 * A struct that refuses members it does not know, one fault each. (The parse option that does this for a whole API
 * also applies to encoding and to headers, where it must not.)
 */
export const closed = <const Fields extends Schema.Struct.Fields>(fields: Fields): Schema.Struct<Fields> => {
  const unknown = Schema.String.check(Schema.makeFilter((key: string) => !Object.hasOwn(fields, key)))
  const { ast } = Schema.StructWithRest(Schema.Struct(fields), [Schema.Record(unknown, Schema.Never)])
  return Schema.make<Schema.Struct<Fields>>(ast, { fields })
}
