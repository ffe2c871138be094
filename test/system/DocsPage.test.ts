/** The docs page in a real browser (Debian's chromium), as a developer uses it who has no network. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import process from "node:process"
import { type Browser, chromium, type Page } from "playwright-core"
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest"
import { useServer } from "../support/TestServer.ts"

const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium"
// wherever the suite is to prove the page, it must not be passed over in silence
const isRequired = process.env["CI"] !== undefined
if (isRequired && !existsSync(executablePath)) throw new Error(`${executablePath} is missing`)

const server = useServer()
let browser: Browser | undefined
/** a new one for each test */
let page: Page
const foreign: Array<string> = []
const errors: Array<string> = []

beforeAll(async () => {
  if (!existsSync(executablePath)) return
  browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
  })
})
beforeEach(async () => {
  if (browser === undefined) return
  page = await browser.newPage({ viewport: { width: 1400, height: 1000 } })
  page.setDefaultTimeout(20_000)
  page.on("request", (request) => {
    if (!request.url().startsWith(server.url) && !/^(?:data|blob):/.test(request.url())) foreign.push(request.url())
  })
  page.on("pageerror", (error) => errors.push(error.message))
  page.on("console", (message) => {
    if (/content security policy/i.test(message.text())) errors.push(message.text())
  })
})
afterAll(() => browser?.close())

/** Opens the form of an operation, sends it as it is filled, and gives the answer. */
const tryIt = async (operation: string, before: () => Promise<void> = () => Promise.resolve()) => {
  const dialog = page.getByRole("dialog")
  const open = page.getByRole("button", { name: `Test Request (${operation})` })
  // the page shows its buttons a moment before they work: like a person, press again
  for (let attempt = 1; !(await dialog.isVisible()); attempt++) {
    await open.click()
    await dialog.waitFor({ timeout: 5_000 }).catch((error) => attempt < 4 ? undefined : Promise.reject(error))
  }
  await before()
  const path = operation.split(" ")[1]!
  const [response] = await Promise.all([
    page.waitForResponse((response) => new URL(response.url()).pathname === path),
    dialog.getByRole("button", { name: /^Send/ }).first().click()
  ])
  return { status: response.status(), json: await response.json() }
}

/** Keeps what is seen, for who asks to look at it. */
const screenshot = async (name: string) => {
  const directory = process.env["DOCS_SCREENSHOTS"]
  if (directory !== undefined) await page.screenshot({ path: join(directory, `${name}.png`) })
}

it.skipIf(!existsSync(executablePath))(
  "registers, takes the token and creates a task by its forms, without asking another host",
  { timeout: 90_000 },
  async () => {
    await page.goto(`${server.url}/docs`)
    const registered = await tryIt("post /api/v1/auth/register")
    expect(registered.status).toBe(201)
    expect(registered.json.user.email).toBe("ada@example.com")
    await page.getByRole("button", { name: "Close Client" }).click()

    await page.getByRole("button", { name: "Open Group Tasks", exact: true }).first().click()
    const created = await tryIt("post /api/v1/tasks", async () => {
      await page.getByRole("dialog").getByPlaceholder("Token").fill(registered.json.access_token)
    })
    await page.getByText("201").first().waitFor()
    await screenshot("bearer")
    expect(created.status).toBe(201)
    expect(created.json).toMatchObject({ title: "Water the plants", priority: "high", tags: ["home", "garden"] })
    expect(await server.sql("select title from tasks")).toEqual([{ title: "Water the plants" }])
    expect({ foreign, errors }).toEqual({ foreign: [], errors: [] })
  }
)

it.skipIf(!existsSync(executablePath))(
  "authorizes by the password flow of OAuth 2, and uses the token that it got",
  { timeout: 90_000 },
  async () => {
    const user = await server.register({ email: "grace@example.com" })
    await page.goto(`${server.url}/docs`)
    const authentication = page.locator(".scalar-reference-intro-auth")
    await authentication.getByRole("button", { name: "Selected Auth Type" }).click()
    await page.getByRole("option", { name: "oauth2" }).click()
    await page.keyboard.press("Escape")
    await authentication.getByText("oauth2", { exact: true }).click()
    await authentication.locator(".cm-content", { hasText: "janedoe" }).fill(user.email)
    await authentication.getByPlaceholder("********").fill(user.password)
    await screenshot("oauth2")
    const [granted] = await Promise.all([
      page.waitForResponse((response) => response.url() === `${server.url}/api/v1/auth/token`),
      authentication.getByRole("button", { name: "Authorize" }).click()
    ])
    expect(granted.status()).toBe(200)
    await authentication.getByText("Access Token").waitFor()
    await screenshot("oauth2-authorized")

    await page.getByRole("button", { name: "Open Group Tasks", exact: true }).first().click()
    const created = await tryIt("post /api/v1/tasks")
    await page.getByText("201").first().waitFor()
    await screenshot("oauth2-used")
    expect(created.status).toBe(201)
    expect(created.json.user_id).toBe(user.id)
    expect({ foreign, errors }).toEqual({ foreign: [], errors: [] })
  }
)
