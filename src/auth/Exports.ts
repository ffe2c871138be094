/** Everything stored of a user, as one JSON document. */
import { type FileHandle, open, unlink } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Readable } from "node:stream"
import { Context, Effect, Layer, Schedule, Schema, type Scope, Semaphore } from "effect"
import * as SecureRandom from "effect/crypto/SecureRandom"
import { SqlClient, type Statement } from "effect/sql"
import type { CurrentUser } from "../api/Authorization.ts"
import { Overloaded, TokenInvalid } from "../api/Problems.ts"
import { codesOf } from "../database/Failures.ts"
import { snapshot } from "../database/Transaction.ts"
import { StoredTask } from "../domain/Export.ts"
import type { UserId } from "../domain/User.ts"
import { changedColumns, type ChangedRow, toChangedTask } from "../tasks/TaskRow.ts"
import { securityEvent } from "../telemetry/SecurityEvents.ts"
import { UsersRepo } from "./UsersRepo.ts"

/** Rows that are held at once: 200 tasks have at most 3 MB. */
const rowsAtOnce = 200

/** Bytes of a stored answer that is read with others; one of a batch may have megabytes, and is read alone. */
const shortAnswer = 16_384

/** Exports that read at the same time: each has a connection of the pool for as long. */
const readers = 2

/** Exports that are read or downloaded at the same time, each with a file. */
const capacity = 100

/** What was exported, ready to be sent. */
export interface ExportFile {
  readonly exportedAt: string
  /** bytes */
  readonly size: number
  readonly content: Readable
}

/** Instants are written as JSON writes a date, which is how the contract shows them. */
const encodeRow = (row: object) => JSON.stringify(row)

const encodeTask = Schema.encodeSync(Schema.fromJsonString(StoredTask))

/** What a temporary folder, or this process, has no room for now. Any other failure is one of the installation: 500. */
const isFull = /^(?:ENOSPC|EDQUOT|EROFS|EMFILE|ENFILE)$/

const onFile = <A>(work: () => Promise<A>): Effect.Effect<A, Overloaded> =>
  Effect.catchDefect(Effect.promise(work), (defect) => {
    const [code = ""] = codesOf(defect)
    if (!isFull.test(code)) return Effect.die(defect)
    const told = Effect.logWarning("the temporary folder takes no export").pipe(Effect.annotateLogs({ code }))
    return Effect.andThen(told, Effect.fail(new Overloaded()))
  })

/** A file without a name: whatever ends this process, nothing of the user is left. */
const temporaryFile = Effect.acquireRelease(
  onFile(async () => {
    const path = join(tmpdir(), `tasks-api-export-${SecureRandom.uuidV7Unsafe()}`)
    const file = await open(path, "wx+", 0o600)
    await unlink(path)
    return file
  }),
  (file) => Effect.promise(() => file.close())
)

export class Exports extends Context.Service<Exports, {
  /**
   * Everything stored of the user at one moment, for as long as the scope lives. It is written to a file first, so that
   * neither memory nor the time for which the database is held depends on the client. Fails with `overloaded` while
   * another export of the user is under way, or too many of others, and where the temporary folder has no room for it.
   */
  readonly make: (
    user: CurrentUser["Service"]
  ) => Effect.Effect<ExportFile, Overloaded | TokenInvalid, Scope.Scope>
}>()("tasks-api/auth/Exports") {
  static readonly layer = Layer.effect(
    Exports,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const users = yield* UsersRepo
      const semaphore = yield* Semaphore.make(readers)
      const underWay = new Set<UserId>()

      const admission = (userId: UserId) =>
        Effect.acquireRelease(
          Effect.suspend(() => {
            if (underWay.has(userId) || underWay.size >= capacity) return Effect.fail(new Overloaded())
            underWay.add(userId)
            return Effect.void
          }),
          () => Effect.sync(() => underWay.delete(userId))
          // a client has the whole answer a moment before its request has ended here
        ).pipe(Effect.retry({ schedule: Schedule.spaced("100 millis"), times: 20 }))

      const turn = Effect.timeoutOrElse(Semaphore.takeScoped(semaphore, 1), {
        duration: "2 seconds",
        orElse: () => Effect.fail(new Overloaded())
      })

      /** The members of an array, written batch by batch, and those that are `long` one by one. Within a transaction. */
      const writeRows = Effect.fnUntraced(function* <Row extends object>(
        file: FileHandle,
        name: string,
        rows: Statement.Statement<Row>,
        encode: (row: Row) => string,
        long?: Statement.Statement<Row>
      ) {
        let separator = ""
        yield* onFile(() => file.writeFile(`,"${name}":[`))
        for (const [statement, atOnce] of [[rows, rowsAtOnce], [long, 1]] as const) {
          if (statement === undefined) continue
          const cursor = sql.literal(`export_${name}_${atOnce}`)
          yield* sql`declare ${cursor} no scroll cursor for ${statement}`
          while (true) {
            const found = yield* sql<Row>`fetch ${sql.literal(String(atOnce))} from ${cursor}`
            const text = found.map((row) => {
              const member = separator + encode(row)
              separator = ",\n"
              return member
            }).join("")
            yield* onFile(() => file.writeFile(text))
            if (found.length < atOnce) break
          }
        }
        yield* onFile(() => file.writeFile("]"))
      })

      /** Answers to requests with a key, those that are at most as long as a short one or those that are longer. */
      const answers = (id: UserId, than: Statement.Fragment) =>
        sql`
        select key, status, headers, body, created_at from idempotency_keys
        where user_id = ${id} and octet_length(body) ${than} ${shortAnswer} order by key`

      const write = Effect.fnUntraced(function* (file: FileHandle, id: UserId) {
        const user = yield* users.get(id)
        const [row] = yield* sql<{
          readonly now: Date
          readonly last_version: number
          readonly purged_version: number
        }>`select now(), last_version, purged_version from user_sequences where user_id = ${id}`
        if (user === undefined || row === undefined) return yield* new TokenInvalid()
        const { now, ...sequence } = row
        const exportedAt = now.toISOString()
        const head = JSON.stringify({ exported_at: exportedAt, user, sequence })
        yield* onFile(() => file.writeFile(head.slice(0, -1)))
        yield* writeRows(
          file,
          "identities",
          sql`
          select issuer, subject, created_at from identities where user_id = ${id} order by issuer, subject`,
          encodeRow
        )
        yield* writeRows(
          file,
          "sessions",
          sql`
          select id, generation, rotated_at, revoked_at, revoked_reason, created_at, last_used_at, expires_at,
            absolute_expires_at, user_agent, ip
          from sessions where user_id = ${id} order by id`,
          encodeRow
        )
        yield* writeRows(
          file,
          "tasks",
          sql<ChangedRow & Pick<StoredTask, "series_start" | "series_number">>`
          select ${sql.literal(changedColumns)}, series_start::text, series_number
          from tasks where user_id = ${id} order by id`,
          ({ series_number, series_start, ...row }) =>
            encodeTask({ ...toChangedTask(row), series_start, series_number })
        )
        yield* writeRows(
          file,
          "task_occurrences",
          sql`
          select task_id, version, occurrence::text, due_at, completed_at, series_start::text, series_number
          from task_occurrences where user_id = ${id} order by task_id, version`,
          encodeRow
        )
        yield* writeRows(
          file,
          "idempotency_keys",
          answers(id, sql`<=`),
          encodeRow,
          answers(id, sql`>`)
        )
        yield* onFile(() => file.writeFile("}\n"))
        return exportedAt
      })

      return Exports.of({
        make: Effect.fn("Exports.make")(function* ({ id, sessionId }) {
          yield* admission(id)
          const file = yield* temporaryFile
          const exportedAt = yield* Effect.scoped(Effect.andThen(turn, snapshot(sql)(write(file, id))))
          const { size } = yield* onFile(() => file.stat())
          yield* securityEvent("exported", id, sessionId)
          return { exportedAt, size, content: file.createReadStream({ start: 0, autoClose: false }) }
        })
      })
    })
  )
}
