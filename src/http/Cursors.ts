/** Cursors: a position in a list or a feed, signed for one user and one list. */
import { Context, Effect, Layer, Option, Schema } from "effect"
import { createHmac, timingSafeEqual } from "node:crypto"
import { InvalidCursor } from "../api/Problems.ts"
import { Keys, type KeySet } from "../auth/Keys.ts"
import type { UserId } from "../domain/User.ts"

const macLength = 16

/** The MAC covers the owner and the list (filter and sort), which are not in the cursor: they come with the request. */
const mac = (keys: KeySet, userId: UserId, list: string, position: Uint8Array) =>
  createHmac("sha256", keys.cursor).update(userId).update("\u0000").update(list).update("\u0000").update(position)
    .digest().subarray(0, macLength)

export class Cursors extends Context.Service<Cursors, {
  /** `list` tells one filter and sort from every other. */
  readonly make: (userId: UserId, list: string, position: ReadonlyArray<string | number | null>) => string
  /** Fails with `invalid_cursor` for one that was changed, or made for another user or list; the schema reads JSON. */
  readonly read: <Position>(
    schema: Schema.Codec<Position, string>,
    userId: UserId,
    list: string,
    cursor: string
  ) => Effect.Effect<Position, InvalidCursor>
}>()("tasks-api/http/Cursors") {
  static readonly layer = Layer.effect(
    Cursors,
    Effect.gen(function* () {
      const keys = yield* Keys
      return Cursors.of({
        make: (userId, list, position) => {
          const bytes = Buffer.from(JSON.stringify(position))
          return Buffer.concat([mac(keys.current, userId, list, bytes), bytes]).toString("base64url")
        },
        read: (schema, userId, list, cursor) => {
          const bytes = Buffer.from(cursor, "base64url")
          const position = bytes.subarray(macLength)
          const genuine = bytes.length > macLength && bytes.toString("base64url") === cursor &&
            keys.all.some((set) => timingSafeEqual(mac(set, userId, list, position), bytes.subarray(0, macLength)))
          return Option.match(genuine ? Schema.decodeUnknownOption(schema)(position.toString()) : Option.none(), {
            onNone: () => Effect.fail(new InvalidCursor()),
            onSome: (position) => Effect.succeed(position)
          })
        }
      })
    })
  )
}
