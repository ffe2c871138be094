/** What the load's process is told to do, and what it answers with. */

/** One kind of clients. */
export interface Stream {
  /** the names of endpoints, of which each request takes any one */
  readonly endpoints: ReadonlyArray<string>
  readonly connections: number
  /** at these instants, whether or not the answers come; else each client asks again as soon as it has its answer */
  readonly perSecond?: number
  /** any status is counted, and none is an error */
  readonly takesAnyStatus?: boolean
  /** waits for as long as a 503 says */
  readonly isPatient?: boolean
}

export interface Order {
  readonly port: number
  readonly seconds: number
  readonly streams: ReadonlyArray<Stream>
  /** the processes whose CPU time is counted */
  readonly serverPid: number
  readonly databasePid: number
}

/** Latencies are in milliseconds, as clients see them. */
export interface StreamResult {
  readonly requests: number
  readonly perSecond: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly max: number
  readonly statuses: Readonly<Record<string, number>>
  /** answers 503 that do not say when to come back */
  readonly withoutRetryAfter: number
  readonly errors: number
  readonly firstError: string | undefined
}

export interface Round {
  readonly streams: ReadonlyArray<StreamResult>
  /** CPU microseconds per request, of all streams together */
  readonly serverMicros: number
  readonly databaseMicros: number
  readonly loadMicros: number
  /** the share of the time in which the load's one thread was busy */
  readonly loadBusy: number
}
