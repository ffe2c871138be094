/**
 * Row-level security as an oracle for the queries (R57). Production runs without it: there every statement names its
 * user. Here the database checks that it does. The server connects as a role that owns nothing, each of its statements
 * says for whom it is sent, and a forced policy on every table with rows of users fails a statement that so much as
 * looks at a row of anybody else. So a statement has to name its user for each table, also where a join would do.
 *
 * An id finds nobody else's row, so a statement that forgot its user could still go unnoticed. That is why every row
 * has a twin: the same row, kept in step by triggers, of a user who exists for this only. What finds a row by anything
 * but its user finds the twin as well, and fails.
 */
import { toIncomingMessage } from "@effect/platform-node/NodeHttpServerRequest"
import { Context, Effect, type Fiber } from "effect"
import { HttpServerRequest } from "effect/http"
import { SqlClient, type Statement } from "effect/sql"
import { RequestInfo } from "../../src/http/RequestInfo.ts"

/** What a failure of the oracle is found by in a log. */
export const violation = "row security:"

/**
 * What rightly touches rows of others, or of nobody in particular, and is therefore allowed:
 *
 * - `worker`: what no request asked for. Workers take away what has had its time, of all users; twins are hidden from
 *   them, since they would be counted.
 * - `authentication`: a request whose user is not known yet, or never is, as at registration, login, refresh and the
 *   check of a token. It looks users up by what came with the request, and makes them and their sessions; no task, no
 *   change and no stored answer is any of its business, and twins are not its to find either.
 * - What stays of a deleted user of another issuer: a row of `revoked_tokens` that belongs to a hash (a UUID of version
 *   8) in the place of a user, written by the request that deletes the account.
 */
const tablesOfAuthentication = ["identities", "revoked_tokens", "sessions", "user_sequences", "users"]
const exempt = `actor = 'authentication' and place = any('{${tablesOfAuthentication}}') or
  actor <> 'nobody' and place = 'revoked_tokens' and substr(owner::text, 15, 1) = '8'`

/** Columns that are unique whoever owns the row: what a twin has there, so that it can be. */
const unique: Readonly<Record<string, (value: string) => string>> = {
  "identities.issuer": (issuer) => `${issuer} || ' (twin)'`,
  "users.email": () => "null",
  "users.email_key": () => "null",
  "users.username": () => "null",
  "users.username_key": () => "null"
}

/** The requests whose user is known: an event stream is read after its handler has ended, when nothing else tells. */
const users = new WeakMap<object, string>()

/** For whom a statement is sent. */
export const actorOf = (fiber: Fiber.Fiber<unknown, unknown>): string => {
  const { id, userId } = fiber.getRef(RequestInfo)
  const request = Context.getOrUndefined(fiber.context, HttpServerRequest.HttpServerRequest)
  const source = request && toIncomingMessage(request)
  if (source !== undefined && userId !== undefined) users.set(source, userId)
  if (source === undefined && id === "-") return "worker"
  return userId ?? (source && users.get(source)) ?? "authentication"
}

/**
 * Says for whom a statement is sent, in a comment at its end: it arrives with the statement on whichever connection, so
 * nothing is left behind for the next one, and statements that share a connection can't mix it up.
 */
export const signed: Statement.Transformer = (statement, sql, fiber) =>
  Effect.sync(() => sql`${statement} ${sql.literal(`/*:${actorOf(fiber)}*/`)}`)

const functions = `
create schema row_security;

-- UUIDs of version 0 are nobody's, and come before their users' in an index
create function row_security.twin(id uuid) returns uuid immutable language sql as
  $$ select overlay(id::text placing '0' from 15 for 1)::uuid $$;
create function row_security.is_twin(id uuid) returns boolean immutable language sql as
  $$ select substr(id::text, 15, 1) = '0' $$;

-- expensive, so that comparing the column with the user goes first: rows that this leaves out are not looked at
create function row_security.allows(owner uuid, place text) returns boolean stable cost 10000 language plpgsql as $$
declare
  -- a statement that does not say for whom it is sent may touch nothing
  actor text := coalesce(substring(right(current_query(), 41) from '/\\*:(.*)\\*/$'), 'nobody');
begin
  if actor = owner::text then return true; end if;
  if actor = 'worker' then return not row_security.is_twin(owner); end if;
  if not row_security.is_twin(owner) and (${exempt}) then return true; end if;
  raise exception '${violation} sent for %, touched a row of % in %: %', actor, owner, place, current_query();
end $$;`

interface Table {
  readonly name: string
  readonly columns: ReadonlyArray<string>
  /** of the primary key */
  readonly key: ReadonlyArray<string>
}

const ownerOf = (table: string) => table === "users" ? "id" : "user_id"

const policies = ({ name }: Table, role: string, owner: string) => {
  const allowed = `row_security.allows(${ownerOf(name)}, '${name}')`
  return `
alter table ${name} enable row level security, force row level security;
create policy of_the_server on ${name} to ${role} using (${allowed}) with check (${allowed});
create policy of_the_tests on ${name} to ${owner} using (not row_security.is_twin(${ownerOf(name)}));`
}

/**
 * A twin is there before its row, so that a search that ends with the first find comes upon the twin. Only what is not
 * keyed by its user may be made before the user is, and a twin has to refer to a user, too.
 */
const twins = ({ columns, key, name }: Table) => {
  const owner = ownerOf(name)
  const twin = (row: "old" | "new", column: string) => {
    const value = `${row}.${column}`
    return column === owner ? `row_security.twin(${value})` : unique[`${name}.${column}`]?.(value) ?? value
  }
  const values = columns.map((column) => twin("new", column)).join()
  const isOld = key.map((column) => `${column} = ${twin("old", column)}`).join(" and ")
  const [early, late] = key.includes(owner) ? ["insert or update", "delete"] : [undefined, "insert or update or delete"]
  const trigger = (moment: string) => `
create trigger twin_${moment.split(" ")[0]} ${moment} on ${name} for each row
  execute function row_security.twin_${name}();`
  return `
create function row_security.twin_${name}() returns trigger security definer language plpgsql as $$
begin
  if row_security.is_twin(coalesce(new.${owner}, old.${owner})) then return new; end if;
  case tg_op
    when 'INSERT' then insert into ${name} (${columns}) values (${values}) on conflict (${key}) do nothing;
    when 'UPDATE' then update ${name} set (${columns}) = row(${values}) where ${isOld};
    when 'DELETE' then delete from ${name} where ${isOld};
  end case;
  return new;
end $$;
${early === undefined ? "" : trigger(`before ${early}`)}
${trigger(`after ${late}`)}`
}

/**
 * Puts the oracle into a database that has its tables: `role` gets what the server needs, and `owner`, to whom the
 * tables belong and as whom tests look into them, sees no twins. To be run by a superuser.
 */
export const install = Effect.fnUntraced(function* (role: string, owner: string) {
  const sql = yield* SqlClient.SqlClient
  const tables = yield* sql<Table>`
    select c.relname as name, array_agg(a.attname::text order by a.attnum) as columns,
      array_agg(a.attname::text order by a.attnum) filter (where a.attnum = any(i.indkey)) as key
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      join pg_index i on i.indrelid = c.oid and i.indisprimary
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
    group by c.relname
    having c.relname = 'users' or bool_or(a.attname = 'user_id')`
  const names = tables.map(({ name }) => name)
  for (
    const text of [
      functions,
      ...tables.flatMap((table) => [policies(table, role, owner), twins(table)]),
      `grant usage on schema row_security to ${role}, ${owner};`,
      `grant select, insert, update, delete on ${names} to ${role};`
    ]
  ) yield* sql.unsafe(`do $install$ begin ${text} end $install$`)
})
