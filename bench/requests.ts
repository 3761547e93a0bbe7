import { Agent, request } from 'node:http'

/**
 * Idle connections are closed after this long, milliseconds: well before the server closes them, which workerd does after
 * 15 s. A request that is sent at that very moment would be answered with ECONNRESET.
 */
const IDLE_MS = 2_000

/** A server that has not answered after this long is stuck, however busy the machine is. Milliseconds. */
const ANSWER_TIMEOUT_MS = 120_000

/** Connections stay open between requests, as a browser's do: a new one for each would be all that is measured. */
const agent = new Agent({ keepAlive: true, maxSockets: 64, timeout: IDLE_MS })

export type HttpResponse = { status: number; text: string; ms: number }

/** One request, from its first byte out to its last byte in. `json` makes it a POST. */
export function sendRequest(url: string, json?: unknown): Promise<HttpResponse> {
  const body = json === undefined ? undefined : JSON.stringify(json)
  const began = performance.now()
  return new Promise((done, fail) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' }
    const sent = request(url, { agent, method: body === undefined ? 'GET' : 'POST', headers }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => done({ status: response.statusCode ?? 0, text, ms: performance.now() - began }))
      response.on('error', fail)
    })
    sent.setTimeout(ANSWER_TIMEOUT_MS, () => sent.destroy(new Error(`no answer: ${url}`)))
    sent.on('error', fail)
    sent.end(body)
  })
}

/** Closes the open connections. */
export const closeConnections = (): void => agent.destroy()

/**
 * The times of `count` requests, `atOnce` of them under way at any moment.
 * @throws when one is not answered with 200
 */
export async function timeRequests(count: number, atOnce: number, urlOf: (n: number) => string): Promise<number[]> {
  const measured: number[] = []
  let next = 0
  const work = async (): Promise<void> => {
    while (next < count) {
      const url = urlOf(next++)
      const { status, text, ms } = await sendRequest(url)
      if (status !== 200) throw new Error(`${status} of ${url}: ${text.slice(0, 200)}`)
      measured.push(ms)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return measured
}
