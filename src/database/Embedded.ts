/** PostgreSQL inside this process (PGlite), for development and for small installations. */
import { PGlite } from "@electric-sql/pglite"
import { Data, Effect } from "effect"
import { randomBytes } from "node:crypto"
import { mkdirSync, readdirSync, rmSync } from "node:fs"
import { connect, createServer, type Server } from "node:net"
import { join, relative, resolve } from "node:path"
import process from "node:process"
import { Duplex } from "node:stream"

/** Another process has the data directory open: two at once would lose rows, so the second one does not start. */
export class DataDirInUse extends Data.TaggedError("DataDirInUse")<{ readonly directory: string }> {
  override get message() {
    return `DATA_DIR: ${this.directory} is in use by another process`
  }
}

/** There is no such directory, and none can be made. */
export class DataDirUnusable extends Data.TaggedError("DataDirUnusable")<{ readonly directory: string }> {
  override get message() {
    return `DATA_DIR: ${this.directory} must be a directory that can be made or written to, with a path of at most 88 bytes`
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

/** The path of a socket has at most 107 bytes: relative to the working directory it is often shorter. */
const shortest = (path: string): string => {
  const fromHere = relative(process.cwd(), path)
  return fromHere.length < path.length ? fromHere : path
}

/**
 * Holds the directory for this process, by a socket that answers as long as the process lives, however it ends. Each
 * process listens first and looks for others then, so of two that start at once at least one sees the other.
 */
const lock = Effect.fnUntraced(function* (directory: string) {
  const absolute = resolve(directory)
  const own = `lock-${randomBytes(4).toString("hex")}.sock`
  const pathOf = (name: string) => shortest(join(absolute, name))
  yield* Effect.acquireRelease(
    Effect.tryPromise({
      try: () => listen(pathOf(own)),
      catch: () => new DataDirUnusable({ directory: absolute })
    }),
    // closing it removes its file
    (server) => Effect.promise(() => new Promise((done) => server.close(done)))
  )
  for (const name of readdirSync(absolute)) {
    if (!/^lock-.*\.sock$/.test(name) || name === own) continue
    if (yield* Effect.promise(() => answers(pathOf(name)))) return yield* new DataDirInUse({ directory: absolute })
    rmSync(join(absolute, name), { force: true })
  }
})

/** Opens the embedded database of a directory, or one in memory; closed with the scope. */
export const open = Effect.fnUntraced(function* (directory: string | undefined) {
  if (directory !== undefined) {
    yield* Effect.try({
      try: () => mkdirSync(directory, { recursive: true, mode: 0o700 }),
      catch: () => new DataDirUnusable({ directory: resolve(directory) })
    })
    yield* lock(directory)
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
