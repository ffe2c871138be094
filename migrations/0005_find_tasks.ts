import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { UserId } from "../src/domain/User.ts"
import { tagTerms, wordTerms } from "../src/tasks/Terms.ts"

const batch = 1_000

interface Row {
  readonly user_id: string
  readonly id: string
  readonly title: string
  readonly description: string | null
  readonly tags: ReadonlyArray<string>
}

/** Indexes for each order of a list, and the terms by which tasks are found. */
export default Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  // words and tags as the application folds them, each after a part of the owner's id; by member, so that a change of
  // one needs not read the others
  yield* sql`
    alter table tasks
      add column title_terms tsvector not null default '',
      add column description_terms tsvector not null default '',
      add column tag_terms tsvector not null default ''`

  let after: readonly [userId: string, id: string] = [
    "00000000-0000-0000-0000-000000000000",
    "00000000-0000-0000-0000-000000000000"
  ]
  while (true) {
    const rows = yield* sql<Row>`
      select user_id, id, title, description, tags from tasks
      where (user_id, id) > (${after[0]}::uuid, ${after[1]}::uuid) order by user_id, id limit ${batch}`
    const last = rows.at(-1)
    if (last === undefined) break
    const values = rows.map((row) => {
      const owner = UserId.make(row.user_id, { disableChecks: true })
      return {
        user_id: row.user_id,
        id: row.id,
        title: wordTerms(owner, row.title),
        description: wordTerms(owner, row.description),
        tags: tagTerms(owner, row.tags)
      }
    })
    yield* sql`
      update tasks set
        title_terms = array_to_tsvector(array(select jsonb_array_elements_text(value->'title'))),
        description_terms = array_to_tsvector(array(select jsonb_array_elements_text(value->'description'))),
        tag_terms = array_to_tsvector(array(select jsonb_array_elements_text(value->'tags')))
      from jsonb_array_elements(${JSON.stringify(values)}::text::jsonb) as value
      where tasks.user_id = (value->>'user_id')::uuid and tasks.id = (value->>'id')::uuid`
    after = [last.user_id, last.id]
  }

  yield* sql`create index tasks_terms on tasks using gin ((title_terms || description_terms || tag_terms))`
  yield* sql`create index tasks_updated_at on tasks (user_id, updated_at, id) where deleted_at is null`
  yield* sql`create index tasks_priority on tasks (user_id, priority, id) where deleted_at is null`
  yield* sql`create index tasks_title on tasks (user_id, (lower(title) collate "C"), id) where deleted_at is null`
  // those with a value and those without are a range each
  yield* sql`
    create index tasks_completed_at on tasks (user_id, completed_at, id)
    where deleted_at is null and completed_at is not null`
  yield* sql`create index tasks_open on tasks (user_id, id) where deleted_at is null and completed_at is null`
  // most of what is deleted is not older than what can be restored
  yield* sql`create index tasks_trash on tasks (user_id, created_at, id) where deleted_at is not null`
})
