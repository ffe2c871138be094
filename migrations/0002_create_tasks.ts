import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** Tasks, the sequence that orders a user's changes, and what completing and retrying leave behind. */
export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // this row is the lock that puts one user's writes in order; purged_version is the newest tombstone that is gone
  yield* sql`
    create table user_sequences (
      user_id uuid primary key references users on delete cascade,
      last_version bigint not null default 0,
      purged_version bigint not null default 0
    )`
  // keyed by (user, id) and by nothing else, so that one user's rows lie together and may be sharded by user;
  // creation_hash tells a retried creation with the client's own id from another one with the same id
  yield* sql`
    create table tasks (
      user_id uuid not null references users on delete cascade,
      id uuid not null,
      version bigint not null,
      title text not null check (char_length(title) between 1 and 200),
      description text check (char_length(description) <= 1000),
      completed boolean not null default false,
      completed_at timestamptz,
      priority smallint not null default 0 check (priority between 0 and 4),
      tags text[] not null default '{}' check (cardinality(tags) <= 20),
      created_at timestamptz not null,
      updated_at timestamptz not null,
      deleted_at timestamptz,
      creation_hash bytea,
      primary key (user_id, id),
      check (completed = (completed_at is not null))
    )`
  // the feed of changes
  yield* sql`create index tasks_version on tasks (user_id, version)`
  // the default list; read backwards for the newest first
  yield* sql`create index tasks_created_at on tasks (user_id, created_at, id) where deleted_at is null`
  // the ledger of recurring tasks: one row for each occurrence that was completed
  yield* sql`
    create table task_occurrences (
      user_id uuid not null,
      task_id uuid not null,
      version bigint not null,
      occurrence date not null,
      due_at timestamptz not null,
      completed_at timestamptz not null,
      primary key (user_id, task_id, version),
      foreign key (user_id, task_id) references tasks on delete cascade
    )`
  // the stored answer of a write that carried an Idempotency-Key, written in the transaction of its effect
  yield* sql`
    create table idempotency_keys (
      user_id uuid not null references users on delete cascade,
      key text not null,
      request_hash bytea not null,
      status smallint not null,
      headers jsonb not null,
      body text not null,
      created_at timestamptz not null default now(),
      primary key (user_id, key)
    )`
})
