/** Programs of this machine as parts of something larger: each is started, watched and stopped, and no wait is endless. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { randomInt } from "node:crypto"
import { createServer } from "node:net"
import process from "node:process"

/** How a program is run, and how one sees that it works. */
export interface Program {
  /** for whoever reads of a failure */
  readonly name: string
  readonly command: string
  readonly args: ReadonlyArray<string>
  /** all that it finds in its environment, besides PATH, HOME, TMPDIR and DENO_DIR */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd: string
  /** as whom, where it refuses to be root */
  readonly user?: User | undefined
  /** what it writes once it works */
  readonly ready: string
}

export interface User {
  readonly uid: number
  readonly gid: number
}

export interface Ending {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface Process {
  readonly pid: number | undefined
  /** the last million characters of what it wrote, both outputs together */
  readonly output: () => string
  readonly ended: Promise<Ending>
  /** does nothing once it has ended */
  readonly signal: (name: NodeJS.Signals) => void
  /** Asks it to end, and after so many milliseconds ends it. */
  readonly stop: (name: NodeJS.Signals, patience: number) => Promise<Ending>
}

/** Milliseconds that a program has to work, on a machine that is busy with others. */
const startTime = 60_000

const kept = 1_000_000

const inherited = (): Record<string, string> =>
  Object.fromEntries(["PATH", "HOME", "TMPDIR", "DENO_DIR"].flatMap((name) => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value]]
  }))

/** Whether there is such a program; it is run with these arguments. */
export const isInstalled = (command: string, ...args: ReadonlyArray<string>): boolean =>
  spawnSync(command, args, { stdio: "ignore", timeout: 10_000 }).status === 0

const isFree = (port: number) =>
  new Promise<boolean>((resolve, reject) => {
    const server = createServer().listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
    server.once("error", (error: NodeJS.ErrnoException) => error.code === "EADDRINUSE" ? resolve(false) : reject(error))
  })

/** Below those that a system gives to outgoing connections, or to whoever listens at any port. */
const [firstPort, lastPort] = [20_000, 29_999]
let port = randomInt(firstPort, lastPort)

/** A port of loopback that nobody listens on, and that nobody is given by chance before it is used; another each time. */
export const freePort = async (): Promise<number> => {
  do port = port === lastPort ? firstPort : port + 1
  while (!await isFree(port))
  return port
}

/**
 * Starts a program; resolves once it works, and fails with what it wrote where it ends before or takes a minute. It gets
 * no signal of the terminal, and is killed with whoever started it.
 */
export const startProcess = ({ args, command, cwd, env, name, ready, user }: Program): Promise<Process> => {
  // on other systems it stays when whoever started it is killed
  const guard = process.platform === "linux" ? ["setpriv", "--pdeathsig=KILL", "--"] : []
  const [first = command, ...rest] = [...guard, command, ...args]
  const child: ChildProcess = spawn(first, rest, {
    cwd,
    env: { ...inherited(), ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
    ...user
  })
  let output = ""
  let isReady = false
  let look = () => {}
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output += text
      if (output.length > 2 * kept) output = output.slice(-kept)
      if (!isReady) look()
    })
  }
  const ended = new Promise<Ending>((resolve) => {
    child.once("error", () => resolve({ code: null, signal: null }))
    child.once("close", (code, signal) => resolve({ code, signal }))
  })
  const signal = (name: NodeJS.Signals) => {
    // not by child.kill: after that, Deno says the signal ended the process, whatever it really ended with
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    try {
      process.kill(child.pid, name)
    } catch (error) {
      // it has ended, and this process has not been told yet
      if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error
    }
  }
  const stop = async (name: NodeJS.Signals, patience: number) => {
    signal(name)
    const timer = setTimeout(() => signal("SIGKILL"), patience)
    try {
      return await ended
    } finally {
      clearTimeout(timer)
    }
  }
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`${name} ${why}\n${output.slice(-4_000)}`))
    const timer = setTimeout(() => {
      signal("SIGKILL")
      fail(`does not work after ${startTime / 1_000} s`)
    }, startTime)
    look = () => {
      if (!output.includes(ready)) return
      isReady = true
      clearTimeout(timer)
      resolve({ pid: child.pid, output: () => output.slice(-kept), ended, signal, stop })
    }
    ended.then(({ code, signal }) => {
      clearTimeout(timer)
      fail(`ended with ${code ?? signal} at its start`)
    })
  })
}
