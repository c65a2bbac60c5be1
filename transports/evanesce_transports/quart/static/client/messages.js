// The messages of a room that the program has, or has had: each is given once, and its end is told once.

import { Alarm } from "./time.js";

const GENERATION = 10_000; // ids: so many are remembered at least, and twice as many at most

/** @typedef {import("./index.js").Protocol.MessageEvent} MessageEvent */

export class Messages {
  #clock;
  #expired;
  #alarm;
  #known = new RecentIds(); // of messages that arrived or were taken back, also after they expired
  #unsent = new RecentIds();
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
    return this.#known.add(messageId);
  }

  /**
   * Return whether it is news that a message was taken back. Its expiry is not told any more.
   *
   * @param {string} messageId
   */
  takeBack(messageId) {
    this.#known.add(messageId);
    this.#given.delete(messageId);
    return this.#unsent.add(messageId);
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
    const expired = [];
    let next = Infinity;
    for (const [messageId, expiresAt] of this.#given) {
      if (expiresAt <= now) expired.push(messageId);
      else next = Math.min(next, expiresAt);
    }
    for (const messageId of expired) this.#given.delete(messageId);
    this.#setAlarm(next);
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
}

/** The newest ids, in two generations: to find the oldest of a set takes the longer the more were removed from it. */
class RecentIds {
  /** @type {Set<string>} */
  #newer = new Set();
  /** @type {Set<string>} */
  #older = new Set();

  /** @param {string} id */
  has(id) {
    return this.#newer.has(id) || this.#older.has(id);
  }

  /**
   * Remember an id. Return whether it is new.
   *
   * @param {string} id
   */
  add(id) {
    if (this.has(id)) return false;
    if (this.#newer.size >= GENERATION) {
      this.#older = this.#newer;
      this.#newer = new Set();
    }
    this.#newer.add(id);
    return true;
  }
}
