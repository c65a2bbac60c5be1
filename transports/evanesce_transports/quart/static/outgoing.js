// The user's own messages that the server has not acknowledged yet.

import { describeError, Disconnected, Refused } from "./errors.js";

const RETRY_DELAY = 1_000; // ms, where the server gives no time

/**
 * A message without an acknowledgement. `sentAt` is when it was first sent, in ms of the monotonic clock.
 *
 * @typedef {{ messageId: string, content: string, sentAt: number | null }} OutgoingMessage
 */

/**
 * What the queue calls.
 *
 * @typedef {object} OutgoingListener
 * @property {(messageId: string, content: string) => Promise<unknown>} send sends the command `send`
 * @property {() => void} notMember the server does not count this connection as a member of the room any more
 * @property {(messageId: string, content: string, reason: string) => void} failed the message is not sent again
 */

export class OutgoingMessages {
  #listener;
  /** @type {OutgoingMessage[]} */
  #messages = []; // in order
  #open = false;
  #sending = false;
  #messageTtl = 60_000; // ms

  /** @param {OutgoingListener} listener */
  constructor(listener) {
    this.#listener = listener;
  }

  /**
   * Add a message to the queue, and return its id.
   *
   * @param {string} content
   */
  add(content) {
    const messageId = uuid();
    this.#messages.push({ messageId, content, sentAt: null });
    return messageId;
  }

  /** Remove all messages. */
  clear() {
    this.#messages = [];
  }

  /**
   * Set for how long messages live. The server recognizes the id of a message that is sent again for that long.
   *
   * @param {number} seconds
   */
  setMessageTtl(seconds) {
    this.#messageTtl = seconds * 1000;
  }

  /** Stop sending: the room is not joined. */
  pause() {
    this.#open = false;
  }

  /** Start sending: the room is joined. */
  resume() {
    this.#open = true;
    this.flush();
  }

  /**
   * Send the messages one after the other, so that they stay in order. A message whose reply was lost with the connection is
   * sent again under the same id, as long as the server recognizes the id: after that the message might be stored twice.
   */
  async flush() {
    if (this.#sending) return;
    this.#sending = true;
    while (this.#open && this.#messages.length > 0) {
      const message = this.#messages[0];
      const delay = await this.#send(message);
      if (delay === null) break;
      if (delay > 0) await new Promise((resolve) => void setTimeout(resolve, delay));
      else this.#messages.shift();
    }
    this.#sending = false;
  }

  /**
   * Send a message. Return 0 when nothing more is to be done for it, the time in ms after which to send it again, or null
   * when it has to wait until the room is joined.
   *
   * @param {OutgoingMessage} message
   */
  async #send(message) {
    message.sentAt ??= performance.now();
    try {
      if (performance.now() - message.sentAt >= this.#messageTtl) throw new Disconnected();
      await this.#listener.send(message.messageId, message.content);
    } catch (error) {
      if (performance.now() - message.sentAt < this.#messageTtl) {
        if (error instanceof Disconnected) return null;
        if (error instanceof Refused && error.code === "not_member") {
          this.#listener.notMember();
          return null;
        }
        const delay = error instanceof Refused && error.retry ? retryDelay(error) : 0;
        if (delay > 0) return delay;
      }
      const reason = error instanceof Disconnected ? "This message may not have been sent." : describeError(error);
      this.#listener.failed(message.messageId, message.content, reason);
    }
    return 0;
  }
}

/**
 * Return the time after which to repeat a request that was refused, in ms.
 *
 * @param {Refused} error
 */
export function retryDelay(error) {
  return error.retryAfter === undefined ? RETRY_DELAY : error.retryAfter * 1000;
}

/** Return a random UUID. Browsers have `crypto.randomUUID` only on pages from HTTPS or from the same machine. */
function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
