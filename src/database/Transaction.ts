/** Transactions whose every step is bounded. */
import { Context, Effect, Option } from "effect"
import { SqlClient, type SqlConnection, SqlError } from "effect/sql"

/** How long the database may take to begin or end a transaction. */
const patience = "5 seconds"

/**
 * What begins and ends a transaction. The client lets nothing interrupt it, so a database that does not answer would
 * hold its connection for as long as the network takes to notice; giving up makes the driver close it.
 */
const control = (
  connection: SqlConnection.Connection,
  statement: "BEGIN" | "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY" | "COMMIT" | "ROLLBACK"
) =>
  Effect.timeoutOrElse(Effect.interruptible(connection.executeRaw(statement, [])), {
    duration: patience,
    orElse: () =>
      Effect.fail(
        new SqlError.SqlError({
          reason: new SqlError.ConnectionError({
            cause: new Error(`no answer in time: ${statement}`),
            operation: statement
          })
        })
      )
  })

/** Whether a transaction that begins now sees one moment, whatever others commit meanwhile, and writes nothing. */
const IsSnapshot = Context.Reference<boolean>("tasks-api/database/Transaction/IsSnapshot", {
  defaultValue: () => false
})

const notNested = () => Effect.die(new Error("transactions are not nested"))

/** How a client runs its transactions: what fails rolls back. */
export const transactions = (sql: Pick<SqlClient.SqlClient, "reserve" | "transactionService">) =>
  SqlClient.makeWithTransaction({
    transactionService: sql.transactionService,
    spanAttributes: [],
    acquireConnection: (restore) => restore(sql.reserve),
    begin: (connection) =>
      Effect.flatMap(
        IsSnapshot,
        (isSnapshot) =>
          Effect.asVoid(control(connection, isSnapshot ? "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY" : "BEGIN"))
      ),
    commit: (connection) =>
      Effect.flatMap(control(connection, "COMMIT"), (result) =>
        // what the database answers where a statement has failed and nobody minded
        typeof result === "object" && result !== null && "command" in result && result.command === "ROLLBACK"
          ? Effect.die(new Error("the transaction was rolled back"))
          : Effect.void),
    rollback: (connection) => Effect.asVoid(control(connection, "ROLLBACK")),
    savepoint: notNested,
    rollbackSavepoint: notNested
  })

/**
 * Runs several statements in one transaction, or as part of the one that there is already. Failing rolls back; so does
 * a lost connection, as a defect, which the edge tells from others.
 */
export const transaction = (sql: SqlClient.SqlClient) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(
    Effect.serviceOption(sql.transactionService),
    (outer) => Option.isSome(outer) ? effect : sql.withTransaction(effect)
  ).pipe(Effect.catchIf(SqlError.isSqlError, (error) => Effect.die(error)))

/** Reads by several statements at one moment, in a transaction of its own. */
export const snapshot = (sql: SqlClient.SqlClient) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(transaction(sql)(effect), IsSnapshot, true)
