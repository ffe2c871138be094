#!/usr/bin/env bash
# PostgreSQL's image runs it once, when it makes the database: the server's user owns that, and may do nothing else.
# POSTGRES_PASSWORD becomes this user's. The superuser has none after that, so that nobody is it by way of the network;
# `docker compose exec postgres psql` is, by the socket.
psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'sql'
\getenv password POSTGRES_PASSWORD
create role tasks login password :'password';
select format('alter database %I owner to tasks', current_database()) \gexec
alter schema public owner to tasks;
alter role current_user password null;
sql
