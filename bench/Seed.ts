/** Users and their tasks. Accounts are made over HTTP, because they need tokens; tasks by SQL, as they are many. */
import { Effect } from "effect"
import { BenchFailed } from "./Children.ts"
import { withSql } from "./Postgres.ts"

export interface BenchUser {
  readonly id: string
  readonly token: string
  /** some tasks of the user, from all ages */
  readonly taskIds: ReadonlyArray<string>
}

const userCount = 100
const taskIdsPerUser = 100

const register = (url: string, index: number) =>
  Effect.tryPromise({
    try: async (): Promise<Omit<BenchUser, "taskIds">> => {
      const response = await fetch(`${url}/api/v1/auth/register`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ email: `user-${index}@bench.example`, password: "a long walk along the quiet river" })
      })
      if (response.status !== 201) throw new Error(`${response.status} ${await response.text()}`)
      const { access_token, user } = await response.json() as {
        readonly access_token: string
        readonly user: { readonly id: string }
      }
      return { id: user.id, token: access_token }
    },
    catch: (error) => new BenchFailed({ message: `a user was not registered: ${String(error)}` })
  })

/**
 * The same number of tasks for every user, each some minutes after the one before. They are inserted in order of time,
 * so that the rows of one user lie as far apart as they do where many users work at once; their ids are UUIDv7 of
 * their instants. A third is completed, and a fiftieth deleted.
 */
const insertTasks = (databaseUrl: string, count: number) =>
  withSql(databaseUrl, (sql) =>
    Effect.andThen(
      sql`
        insert into tasks (user_id, id, version, title, description, completed, completed_at, priority, tags,
          created_at, updated_at, deleted_at)
        select users.id,
          (lpad(to_hex((extract(epoch from task.created_at) * 1000)::bigint), 12, '0')
            || '7' || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))::uuid,
          n, 'Water the plants on the ' || n || '. balcony',
          case when n % 2 = 0 then 'The ferns every other day, and the ' || hash || ' once in a week' end,
          n % 3 = 0, case when n % 3 = 0 then task.created_at + interval '1 hour' end,
          n % 5, (array['home', 'garden', 'errands'])[1 : n % 4],
          task.created_at, task.created_at, case when n % 50 = 0 then task.created_at + interval '1 day' end
        from generate_series(1, ${count}::int) as n
        cross join users
        cross join lateral (select md5(users.id::text || n) as hash) as hashes
        cross join lateral (
          select now() - (${count}::int - n + 1) * interval '7 minutes'
            + ('x' || substr(hash, 20, 6))::bit(24)::int * interval '1 microsecond' as created_at
        ) as task
        order by n`,
      Effect.andThen(
        sql`update user_sequences set last_version = ${count}::int`,
        // also settles what the first reader of a new row would otherwise do
        sql`vacuum analyze`
      )
    ))

const readTaskIds = (databaseUrl: string, count: number) =>
  withSql(databaseUrl, (sql) =>
    sql<{ readonly user_id: string; readonly ids: ReadonlyArray<string> }>`
      select user_id, array_agg(id::text) as ids from tasks
      where version % ${Math.max(1, Math.floor(count / taskIdsPerUser))}::int = 0 and deleted_at is null
      group by user_id`)

/** Fills an empty but migrated database through the server at `url`. */
export const seed = Effect.fnUntraced(function* (url: string, databaseUrl: string, tasksPerUser: number) {
  const indices = Array.from({ length: userCount }, (_, index) => index)
  const users = yield* Effect.forEach(indices, (index) => register(url, index), { concurrency: 4 })
  yield* insertTasks(databaseUrl, tasksPerUser)
  const taskIds = new Map((yield* readTaskIds(databaseUrl, tasksPerUser)).map(({ ids, user_id }) => [user_id, ids]))
  return users.map((user): BenchUser => ({ ...user, taskIds: taskIds.get(user.id) ?? [] }))
})
