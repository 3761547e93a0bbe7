/** A mail of plain text to one person. */
export type Mail = { to: string; subject: string; text: string }

/** Sends a mail. @throws Error, without address and text, when it was not taken */
export type Mailer = (mail: Mail) => Promise<void>

/** A mail server that does not answer has failed. Milliseconds. */
const TIMEOUT_MS = 10_000

/** Prints mails, for development: whoever reads the console can open what is mailed. */
export const consoleMailer =
  (print: (line: string) => void): Mailer =>
  async ({ to, subject, text }) =>
    print(`mail to ${to}: ${subject}\n${text}`)

/** Sends mails by an HTTP API that takes `from`, `to`, `subject` and `text` as JSON, as Resend and others do. */
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
    if (!response.ok) throw new Error(`the mail API answers ${response.status}`)
  }

export const resetMail = (to: string, link: string): Mail => ({
  to,
  subject: 'A new password for Kerb',
  text: `Somebody asked for a new password for this address.

To set one, open this within an hour; it works once:
${link}

If it was not you, nothing has to be done: your password stays as it is.
`,
})

export const confirmMail = (to: string, link: string): Mail => ({
  to,
  subject: 'Your email for Kerb',
  text: `Somebody signed up to Kerb with this address.

If it was you, confirm it here within a day:
${link}

If it was not you, do not open it: without it nobody can sign in with this address.
`,
})

export const accountExistsMail = (to: string, link: string): Mail => ({
  to,
  subject: 'You have an account with Kerb already',
  text: `Somebody tried to sign up with this address, which has an account already.

To sign in: ${link}

If it was not you, nothing has to be done.
`,
})
