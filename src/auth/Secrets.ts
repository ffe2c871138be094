/** Secrets that are good enough to sign with. */
import { Effect } from "effect"
import { randomBytes } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"

/** What secrets are made of that everybody knows: examples of manuals, and defaults of other products. */
const knownWords = (
  "changethis changeme change default example development production password passphrase secret super random insecure " +
  "your please replace string characters letters least bits bytes long with this that must token signing test jwt hmac " +
  "key app api auth dev prod for the abcdef qwerty xyz be is my at in it to a"
).split(" ")
const knownWord = new RegExp(knownWords.join("|"), "g")

/** Why these bytes are no key for HS256 (RFC 7518 3.2 asks for at least 256 bits), or undefined. */
export const weakness = (secret: string): string | undefined => {
  if (new TextEncoder().encode(secret).length < 32) {
    return "must have at least 32 bytes; `openssl rand -hex 32` makes one"
  }
  const letters = secret.toLowerCase().replace(/[^a-z]/g, "")
  const repeated = new Set(secret).size < 8
  return repeated || letters !== "" && letters.replace(knownWord, "") === ""
    ? "is easy to guess; `openssl rand -hex 32` makes a good one"
    : undefined
}

/**
 * The secret of a development server, made once and kept beside its data, so that a restart logs nobody out. Fails with
 * what is wrong with the directory.
 */
export const generatedSecret = (dataDir: string): Effect.Effect<string, string> =>
  Effect.try({
    try: () => {
      const file = join(dataDir, "jwt-secret")
      mkdirSync(dataDir, { recursive: true, mode: 0o700 })
      if (!existsSync(file)) writeFileSync(file, randomBytes(32).toString("hex"), { mode: 0o600 })
      return readFileSync(file, "utf8")
    },
    catch: () => "must be a directory where the file jwt-secret can be made and read"
  }).pipe(Effect.filterOrFail(
    // a crash or a full disk can leave it empty, and whoever knows a weak one signs tokens of any user
    (secret) => weakness(secret) === undefined,
    () => "its file jwt-secret is damaged; without it, the next start makes a new one"
  ))
