/** Tasks, many at once. */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"

/**
 * Runs what inserts many rows with no foreign key checked and no secondary index of tasks kept; the indexes are made
 * again afterwards. A session of its own is needed, whose settings may change.
 */
export const inBulk = Effect.fnUntraced(function* <A, E>(sql: SqlClient.SqlClient, insert: Effect.Effect<A, E>) {
  yield* sql`set session_replication_role = replica`
  yield* sql`set maintenance_work_mem = '256MB'`
  const indexes = yield* sql<{ readonly indexname: string; readonly indexdef: string }>`
    select indexname, indexdef from pg_indexes where tablename = 'tasks' and indexname <> 'tasks_pkey'`
  for (const { indexname } of indexes) yield* sql.unsafe(`drop index ${indexname}`)
  yield* insert
  for (const { indexdef } of indexes) yield* sql.unsafe(indexdef)
  // also settles what the first reader of a new row would otherwise do
  yield* sql`vacuum analyze`
  yield* sql`checkpoint`
})

/**
 * The same number of tasks for every user whose e-mail begins with `prefix`, each some minutes after the one before.
 * They are inserted in the order of time, so that the rows of one user lie as far apart as they do where many users
 * work at once; their ids are UUIDv7 of their instants. A third is completed, and a fiftieth deleted.
 */
export const insertTasks = (sql: SqlClient.SqlClient, prefix: string, count: number) =>
  Effect.andThen(
    sql`
    insert into tasks (user_id, id, version, title, description, completed, completed_at, priority, tags,
      created_at, updated_at, deleted_at)
    select owner.id,
      (lpad(to_hex((extract(epoch from task.created_at) * 1000)::bigint), 12, '0')
        || '7' || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))::uuid,
      n, 'Water the plants on the ' || n || '. balcony',
      case when n % 2 = 0 then 'The ferns every other day, and the ' || hash || ' once in a week' end,
      n % 3 = 0, case when n % 3 = 0 then task.created_at + interval '1 hour' end,
      n % 5, (array['home', 'garden', 'errands'])[1 : n % 4],
      task.created_at, task.created_at, case when n % 50 = 0 then task.created_at + interval '1 day' end
    from generate_series(1, ${count}::int) as n
    cross join lateral (select id from users where email like ${`${prefix}%`} offset 0) as owner
    cross join lateral (select md5(owner.id::text || n) as hash) as hashes
    cross join lateral (
      -- the oldest is no older than ten years, however many there are
      select now() - (${count}::int - n + 1) * least(interval '7 minutes', interval '3650 days' / ${count}::int)
        + ('x' || substr(hash, 20, 6))::bit(24)::int * interval '1 microsecond' as created_at
    ) as task`,
    sql`
    update user_sequences set last_version = ${count}::int
    where user_id in (select id from users where email like ${`${prefix}%`})`
  )

/** About `limit` ids of live tasks of all ages, for each user whose e-mail begins with `prefix`. */
export const readTaskIds = (sql: SqlClient.SqlClient, prefix: string, limit: number) =>
  Effect.map(
    sql<{ readonly email: string; readonly id: string; readonly task_ids: ReadonlyArray<string> }>`
    select email, users.id::text as id, array(
      select tasks.id::text from tasks
      where user_id = users.id and deleted_at is null
        -- the first of each step: every fiftieth task is deleted
        and version % greatest(2, last_version / ${limit}::int) = 1
      limit ${limit}::int
    ) as task_ids
    from users join user_sequences on user_id = id where email like ${`${prefix}%`}`,
    (rows) => new Map(rows.map(({ email, id, task_ids }) => [email, { id, taskIds: task_ids }] as const))
  )
