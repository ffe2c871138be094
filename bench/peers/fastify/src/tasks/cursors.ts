import { createHmac, timingSafeEqual } from "node:crypto"
import { Problem } from "../problems.ts"

/** A place in a list: the time of creation as the database writes it (with microseconds), and the id. */
export type Position = readonly [createdAt: string, id: string]

const macLength = 16

/** Positions, signed for one user and one list (its filter and sort). */
export const cursors = (key: Buffer) => {
  const mac = (userId: string, list: string, position: Buffer) =>
    createHmac("sha256", key).update(`${userId}\0${list}\0`).update(position).digest().subarray(0, macLength)
  return {
    make: (userId: string, list: string, position: Position): string => {
      const bytes = Buffer.from(JSON.stringify(position))
      return Buffer.concat([mac(userId, list, bytes), bytes]).toString("base64url")
    },
    read: (userId: string, list: string, cursor: string): Position => {
      const bytes = Buffer.from(cursor, "base64url")
      const position = bytes.subarray(macLength)
      if (position.length === 0 || !timingSafeEqual(mac(userId, list, position), bytes.subarray(0, macLength))) {
        throw new Problem("invalid_cursor")
      }
      return JSON.parse(position.toString())
    }
  }
}
export type Cursors = ReturnType<typeof cursors>
