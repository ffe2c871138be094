/** Of samples of any unit. */

const sorted = (values: Iterable<number>): ReadonlyArray<number> => [...values].sort((a, b) => a - b)

/** The value that `share` of all samples do not exceed. */
export const percentile = (values: Iterable<number>, share: number): number => {
  const all = sorted(values)
  return all[Math.max(0, Math.ceil(all.length * share) - 1)] ?? NaN
}

export const median = (values: Iterable<number>): number => {
  const all = sorted(values)
  const middle = all.length >> 1
  return all.length % 2 === 1 ? all[middle]! : (all[middle - 1]! + all[middle]!) / 2
}

/** How likely a sample of `a` is greater than one of `b`: 0.5 where nobody can tell them apart. */
export const rankAuc = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): number => {
  let greater = 0
  for (const x of a) for (const y of b) greater += x > y ? 1 : x === y ? 0.5 : 0
  return greater / (a.length * b.length)
}
