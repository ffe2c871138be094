import { hkdfSync } from "node:crypto"

/** What the server under comparison derives from its secret, so that the tokens and cursors of one work on the other. */
export const deriveKeys = (secret: string) => {
  const derive = (purpose: string, bytes: number) =>
    Buffer.from(hkdfSync("sha256", secret, "", `tasks-api/${purpose}`, bytes))
  const id = derive("key id", 8)
  return {
    kid: id.toString("hex"),
    refreshKeyId: id[0]!,
    refreshToken: derive("refresh token", 32),
    cursor: derive("cursor", 32)
  }
}
export type Keys = ReturnType<typeof deriveKeys>
