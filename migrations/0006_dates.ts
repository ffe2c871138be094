import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** Due dates, recurrence and reminders of tasks, and what their lists and the worker look them up by. */
export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // due_at is what the other three mean in the zone of the task or else of its owner; reminder_times are the instants
  // of the reminders in their order, remind_at is the first that is not delivered, last_reminder_at the last of all
  yield* sql`
    alter table tasks
      add column due_date date,
      add column due_time text,
      add column due_zone text,
      add column due_at timestamptz,
      add column recurrence jsonb,
      add column series_start date,
      add column series_number integer,
      add column reminders jsonb not null default '[]',
      add column reminder_times timestamptz[] not null default '{}',
      add column remind_at timestamptz,
      add column last_reminder_at timestamptz,
      add check ((due_date is null) = (due_at is null)),
      add check (due_time is null or due_date is not null),
      add check (due_zone is null or due_time is not null),
      add check (recurrence is null or due_date is not null and series_start is not null and series_number is not null)`
  // what was completed or deleted since then has its instants in the zone that its owner has
  yield* sql`alter table users add column time_zone_changed_at timestamptz`
  // the series that an occurrence belonged to, so that taking it back goes on where that series was
  yield* sql`
    alter table task_occurrences
      add column series_start date not null,
      add column series_number integer not null`
  yield* sql`create index task_occurrences_completed_at on task_occurrences (user_id, completed_at)`
  // those that are due and those that are not are a range each
  yield* sql`create index tasks_due on tasks (user_id, due_at, id) where deleted_at is null and due_at is not null`
  yield* sql`create index tasks_undated on tasks (user_id, id) where deleted_at is null and due_at is null`
  // what the worker has to deliver next, of whomever and then of one user, beside whom many others may wait
  yield* sql`
    create index tasks_remind_at on tasks (remind_at)
    where deleted_at is null and completed_at is null and remind_at is not null`
  // true of every row, but not of every search: who looks for whichever users has nothing to do with this one
  yield* sql`
    create index tasks_reminding on tasks (user_id, remind_at)
    where deleted_at is null and completed_at is null and remind_at is not null and user_id is not null`
  // what a user is, was and will be reminded of
  yield* sql`
    create index tasks_last_reminder_at on tasks (user_id, last_reminder_at)
    where deleted_at is null and last_reminder_at is not null`
})
