/** The operations of a batch, as few statements do them. */
import type { Operation } from "../api/TaskBulk.ts"
import type { TaskId } from "../domain/Task.ts"

const kindOf = ({ op }: Operation) => op === "complete" ? "update" : op

/**
 * Operations in their order, in groups that one statement can do: of one kind, each of another task. A create without
 * an id is of no task that there is.
 */
export const groupsOf = (operations: ReadonlyArray<Operation>): ReadonlyArray<ReadonlyArray<Operation>> => {
  const groups: Array<Array<Operation>> = []
  let ids = new Set<TaskId>()
  for (const operation of operations) {
    const id = operation.op === "create" ? operation.task.id : operation.id
    const group = groups.at(-1)
    if (group !== undefined && kindOf(group[0]!) === kindOf(operation) && (id === undefined || !ids.has(id))) {
      group.push(operation)
    } else {
      groups.push([operation])
      ids = new Set()
    }
    if (id !== undefined) ids.add(id)
  }
  return groups
}
