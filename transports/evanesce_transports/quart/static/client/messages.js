// The messages of a room that the program has, or has had: each is given once, and its end is told once.

import { Alarm } from "./time.js";

const MAX_KNOWN = 20_000; // ids

/** @typedef {import("./index.js").Protocol.MessageEvent} MessageEvent */

export class Messages {
  #clock;
  #expired;
  #alarm;
  /** @type {Set<string>} */
  #known = new Set(); // the ids of messages that arrived or were taken back, also after they expired; oldest first
  /** @type {Set<string>} */
  #unsent = new Set();
  #next = Infinity; // when the alarm rings
  /** @type {Map<string, number>} */
  #given = new Map(); // when messages that the program has expire, in ms since 1970 by the server's clock

  /**
   * @param {import("./environment.js").Environment} environment
   * @param {import("./time.js").ServerClock} clock
   * @param {(messageIds: string[]) => void} expired
   */
  constructor(environment, clock, expired) {
    this.#clock = clock;
    this.#expired = expired;
    this.#alarm = new Alarm(environment, () => this.sweep());
  }

  /**
   * Return whether a message arrives for the first time.
   *
   * @param {MessageEvent} message
   */
  isNew({ messageId }) {
    return this.#remember(this.#known, messageId);
  }

  /**
   * Return whether it is news that a message was taken back. Its expiry is not told any more.
   *
   * @param {string} messageId
   */
  takeBack(messageId) {
    this.#remember(this.#known, messageId);
    this.#given.delete(messageId);
    return this.#remember(this.#unsent, messageId);
  }

  /** @param {string} messageId */
  isUnsent(messageId) {
    return this.#unsent.has(messageId);
  }

  /** @param {MessageEvent} message */
  isLate({ expiresAt }) {
    return !(Date.parse(expiresAt) > this.#clock.now());
  }

  /**
   * Tell the expiry of a message, which the program now has.
   *
   * @param {MessageEvent} message
   */
  give({ messageId, expiresAt }) {
    const at = Date.parse(expiresAt);
    this.#given.set(messageId, at);
    if (at < this.#next) this.#setAlarm(at);
  }

  /** Tell what has expired, and look again when the next message does. */
  sweep() {
    const now = this.#clock.now();
    const expired = [...this.#given].filter(([, expiresAt]) => expiresAt <= now).map(([messageId]) => messageId);
    for (const messageId of expired) this.#given.delete(messageId);
    this.#setAlarm(Math.min(...this.#given.values()));
    if (expired.length > 0) this.#expired(expired);
  }

  /** Tell nothing any more. */
  end() {
    this.#given.clear();
    this.#setAlarm(Infinity);
  }

  /** @param {number} next when the next message expires; infinite where there is none */
  #setAlarm(next) {
    this.#next = next;
    if (next === Infinity) this.#alarm.clear();
    else this.#alarm.set(next - this.#clock.now());
  }

  /**
   * @param {Set<string>} ids
   * @param {string} messageId
   */
  #remember(ids, messageId) {
    if (ids.has(messageId)) return false;
    ids.add(messageId);
    if (ids.size > MAX_KNOWN) ids.delete(/** @type {string} */ (ids.values().next().value));
    return true;
  }
}
