/** The passwords that an attacker tries first. */

/**
 * The common passwords of at least 8 characters (about 18,000), in lower case: what NIST SP 800-63B-4 3.1.1.2 asks to
 * refuse. They come with a package, so nothing is asked of the network, and are loaded by the first who needs them.
 */
export const loadCommonPasswords = async (): Promise<ReadonlySet<string>> => {
  const { dictionary } = await import("@zxcvbn-ts/language-common")
  return new Set(dictionary["passwords-common"].filter((password) => password.length >= 8))
}

/** What must not be the whole of a password, beside digits and punctuation after it. */
const productNames = ["tasks-api", "tasksapi", "tasks api"]

const withoutTail = (text: string) => text.replace(/[\d\p{P}\p{S}\s]+$/u, "")

/** Whether a password is common, or only restates the account or this product (ASVS 6.2.4, 6.2.11). */
export const isCompromised = (
  common: ReadonlySet<string>,
  password: string,
  account: { readonly email?: string | null | undefined; readonly username?: string | null | undefined }
): boolean => {
  const folded = password.toLowerCase()
  const words = [account.email, account.email?.split("@")[0], account.username, ...productNames]
    .filter((word) => word !== null && word !== undefined && word.length >= 3)
    .map((word) => word!.toLowerCase())
  return common.has(folded) || words.includes(folded) || words.includes(withoutTail(folded))
}
