/** PostgreSQL inside this process (PGlite), for development and for small installations. */
import { PGlite } from "@electric-sql/pglite"
import { Data, Effect } from "effect"
import { mkdirSync, rmSync } from "node:fs"
import { connect, createServer, type Server } from "node:net"
import { join, resolve } from "node:path"
import { Duplex } from "node:stream"

/** Another process has the data directory open: two at once would lose rows, so the second one does not start. */
export class DataDirInUse extends Data.TaggedError("DataDirInUse")<{ readonly directory: string }> {
  override get message() {
    return `DATA_DIR: ${this.directory} is in use by another process`
  }
}

/** The wire protocol of an embedded database as a stream, so that it needs no port and no driver of its own. */
export const wire = (db: PGlite): Duplex => {
  const stream: Duplex = new Duplex({
    read() {},
    write(chunk: Uint8Array, _encoding, done) {
      db.runExclusive(() =>
        db.execProtocolRawStream(chunk, { onRawData: (data) => void stream.push(Uint8Array.from(data)) })
      ).then(() => done(), done)
    },
    final(done) {
      stream.push(null)
      done()
    },
    // a connection that breaks must not leave its transaction open for the next one
    destroy(error, done) {
      if (db.closed) done(error)
      else db.exec("rollback").then(() => done(error), () => done(error))
    }
  })
  return stream
}

const listen = (path: string): Promise<Server> =>
  new Promise((done, failed) => {
    const server = createServer((socket) => socket.destroy())
    server.once("error", failed)
    server.listen(path, () => done(server.unref()))
  })

const answers = (path: string): Promise<boolean> =>
  new Promise((done) => {
    const probe = connect(path)
    probe.once("connect", () => {
      probe.destroy()
      done(true)
    })
    probe.once("error", () => done(false))
  })

/** Holds the directory for this process. A socket is given up by the kernel however the process ends. */
const lock = Effect.fnUntraced(function* (directory: string) {
  // the path of a socket is limited to 107 bytes: relative where that is shorter
  const path = join(directory, "lock.sock")
  const held = yield* Effect.promise(() => listen(path).catch(() => undefined))
  if (held !== undefined) return held
  if (yield* Effect.promise(() => answers(path))) return yield* new DataDirInUse({ directory: resolve(directory) })
  rmSync(path, { force: true })
  return yield* Effect.tryPromise({
    try: () => listen(path),
    catch: () => new DataDirInUse({ directory: resolve(directory) })
  })
})

/** Opens the embedded database of a directory, or one in memory; closed with the scope. */
export const open = Effect.fnUntraced(function* (directory: string | undefined) {
  if (directory !== undefined) {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    yield* Effect.acquireRelease(
      lock(directory),
      (server) => Effect.promise(() => new Promise((done) => server.close(done)))
    )
  }
  return yield* Effect.acquireRelease(
    Effect.promise(() =>
      PGlite.create({
        ...(directory !== undefined && { dataDir: join(directory, "postgres") }),
        // the default of 128 MB is for a server of its own
        startParams: [...PGlite.defaultStartParams, "-c", "shared_buffers=4MB"]
      })
    ),
    (db) => Effect.promise(() => db.close())
  )
})
