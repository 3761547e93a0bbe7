import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'

/** The timeout of one request. */
const RESPONSE_TIMEOUT_MS = 30_000
/** How long an endless stream is read, in milliseconds. */
const STREAM_MS = 150

export type SentRequest = { method: string; path: string; headers: Record<string, string>; body: string | null }

/** `text`: status, headers and body as received. */
export type ReceivedResponse = { status: number; headers: IncomingMessage['headers']; body: string; text: string }

/** A whole request as text. */
export const sentText = ({ method, path, headers, body }: SentRequest): string =>
  `${method} ${path}\n${Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}`)
    .join('\n')}\n\n${body ?? ''}`

/**
 * Sends requests to one server over a few shared connections.
 * @throws Error without a complete response in time
 */
export function createHttpClient(url: string, connections: number) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const { hostname, port } = new URL(url)
  const ask = (request: SentRequest, stream = false): Promise<ReceivedResponse> =>
    new Promise((done, fail) => {
      const { method, path, body } = request
      const signal = AbortSignal.timeout(RESPONSE_TIMEOUT_MS)
      const headers =
        body === null ? request.headers : { ...request.headers, 'content-length': `${Buffer.byteLength(body)}` }
      // Aborting a stream closes its connection, so it uses none of the shared ones.
      const options = { hostname, port, method, path, headers, signal, ...(stream ? {} : { agent }) }
      const sent = httpRequest(options, (response) => {
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
