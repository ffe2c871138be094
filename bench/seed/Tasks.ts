/** Tasks, many at once. */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { UserId } from "../../src/domain/User.ts"
import { tagTerms, wordTerms } from "../../src/tasks/Terms.ts"
import { BenchFailed } from "../machine/Children.ts"
import { rareWord, textCount, texts } from "./Texts.ts"

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

/** Tasks take their texts from this table, so that the terms of few have to be found. */
export const createTexts = Effect.fnUntraced(function* (sql: SqlClient.SqlClient) {
  yield* sql`
    create temporary table texts as
    select row_number() over () - 1 as index, text.*
    from jsonb_to_recordset(${JSON.stringify(texts())}::text::jsonb) as text(title text, description text, tags text[],
      priority smallint, title_terms text[], description_terms text[], tag_terms text[])`
  yield* sql`create unique index on texts (index)`
  yield* sql`analyze texts`
})

/**
 * The same number of tasks for every user whose e-mail begins with `prefix`, each some minutes after the one before.
 * They are inserted in the order of time, so that the rows of one user lie as far apart as they do where many users
 * work at once; their ids are UUIDv7 of their instants. What is open does not grow with the rest: of a long history, a
 * few hundred tasks are left to do, most of them new. A fiftieth was deleted within the last 45 days, after which there
 * is nothing left of a task. A third are due, some days after they were made, with a reminder half an hour before; ten
 * recur, and are long late.
 */
export const insertTasks = (sql: SqlClient.SqlClient, prefix: string, count: number) =>
  Effect.andThen(
    sql`
    insert into tasks (user_id, id, version, title, description, completed, completed_at, priority, tags,
      created_at, updated_at, deleted_at, title_terms, description_terms, tag_terms, due_date, due_time, due_at,
      recurrence, series_start, series_number, reminders, reminder_times, remind_at, last_reminder_at)
    select owner.id,
      (lpad(to_hex((extract(epoch from task.created_at) * 1000)::bigint), 12, '0')
        || '7' || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))::uuid,
      n, text.title || ' ' || n || rare, text.description,
      state.completed_at is not null, state.completed_at, text.priority, text.tags,
      task.created_at, greatest(task.created_at, state.completed_at, state.deleted_at), state.deleted_at,
      array_to_tsvector(array(
        select owner.scope || term from unnest(text.title_terms || n::text || nullif(trim(rare), '')) as term
        where term is not null
      )),
      array_to_tsvector(array(select owner.scope || term from unnest(text.description_terms) as term)),
      array_to_tsvector(array(select owner.scope || term from unnest(text.tag_terms) as term)),
      due.date, due.time, due.at,
      case when recurs then '{"rule":"FREQ=DAILY","anchor":"due","month_end":"clamp","missed":"each"}'::jsonb end,
      case when recurs then due.date end, case when recurs then 1 end,
      case when due.at is null then '[]' else
        jsonb_build_array(jsonb_build_object('before', 'PT30M', 'delivered_at', case when reminder.at <= now()
          then to_char(reminder.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') end)) end,
      array_remove(array[reminder.at], null), case when reminder.at > now() then reminder.at end, reminder.at
    from generate_series(1, ${count}::int) as n
    cross join lateral (
      select id, right(id::text, 4) as scope from users where email like ${`${prefix}%`} offset 0
    ) as owner
    cross join lateral (select md5(owner.id::text || n) as hash) as hashes
    cross join lateral (select ('x' || substr(hash, 20, 6))::bit(24)::int as random) as randoms
    cross join lateral (
      -- the oldest is no older than ten years, however many there are
      select now() - (${count}::int - n + 1) * least(interval '7 minutes', interval '3650 days' / ${count}::int)
        + random * interval '1 microsecond' as created_at,
        case n % greatest(${count}::int / 10, 2) when 7 then ${` ${rareWord}`} else '' end as rare,
        n % greatest(${count}::int / 10, 2) = 4 as recurs
    ) as task
    cross join lateral (
      select
        case when not recurs and (n <= ${count}::int - 400 and n % greatest(${count}::int / 50, 2) <> 3 or random % 2 = 0)
          then least(now(), task.created_at + random % 240 * interval '1 hour') end as completed_at,
        case when n % 50 = 0 then now() - n / 50 % 44 * interval '1 day' - interval '1 hour' end as deleted_at
    ) as state
    cross join lateral (
      select case when recurs or random % 3 = 0
        then date_trunc('minute', task.created_at + (random % 20 + case when recurs then -20 else 1 end) * interval '1 day')
        end as at
    ) as instant
    cross join lateral (
      select at, (at at time zone 'UTC')::date as date, to_char(at at time zone 'UTC', 'HH24:MI') as time
    ) as due
    cross join lateral (select due.at - interval '30 minutes' as at) as reminder
    join texts as text on text.index = random % ${textCount}`,
    sql`
    update user_sequences set last_version = ${count}::int
    where user_id in (select id from users where email like ${`${prefix}%`})`
  )

/** Fails where the terms that were put together are not those that the application finds. */
export const checkTerms = Effect.fnUntraced(function* (sql: SqlClient.SqlClient) {
  const rows = yield* sql<{
    readonly user_id: string
    readonly title: string
    readonly description: string | null
    readonly tags: ReadonlyArray<string>
    readonly terms: ReadonlyArray<string>
  }>`
    select user_id::text, title, description, tags,
      tsvector_to_array(title_terms || description_terms || tag_terms) as terms
    from tasks order by id limit 500`
  for (const { description, tags, terms, title, user_id } of rows) {
    const owner = UserId.make(user_id, { disableChecks: true })
    const expected = [...wordTerms(owner, title), ...wordTerms(owner, description), ...tagTerms(owner, tags)]
    if (new Set(expected).size !== terms.length || expected.some((term) => !terms.includes(term))) {
      return yield* new BenchFailed({ message: `terms of "${title}": ${terms.join(" ")}` })
    }
  }
})

/** About `limit` ids of live tasks of all ages, and those that recur, for each user whose e-mail begins with `prefix`. */
export const readTaskIds = (sql: SqlClient.SqlClient, prefix: string, limit: number) =>
  Effect.map(
    sql<{
      readonly email: string
      readonly id: string
      readonly task_ids: ReadonlyArray<string>
      readonly recurring_ids: ReadonlyArray<string>
    }>`
    select email, users.id::text as id, array(
      select tasks.id::text from tasks
      where user_id = users.id and deleted_at is null
        -- the first of each step: every fiftieth task is deleted
        and version % greatest(2, last_version / ${limit}::int) = 1
      limit ${limit}::int
    ) as task_ids, array(
      select tasks.id::text from tasks
      where user_id = users.id and deleted_at is null and recurrence is not null order by tasks.id limit ${limit}::int
    ) as recurring_ids
    from users join user_sequences on user_id = id where email like ${`${prefix}%`}`,
    (rows) =>
      new Map(rows.map(({ email, id, recurring_ids, task_ids }) =>
        [email, { id, taskIds: task_ids, recurringIds: recurring_ids }] as const
      ))
  )
