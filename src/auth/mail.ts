/** A mail of plain text to one person. */
export type Mail = { to: string; subject: string; text: string }

/** Sends a mail. @throws Error, without the address and the text, if it was not accepted */
export type Mailer = (mail: Mail) => Promise<void>

const TIMEOUT_MS = 10_000

/** Prints mails to the console, for development. */
export const consoleMailer =
  (print: (line: string) => void): Mailer =>
  async ({ to, subject, text }) =>
    print(`mail to ${to}: ${subject}\n${text}`)

/** Sends mails with an HTTP API that accepts `from`, `to`, `subject` and `text` as JSON, such as Resend's. */
export const httpMailer =
  (api: { url: string; key: string | undefined; from: string }, send: typeof fetch): Mailer =>
  async ({ to, subject, text }) => {
    const response = await send(api.url, {
      method: 'POST',
      body: JSON.stringify({ from: api.from, to, subject, text }),
      headers: {
        'content-type': 'application/json',
        ...(api.key === undefined ? {} : { authorization: `Bearer ${api.key}` }),
      },
      signal: AbortSignal.timeout(TIMEOUT_MS),
      redirect: 'manual',
    })
    await response.body?.cancel()
    if (!response.ok) throw new Error(`the mail API responded with status ${response.status}`)
  }

export const resetMail = (to: string, link: string): Mail => ({
  to,
  subject: 'Set a new password for Kerb',
  text: `Somebody asked to set a new password for the account with this address.

To set one, open this link within an hour. It works once:
${link}

If this was not you, ignore this mail: your password has not changed.
`,
})

export const confirmMail = (to: string, link: string): Mail => ({
  to,
  subject: 'Confirm your email for Kerb',
  text: `Somebody signed up for Kerb with this address.

If this was you, confirm your email within a day:
${link}

If this was not you, ignore this mail: without your confirmation, nobody can sign in with this address.
`,
})

export const accountExistsMail = (to: string, link: string): Mail => ({
  to,
  subject: 'You already have a Kerb account',
  text: `Somebody tried to sign up for Kerb with this address, which has an account already.

To sign in, open ${link}

If this was not you, ignore this mail: nothing has changed.
`,
})
