import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** Accounts, where they come from, and their logins. */
export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // *_key is the value in the form in which it must be unique: folded by the application, so that every database
  // agrees on what "the same whatever the case" means
  yield* sql`
    create table users (
      id uuid primary key,
      email text check (octet_length(email) <= 1024),
      email_key text constraint users_email_key unique,
      username text,
      username_key text constraint users_username_key unique,
      name text,
      password_hash text,
      time_zone text not null default 'UTC',
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      check ((email is null) = (email_key is null)),
      check ((username is null) = (username_key is null))
    )`
  // users of external issuers: found by (iss, sub), never by e-mail
  yield* sql`
    create table identities (
      issuer text not null,
      subject text not null,
      user_id uuid not null references users on delete cascade,
      created_at timestamptz not null default now(),
      primary key (issuer, subject)
    )`
  yield* sql`create index identities_user_id on identities (user_id)`
  // one row a login; a refresh token is (row, generation) with a MAC, so nothing usable is stored
  yield* sql`
    create table sessions (
      user_id uuid not null references users on delete cascade,
      id uuid not null,
      generation integer not null default 0,
      salt bytea not null,
      rotated_at timestamptz,
      revoked_at timestamptz,
      revoked_reason text,
      created_at timestamptz not null default now(),
      last_used_at timestamptz not null default now(),
      expires_at timestamptz not null,
      absolute_expires_at timestamptz not null,
      user_agent text,
      ip text,
      primary key (user_id, id),
      check ((revoked_at is null) = (revoked_reason is null)),
      check (expires_at <= absolute_expires_at)
    )`
  // tokens of external issuers that were logged out or whose user was deleted; no reference: it outlives the user
  yield* sql`
    create table revoked_tokens (
      user_id uuid not null,
      token_hash bytea not null,
      expires_at timestamptz not null,
      primary key (user_id, token_hash)
    )`
})
