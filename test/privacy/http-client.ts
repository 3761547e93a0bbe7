import { Agent, type IncomingMessage, request } from 'node:http'

/** The timeout of one request. */
const RESPONSE_TIMEOUT_MS = 30_000
/** How much of a stream that does not end is read, in milliseconds from its beginning. */
const STREAM_MS = 150

export type SentRequest = { method: string; path: string; headers: Record<string, string>; body: string | null }

/** `text`: the whole of it, status and headers and body, as it came. */
export type ReceivedResponse = { status: number; headers: IncomingMessage['headers']; body: string; text: string }

/** All that a request sends, as text. */
export const sentText = ({ method, path, headers, body }: SentRequest): string =>
  `${method} ${path}\n${Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}`)
    .join('\n')}\n\n${body ?? ''}`

/**
 * Sends requests to one server over a few shared connections.
 * @throws Error when there is no whole answer in time
 */
export function createHttpClient(url: string, connections: number) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const { hostname, port } = new URL(url)
  const ask = (asked: SentRequest, stream = false): Promise<ReceivedResponse> =>
    new Promise((done, fail) => {
      const { method, path, body } = asked
      const signal = AbortSignal.timeout(RESPONSE_TIMEOUT_MS)
      const headers =
        body === null ? asked.headers : { ...asked.headers, 'content-length': `${Buffer.byteLength(body)}` }
      // A stream is cut off, and would take its connection with it.
      const options = { hostname, port, method, path, headers, signal, ...(stream ? {} : { agent }) }
      const sent = request(options, (response) => {
        const parts: Buffer[] = []
        const end = () => {
          clearTimeout(timer)
          const whole = Buffer.concat(parts).toString('utf8')
          const head = `${response.statusCode} ${response.statusMessage}\n${response.rawHeaders.join('\n')}`
          const text = `${head}\n\n${whole}`
          done({ status: response.statusCode ?? 0, headers: response.headers, body: whole, text })
          if (stream) sent.destroy()
        }
        const timer = stream ? setTimeout(end, STREAM_MS) : undefined
        response.on('data', (part: Buffer) => parts.push(part))
        response.once('end', end)
        response.once('error', fail)
      })
      sent.once('error', (cause) => fail(new Error(`${method} ${path} had no answer: ${cause.message}`, { cause })))
      sent.end(body)
    })
  return { ask, close: () => agent.destroy() }
}
export type HttpClient = ReturnType<typeof createHttpClient>
