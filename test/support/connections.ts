/** Where this process connects to, by whatever means it has. */
import { Socket } from "node:net"

const targetOf = (args: ReadonlyArray<unknown>): string => {
  // what net.connect makes of its arguments is an array of them
  const [first, second] = Array.isArray(args[0]) ? args[0] : args
  if (typeof first !== "object" || first === null) return `${second}:${first}`
  const { host, path, port } = first as { readonly host?: string; readonly path?: string; readonly port?: unknown }
  return path ?? `${host ?? "localhost"}:${port}`
}

/** Runs this and returns every host and port that was connected to meanwhile. */
export const connectionsOf = async (work: () => Promise<void>): Promise<ReadonlySet<string>> => {
  const targets = new Set<string>()
  const [connect, fetchIt] = [Socket.prototype.connect, globalThis.fetch]
  Socket.prototype.connect = function (this: Socket, ...args: ReadonlyArray<unknown>) {
    targets.add(targetOf(args))
    return Reflect.apply(connect, this, args)
  } as typeof connect
  // Deno's has no socket of node:net
  globalThis.fetch = (input, init) => {
    targets.add(new URL(input instanceof Request ? input.url : input).host)
    return fetchIt(input, init)
  }
  try {
    await work()
  } finally {
    Socket.prototype.connect = connect
    globalThis.fetch = fetchIt
  }
  return targets
}
