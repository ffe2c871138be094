/** Users of other issuers of tokens. */
import type { SessionId } from "./Session.ts"

/** Who somebody is to an issuer: `iss` and `sub`, compared exactly. Two issuers may call two people the same. */
export interface Identity {
  readonly issuer: string
  readonly subject: string
}

/** A token of another issuer. It stands for a login: here, nothing is stored of one until it is ended. */
export interface ExternalToken extends Identity {
  /** names the login as the id of a session names ours */
  readonly sessionId: SessionId
  readonly hash: Uint8Array
  /** seconds since 1970; undefined where the issuer does not tell */
  readonly issuedAt: number | undefined
  /** seconds since 1970: the end, with the difference between clocks that is forgiven */
  readonly expiresAt: number
}
