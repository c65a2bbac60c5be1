// The messages of a room that the server has not acknowledged yet.

import { NotSent, OutcomeUnknown, Refused } from "./errors.js";
import { Alarm, Stopwatch } from "./time.js";

const FIRST_DELAY = 500; // ms before a refused message is sent again, where the server gives no time; doubled each time
const MAX_DELAY = 10_000; // ms
const MAX_MESSAGES = 1_000; // that wait

/** @typedef {import("./index.js").Protocol.Sent} Sent */

/**
 * A message that waits. `since` was started at the first attempt, or when it was added where there was none.
 *
 * @typedef {object} Outgoing
 * @property {string} messageId
 * @property {string} content
 * @property {string | Promise<string>} [sealed] its content as it is sent, each time
 * @property {number} [ttl] seconds
 * @property {string} [replyTo]
 * @property {Stopwatch} since
 * @property {boolean} written
 * @property {(sent: Sent) => void} resolve
 * @property {(error: Error) => void} reject
 * @property {() => void} settled ends the wait for its reply
 */

/**
 * What an outbox calls.
 *
 * @typedef {object} OutboxListener
 * @property {(message: Outgoing, written: () => void) => Promise<Sent>} transmit sends the command `send`
 * @property {() => void} notMember the server does not count this connection as a member of the room any more
 * @property {() => number} messageTtl returns for how long messages live, in seconds
 */

export class Outbox {
  #environment;
  #listener;
  /** @type {Outgoing[]} */
  #messages = []; // in order
  #isOpen = false;
  #isRunning = false;
  #deadline;
  #pause;
  #continue = () => {};

  /**
   * @param {import("./environment.js").Environment} environment
   * @param {OutboxListener} listener
   */
  constructor(environment, listener) {
    this.#environment = environment;
    this.#listener = listener;
    this.#deadline = new Alarm(environment, () => this.sweep());
    this.#pause = new Alarm(environment, () => this.#continue());
  }

  /**
   * Send a message, now or when the room is joined, and return the server's acknowledgement. It is sent again with the same id
   * until its life is over: the server recognizes the id for that long. Throws `Refused`, `NotSent`, `OutcomeUnknown` and
   * what `transmit` throws.
   *
   * @param {string} content
   * @param {import("./index.js").SendOptions} options
   * @returns {Promise<Sent>}
   */
  add(content, { messageId = this.#environment.uuid(), ttl, replyTo }) {
    if (this.#messages.length >= MAX_MESSAGES) return Promise.reject(new NotSent("Too many messages wait."));
    return new Promise((resolve, reject) => {
      const since = new Stopwatch(this.#environment);
      const message = { messageId, content, ttl, replyTo, since, written: false, resolve, reject, settled() {} };
      this.#messages.push(/** @type {Outgoing} */ (message));
      this.sweep();
      this.#run();
    });
  }

  /** Stop sending: the room is not joined. */
  pause() {
    this.#isOpen = false;
  }

  /** Start sending: the room is joined. */
  resume() {
    this.#isOpen = true;
    this.sweep();
    this.#run();
  }

  /** Give up all messages: `NotSent` for those that were never written, else `OutcomeUnknown`. */
  clear() {
    for (const message of [...this.#messages]) this.#giveUp(message);
    this.#deadline.clear();
    this.#pause.clear(); // whoever waits for it waits for the message that is settled, too
  }

  /** Give up the messages whose time is over, and look again when the next one's is. */
  sweep() {
    let next = Infinity;
    for (const message of [...this.#messages]) {
      const left = this.#timeLeft(message);
      if (left <= 0) this.#giveUp(message);
      else next = Math.min(next, left);
    }
    if (next === Infinity) this.#deadline.clear();
    else this.#deadline.set(next);
  }

  /** Send the messages one after the other, so that they stay in order. */
  async #run() {
    if (this.#isRunning) return;
    this.#isRunning = true;
    let attempt = 0;
    while (this.#isOpen && this.#messages.length > 0) {
      const message = this.#messages[0];
      const delay = await Promise.race([this.#attempt(message, attempt), settled(message)]);
      attempt = this.#messages[0] === message ? attempt + 1 : 0;
      if (delay > 0) await Promise.race([this.#sleep(delay), settled(message)]);
    }
    this.#isRunning = false;
  }

  /**
   * Send a message once. Return the time in ms after which to send it again; 0 where it was settled, or waits until the room
   * is joined.
   *
   * @param {Outgoing} message
   * @param {number} attempt how often it was refused before
   */
  async #attempt(message, attempt) {
    try {
      const sent = await this.#listener.transmit(message, () => {
        if (!message.written) message.since.restart();
        message.written = true;
        this.sweep();
      });
      this.#remove(message);
      message.resolve(sent);
    } catch (error) {
      if (!this.#messages.includes(message)) return 0;
      if (error instanceof NotSent || error instanceof OutcomeUnknown) this.pause();
      else if (error instanceof Refused && error.code === "not_member") {
        this.pause();
        this.#listener.notMember();
      } else if (error instanceof Refused && error.retry) return this.#delay(error, attempt);
      else {
        this.#remove(message);
        message.reject(/** @type {Error} */ (error));
      }
    }
    return 0;
  }

  /**
   * @param {Refused} error
   * @param {number} attempt
   */
  #delay({ retryAfter }, attempt) {
    if (retryAfter !== undefined) return retryAfter * 1000;
    return Math.min(MAX_DELAY, FIRST_DELAY * 2 ** attempt) * (0.5 + this.#environment.random() / 2);
  }

  /** @param {number} ms */
  #sleep(ms) {
    this.#pause.set(ms);
    return new Promise((/** @type {(value: number) => void} */ resolve) => void (this.#continue = () => resolve(0)));
  }

  /** @param {Outgoing} message */
  #timeLeft({ ttl, since }) {
    return (ttl ?? this.#listener.messageTtl()) * 1000 - since.elapsed();
  }

  /** @param {Outgoing} message */
  #giveUp(message) {
    this.#remove(message);
    message.reject(message.written ? new OutcomeUnknown() : new NotSent());
  }

  /** @param {Outgoing} message */
  #remove(message) {
    this.#messages = this.#messages.filter((one) => one !== message);
    message.settled();
  }
}

/**
 * Return 0 when a message is settled otherwise than by its reply.
 *
 * @param {Outgoing} message
 */
function settled(message) {
  return new Promise((/** @type {(value: number) => void} */ resolve) => void (message.settled = () => resolve(0)));
}
