const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

/** The same cursor with the highest bit of one letter turned, which no decoder may overlook. */
export const flipped = (cursor: string, at: number): string => {
  const place = alphabet.indexOf(cursor[at] ?? "")
  return `${cursor.slice(0, at)}${place < 0 ? "A" : alphabet[place ^ 32]}${cursor.slice(at + 1)}`
}
