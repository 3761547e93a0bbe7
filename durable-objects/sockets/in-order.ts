import type { ClientMessage } from '../../src/protocol/messages.ts'

/** Messages of one connection that may wait while an earlier one is prepared. */
const MAX_QUEUED_MESSAGES = 64

/** `queuedMessages` is null while no message is being prepared. */
type MessageQueue = { queuedMessages: ClientMessage[] | null }

type MessageHandler<P> = {
  /** Reads what a message needs before it can be handled. @returns undefined if everything is in memory */
  prepare(message: ClientMessage): Promise<P> | undefined
  handle(message: ClientMessage, prepared: P | undefined): void
  refuse(message: ClientMessage): void
}

/**
 * Handles a message of a connection, at once or when what it needs was read. Messages that come meanwhile are handled
 * after it, in their order.
 * @returns a promise where something must be read first
 */
export function handleInOrder<P>(
  queue: MessageQueue,
  message: ClientMessage,
  handler: MessageHandler<P>,
): Promise<void> | undefined {
  if (queue.queuedMessages === null) return handleAll(queue, [message], handler)
  if (queue.queuedMessages.length < MAX_QUEUED_MESSAGES) queue.queuedMessages.push(message)
  else handler.refuse(message)
  return undefined
}

function handleAll<P>(
  queue: MessageQueue,
  messages: ClientMessage[],
  handler: MessageHandler<P>,
): Promise<void> | undefined {
  queue.queuedMessages = null
  for (let next = messages.shift(); next !== undefined; next = messages.shift()) {
    const message = next
    const preparing = handler.prepare(message)
    if (preparing === undefined) handler.handle(message, undefined)
    else {
      queue.queuedMessages = messages
      return preparing.then((prepared) => {
        handler.handle(message, prepared)
        return handleAll(queue, messages, handler)
      })
    }
  }
  return undefined
}
