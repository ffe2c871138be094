/** Cursors of pages: a position, signed for one user and one list. */
import { Context, Effect, Layer, Option, Schema } from "effect"
import { createHmac, timingSafeEqual } from "node:crypto"
import { InvalidCursor } from "../api/Problems.ts"
import { Keys, type KeySet } from "../auth/Keys.ts"
import { TaskId } from "../domain/Task.ts"
import type { UserId } from "../domain/User.ts"
import type { Position } from "./TasksRepo.ts"

const macLength = 16
const decodePosition = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Tuple([Schema.String, TaskId])))

/** The MAC covers the owner and the list (filter and sort), which are not in the cursor: they come with the request. */
const mac = (keys: KeySet, userId: UserId, list: string, position: Uint8Array) =>
  createHmac("sha256", keys.cursor).update(userId).update("\u0000").update(list).update("\u0000").update(position)
    .digest().subarray(0, macLength)

export class Cursors extends Context.Service<Cursors, {
  /** `list` tells one filter and sort from every other. */
  readonly make: (userId: UserId, list: string, position: Position) => string
  /** Fails with `invalid_cursor` for one that was changed, or made for another user or list. */
  readonly read: (userId: UserId, list: string, cursor: string) => Effect.Effect<Position, InvalidCursor>
}>()("tasks-api/tasks/Cursors") {
  static readonly layer = Layer.effect(
    Cursors,
    Effect.gen(function* () {
      const keys = yield* Keys
      return Cursors.of({
        make: (userId, list, { createdAt, id }) => {
          const position = Buffer.from(JSON.stringify([createdAt, id]))
          return Buffer.concat([mac(keys.current, userId, list, position), position]).toString("base64url")
        },
        read: (userId, list, cursor) => {
          const bytes = Buffer.from(cursor, "base64url")
          const position = bytes.subarray(macLength)
          const genuine = bytes.length > macLength && bytes.toString("base64url") === cursor &&
            keys.all.some((set) => timingSafeEqual(mac(set, userId, list, position), bytes.subarray(0, macLength)))
          return Option.match(genuine ? decodePosition(position.toString()) : Option.none(), {
            onNone: () => Effect.fail(new InvalidCursor()),
            onSome: ([createdAt, id]) => Effect.succeed({ createdAt, id })
          })
        }
      })
    })
  )
}
