/** The SqlClient of a pool of sessions: no statement waits long for one of them, or finds one that was cut off twice. */
import { PgClient, type PgConnection, PgPool } from "@effect/sql-pg"
import { Cause, Effect, Exit, Layer, Option, Stream } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import { SqlClient, type SqlConnection, SqlError } from "effect/sql"
import { codesOf } from "./Failures.ts"
import { transactions } from "./Transaction.ts"

/** Milliseconds for which a statement or a transaction waits while others have all the sessions. */
const patience = 2_000

/**
 * Milliseconds after which a session that has not answered is not used again. The database ends a statement sooner; TCP
 * would go on sending for a quarter of an hour where a network forgets a connection without a word.
 */
const silence = 7_000

const noneFree = () =>
  new SqlError.SqlError({
    reason: new SqlError.StatementTimeoutError({
      cause: new Error("no session of the pool was free in time"),
      operation: "connect"
    })
  })

/** Lets so many pieces of work run at once and the others wait for their turn, first come, first served. */
const makeTurns = (size: number) => {
  let free = size
  const waiting = new Set<() => void>()
  const release = () => {
    const [next] = waiting
    if (next === undefined) free++
    else next()
  }
  // a fiber that sleeps would cost each statement more than a timer
  const later = (end: () => void) => setTimeout(end, patience)
  /** A turn, and what gives it back, which has to be called in any case: it may be given up while it is had. */
  return () => {
    let isMine = false
    const giveBack = Effect.sync(() => {
      if (isMine) release()
    })
    const take = Effect.callback<void, SqlError.SqlError>((resume) => {
      if (free > 0) {
        free--
        isMine = true
        return resume(Effect.void)
      }
      const end = () => {
        clearTimeout(timer)
        waiting.delete(enter)
      }
      const enter = () => {
        end()
        isMine = true
        resume(Effect.void)
      }
      const timer = later(() => {
        end()
        resume(Effect.fail(noneFree()))
      })
      waiting.add(enter)
      return Effect.sync(end)
    })
    return { take, giveBack }
  }
}

/** Looks at how long a statement takes. */
type Watch = <A, E>(statement: Effect.Effect<A, E>) => Effect.Effect<A, E>

/** A server that takes no writes: after a failover, the one that a session was opened with may go on as a replica. */
const isReadOnly = (cause: Cause.Cause<unknown>) => codesOf(Cause.squash(cause)).includes("25006")

/**
 * Makes a pool replace a session whose server takes no writes any more, and one that does not answer; with the latter
 * those that have been silent since before: they share its fate where a network forgets what is idle. What they are doing
 * goes on.
 */
const makeWatch = (pool: PgPool.PgPool, size: number) => {
  const answered = new Map<PgConnection.PgConnection, number>()
  const replace = (connection: PgConnection.PgConnection) => {
    answered.delete(connection)
    Effect.runFork(pool.invalidate(connection))
  }
  const later = (end: () => void) => setTimeout(end, silence)
  return (connection: PgConnection.PgConnection): Watch => (statement) =>
    Effect.suspend(() => {
      const sent = performance.now()
      const timer = later(() => {
        replace(connection)
        for (const [other, at] of answered) if (at < sent) replace(other)
      })
      return Effect.onExit(statement, (exit) =>
        Effect.sync(() => {
          clearTimeout(timer)
          if (Exit.isFailure(exit)) {
            if (isReadOnly(exit.cause)) replace(connection)
            return
          }
          // sessions that ended otherwise; the others come back with their next answer
          if (answered.size > 2 * size) answered.clear()
          answered.set(connection, performance.now())
        }))
    })
}

type Transform = Parameters<SqlConnection.Connection["execute"]>[2]

/** A session as statements see it. */
class Session implements SqlConnection.Connection {
  readonly connection: PgConnection.PgConnection
  readonly watched: Watch
  readonly onBegin: string | undefined

  constructor(connection: PgConnection.PgConnection, watched: Watch, onBegin: string | undefined) {
    this.connection = connection
    this.watched = watched
    this.onBegin = onBegin
  }
  private rows(sql: string, params: ReadonlyArray<unknown>, transform: Transform, prepare?: boolean) {
    return Effect.map(
      this.watched(this.connection.query(sql, params, prepare)),
      ({ rows }) => transform === undefined ? rows : transform(rows)
    )
  }
  execute(sql: string, params: ReadonlyArray<unknown>, transform: Transform) {
    return this.rows(sql, params, transform)
  }
  executeUnprepared(sql: string, params: ReadonlyArray<unknown>, transform: Transform) {
    return this.rows(sql, params, transform, false)
  }
  executeWithoutTransform(sql: string, params: ReadonlyArray<unknown>) {
    return this.rows(sql, params, undefined)
  }
  /** What begins and ends a transaction is sent by this, too. */
  executeRaw(sql: string, params: ReadonlyArray<unknown>) {
    const sent = this.watched(this.connection.query(sql, params))
    return this.onBegin !== undefined && sql.startsWith("BEGIN")
      ? Effect.tap(sent, this.watched(this.connection.query(this.onBegin)))
      : sent
  }
  executeValues(sql: string, params: ReadonlyArray<unknown>) {
    return this.watched(this.connection.queryValues(sql, params))
  }
  executeValuesUnprepared(sql: string, params: ReadonlyArray<unknown>) {
    return this.watched(this.connection.queryValues(sql, params, false))
  }
  executeStream(sql: string, params: ReadonlyArray<unknown>, transform: Transform) {
    const rows = this.connection.stream(sql, params)
    return transform === undefined ? rows : Stream.mapArray(rows, (chunk) => transform(chunk) as typeof chunk)
  }
}

export interface Options extends PgPool.Config {
  readonly maxConnections: number
  /**
   * Settings that every transaction begins with, for a pooler that gives each another session. A statement by itself is
   * then a transaction, too, which costs it three more round trips.
   */
  readonly transactionSettings?: Readonly<Record<string, string>>
}

const make = Effect.fnUntraced(function* ({ transactionSettings, ...config }: Options) {
  const pool = yield* PgPool.make(config)
  const turn = makeTurns(config.maxConnections * (config.multiplex === true ? config.multiplexConcurrency ?? 1 : 1))
  const onBegin = transactionSettings === undefined
    ? undefined
    : `select ${
      Object.entries(transactionSettings).map(([name, value]) => `set_config('${name}', '${value}', true)`).join(", ")
    }`
  // an embedded database has no network, and no limit of statements
  const watch: (connection: PgConnection.PgConnection) => Watch = config.stream === undefined
    ? makeWatch(pool, config.maxConnections)
    : () => (statement) => statement
  const acquirer = Effect.suspend(() => {
    const { giveBack, take } = turn()
    return Effect.andThen(Effect.addFinalizer(() => giveBack), Effect.andThen(take, pool.get))
  })
  const options = {
    driver: "pg",
    compiler: PgClient.makeCompiler(),
    spanAttributes: [],
    acquirer: Effect.map(acquirer, (connection) => new Session(connection, watch(connection), onBegin)),
    transactionAcquirer: Effect.flatMap(
      acquirer,
      (connection) => Effect.map(connection.pin, (pinned) => new Session(pinned, watch(connection), onBegin))
    ),
    borrower: (run) =>
      Effect.suspend(() => {
        const { giveBack, take } = turn()
        return Effect.ensuring(
          Effect.andThen(take, pool.use((connection) => run(new Session(connection, watch(connection), undefined)))),
          giveBack
        )
      })
  } satisfies SqlClient.SqlClient.MakeOptions
  const client = yield* SqlClient.make(options)
  const withTransaction = transactions(client)
  if (onBegin === undefined) return Object.assign(client, { withTransaction })
  const { transactionService } = client
  const limited = yield* SqlClient.make({
    ...options,
    transactionService,
    borrower: (run) =>
      withTransaction(Effect.flatMap(
        Effect.serviceOption(transactionService),
        // there is one: this is what has just begun
        (transaction) => run(Option.getOrThrow(transaction)[0])
      ))
  })
  return Object.assign(limited, { withTransaction })
})

/** Connects when the first statement is sent. */
export const layer = (options: Options): Layer.Layer<SqlClient.SqlClient, SqlError.SqlError> =>
  Layer.effect(SqlClient.SqlClient, make(options)).pipe(Layer.provide(Reactivity.layer))
