// How long a client waits before it connects again.

const MAX_DELAY = 30_000; // ms
const FIRST_DELAY = 1_000; // ms: the longest time before the second attempt; doubled with each
const JITTER = 0.2; // of the time that the server asks for

/** Delays with full jitter, so that the clients of a server that restarts do not all come at once. */
export class Backoff {
  #environment;
  #attempts = 0; // that have failed in a row

  /** @param {import("./environment.js").Environment} environment */
  constructor(environment) {
    this.#environment = environment;
  }

  /** Begin with the shortest delay again. */
  reset() {
    this.#attempts = 0;
  }

  /**
   * Return the time before the next attempt, in ms.
   *
   * @param {number} [seconds] that the server asks for
   */
  next(seconds) {
    const random = this.#environment.random();
    const backoff = Math.min(MAX_DELAY, FIRST_DELAY * 2 ** Math.min(this.#attempts++, 10));
    return seconds === undefined ? backoff * random : seconds * 1000 * (1 + JITTER * random);
  }
}
