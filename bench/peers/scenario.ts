/** The requests whose answers are compared. */

export interface Answer {
  readonly request: string
  readonly status: number
  readonly headers: Headers
  // deno-lint-ignore no-explicit-any -- an answer may be anything
  readonly body: any
}

interface Options {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: unknown
}

const password = "a long walk along the quiet river"
const unknownId = "01a1fe8a-cefc-7134-890e-e56b1d094fc9"

/** The target of `Link: <target>; rel="next"`. */
export const nextPage = (headers: Headers) => /^<([^>]+)>; rel="next"$/.exec(headers.get("link") ?? "")?.[1]

/**
 * Plays the life of a new user of the server at `origin`, one request after another. Where `strict`, it also sends what
 * the contract refuses or normalises.
 */
export const play = async (origin: string, email: string, strict: boolean) => {
  const answers: Array<Answer> = []
  let authorization: string | undefined
  const send = async (path: string, { body, headers = {}, method = "GET" }: Options = {}): Promise<Answer> => {
    const response = await fetch(`${origin}${path}`, {
      method,
      headers: {
        ...(authorization !== undefined && { authorization }),
        ...(body !== undefined && { "content-type": "application/json" }),
        ...headers
      },
      ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) })
    })
    const text = await response.text()
    const answer = {
      request: `${method} ${path} ${JSON.stringify({ headers, body })}`,
      status: response.status,
      headers: response.headers,
      body: text === "" ? null : JSON.parse(text)
    }
    answers.push(answer)
    return answer
  }
  const post = (path: string, body: unknown) => send(path, { method: "POST", body })

  await send("/health/ready")

  await post("/api/v1/auth/register", { email, password, name: "Ada" })
  await post("/api/v1/auth/register", { email, password })
  await post("/api/v1/auth/login", { email, password: "another" })
  await post("/api/v1/auth/login", { email: `nobody.${email}`, password })
  await post("/api/v1/auth/login", { username_or_email: email.toUpperCase(), password })
  if (strict) {
    await post("/api/v1/auth/register", { email: "no address", password: "short", colour: "blue" })
    await post("/api/v1/auth/register", {})
    await post("/api/v1/auth/register", { email, password, confirm_password: "another" })
    await post("/api/v1/auth/register", { email, password, username: "a b" })
    await post("/api/v1/auth/register", { email, password, time_zone: "Mars/Olympus" })
    await post("/api/v1/auth/login", { email })
    await post("/api/v1/auth/login", "{")
  }
  const { body: { access_token: token } } = await post("/api/v1/auth/login", { email, password })

  await send("/api/v1/tasks")
  authorization = "Bearer nonsense"
  await send("/api/v1/tasks")
  authorization = `Bearer ${token.slice(0, -4)}AAAA`
  await send("/api/v1/tasks")
  authorization = `Bearer ${token}`

  const create = (body: unknown) => post("/api/v1/tasks", body)
  await create({ title: "Water the plants", description: "The ferns", priority: "high", tags: ["home", "garden"] })
  const { body: { id: first } } = await create({ title: "Repot the lemon tree" })
  const { body: { id: second } } = await create({ title: "Ünïcödé 🌱", description: null, tags: [] })
  const { body: { id: third } } = await create({ title: "x".repeat(200), priority: "urgent" })
  if (strict) {
    await create({ title: "  white space  ", tags: ["  around  "] })
    await create({ title: "Cafe\u0301", description: "e\u0301" })
    await create({ title: "" })
    await create({ title: "   " })
    await create({ title: "x".repeat(201) })
    await create({ title: 5, description: 5, priority: "huge", tags: "home", completed: true })
    await create({ title: "NUL \u0000" })
    await create({ title: "x", description: "x".repeat(1_001), tags: Array.from({ length: 21 }, (_, n) => `tag ${n}`) })
    await create({ title: "x", tags: ["a", "A"] })
    await create({ title: "x", tags: ["a", ""] })
    await create({})
    await create([])
    await create("{")
  }

  const get = (path: string, headers: Record<string, string> = {}) => send(`/api/v1/tasks/${path}`, { headers })
  await get(first)
  await get(first, { "if-none-match": `"2"` })
  await get(first, { "if-none-match": `"1"` })
  await get(unknownId)
  await send("/api/v1/nothing")
  if (strict) {
    await get(first, { "if-none-match": `W/"7", W/"2"` })
    await get(first, { "if-none-match": "2" })
    await get("7")
    await get(`${first}?colour=blue`)
  }

  const patch = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    send(`/api/v1/tasks/${path}`, { method: "PATCH", headers, ...(body !== undefined && { body }) })
  await patch(first, { title: "Water the ferns", priority: "low" })
  const { headers: changed } = await patch(first, { description: null, completed: true, tags: ["x"] })
  await patch(first, { title: "x" }, { "if-match": `"1"` })
  await patch(first, { title: "Sell the lemon tree" }, { "if-match": changed.get("etag") ?? "" })
  await patch(unknownId, { title: "x" })
  await patch(unknownId, { title: "x" }, { "if-match": `"1"` })
  if (strict) {
    await patch(first, { completed: null, priority: null, tags: null })
    await patch(first, {}, { "if-match": "*" })
    await patch(first, { title: "x" }, { "if-match": "nonsense" })
    await patch(first, { title: null, completed: "yes", owner: 1 })
  }

  await patch(`${second}/complete`, undefined)
  await patch(`${second}/complete`, { completed: false })
  await patch(`${third}/complete`, {})
  await patch(`${third}/complete`, {}, { "if-match": `"1"` })
  if (strict) await patch(`${third}/complete`, { completed: 1 })

  const pages = async (query: string) => {
    for (let path: string | undefined = `/api/v1/tasks?${query}`; path !== undefined;) {
      path = nextPage((await send(path)).headers)
    }
  }
  await send("/api/v1/tasks")
  await pages("limit=3")
  await pages("sort=created_at&limit=1")
  await pages("completed=false&sort=-created_at&limit=1")
  await pages("completed=true")
  if (strict) {
    for (const query of ["limit=0", "limit=101", "limit=x", "completed=1", "sort=title", "colour=blue", "cursor=x"]) {
      await send(`/api/v1/tasks?${query}`)
    }
    const link = nextPage((await send("/api/v1/tasks?limit=1")).headers)
    await send(`${link}&completed=true`)
  }
  return { answers, authorization }
}
