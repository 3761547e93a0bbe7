import { DurableObject } from 'cloudflare:workers'
import { readSettings, type Settings } from '../src/config.ts'
import { errorText, log } from '../src/log.ts'
import type { ObjectContext } from './object-context.ts'
import type { SocketOptions } from './sockets/connection.ts'
import type { Hub } from './sockets/hub.ts'

/** The part of a hub that the events of its object reach, whatever it subscribes connections to. */
type SocketHub = Pick<Hub<unknown>, 'countSockets' | 'accept' | 'remove' | 'onMessage'>

/** Retry-After of a client that has too many sockets, seconds. */
const SOCKETS_RETRY_AFTER_S = 10

/**
 * An object that holds client sockets with the hibernation API (D5). It has one clock, `now`, and one timer, the alarm,
 * which is set to the earliest moment at which anything is due. Both can be overridden, to replay a recording or to run
 * faster.
 */
export abstract class RealtimeObject extends DurableObject<Env> {
  protected readonly settings: Settings
  protected readonly context: ObjectContext
  /** Background work: connects, writes to Postgres, calls to other objects. */
  protected readonly work = new Set<Promise<unknown>>()
  protected abstract readonly hub: SocketHub
  /** The next call of `alarm`, by the object's clock. */
  #alarmAt = Number.POSITIVE_INFINITY
  /** The same by the platform's clock. */
  #platformAlarmAt = 0
  /** `reading`: an alarm that was set before this object started may still be ahead. */
  #storedAlarm: 'unknown' | 'reading' | 'known' = 'unknown'

  /** @param logFields say in each line of the log which object wrote it */
  constructor(ctx: DurableObjectState, env: Env, logFields: Record<string, string>) {
    super(ctx, env)
    this.settings = readSettings(env)
    this.context = {
      settings: this.settings,
      storage: ctx.storage,
      schedule: () => this.scheduleAlarm(),
      now: () => this.now(),
      track: (work) => this.#track(work),
      log: (event, fields) => log(event, { ...logFields, ...fields }),
    }
  }

  /** When `tick` is due, unix milliseconds; infinite when nothing is. */
  protected abstract get dueAt(): number

  /** Does everything that is due. */
  protected abstract tick(): void

  /** Unix milliseconds. */
  protected now(): number {
    return Date.now()
  }

  /** Has `alarm` called at `at` (unix milliseconds) instead of when it was to be called before. */
  protected wakeAt(at: number): void {
    // An alarm for the very time of the alarm that is running is never called.
    this.#platformAlarmAt = Math.max(at, Date.now() + 1)
    if (this.#storedAlarm === 'known') void this.ctx.storage.setAlarm(this.#platformAlarmAt)
    else if (this.#storedAlarm === 'unknown') {
      this.#storedAlarm = 'reading'
      this.context.track(this.#replaceLaterAlarm())
    }
  }

  /** Each alarm that is set writes a row: an earlier one that was set before the object slept stays. */
  async #replaceLaterAlarm(): Promise<void> {
    const stored = await this.ctx.storage.getAlarm()
    if (this.#storedAlarm === 'known') return
    this.#storedAlarm = 'known'
    const isAhead = stored !== null && stored > Date.now() && stored <= this.#platformAlarmAt
    if (!isAhead) await this.ctx.storage.setAlarm(this.#platformAlarmAt)
  }

  /** Sets the alarm, unless it comes early enough. */
  protected scheduleAlarm(): void {
    const due = this.dueAt
    if (due >= this.#alarmAt) return
    this.#alarmAt = due
    this.wakeAt(Math.max(due, this.now()))
  }

  /** Does everything that is due, and sets the alarm whether or not one was set before. */
  protected runDue(): void {
    this.#storedAlarm = 'known'
    this.#alarmAt = Number.POSITIVE_INFINITY
    this.tick()
    this.scheduleAlarm()
  }

  protected socketOptions(request: Request): SocketOptions {
    return {
      client: request.headers.get('kerb-client') ?? '',
      passive: new URL(request.url).searchParams.get('passive') === 'true',
      authorizedUntil: Number.POSITIVE_INFINITY,
    }
  }

  /** Accepts a WebSocket, or answers 426, 401 or 429. */
  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') return new Response(null, { status: 426 })
    const options = this.socketOptions(request)
    if (!(options.authorizedUntil > this.now())) return new Response(null, { status: 401 })
    if (options.client !== '' && this.hub.countSockets(options.client) >= this.settings.MAX_SOCKETS_PER_CLIENT)
      return new Response(null, { status: 429, headers: { 'retry-after': String(SOCKETS_RETRY_AFTER_S) } })
    const [client, server] = Object.values(new WebSocketPair()) as [WebSocket, WebSocket]
    this.hub.accept(server, options)
    this.scheduleAlarm()
    return new Response(null, { status: 101, webSocket: client })
  }

  override async webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): Promise<void> {
    await this.hub.onMessage(socket, data)
    this.scheduleAlarm()
  }

  override webSocketClose(socket: WebSocket): void {
    this.hub.remove(socket)
    this.scheduleAlarm()
  }

  override webSocketError(socket: WebSocket): void {
    this.webSocketClose(socket)
  }

  override alarm(): void {
    this.runDue()
  }

  #track(work: Promise<unknown>): void {
    const tracked: Promise<unknown> = work
      .catch((error: unknown) => this.context.log('work_failed', { detail: errorText(error) }))
      .finally(() => {
        this.work.delete(tracked)
        this.scheduleAlarm()
      })
    this.work.add(tracked)
  }
}
