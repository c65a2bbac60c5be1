// The events that wait until the program reads them.

const MAX_WAITING = 10_000; // events: what a program that has stopped reading may hold

/**
 * Batches of events in order. Where too many wait, the oldest are dropped.
 *
 * @template Event
 */
export class EventStream {
  /** @type {Event[][]} */
  #batches = [];
  #waiting = 0; // events in the batches
  #ended = false;
  #wake = () => {};
  #dropped;

  /** @param {(events: Event[]) => void} [dropped] called with events that nobody will read */
  constructor(dropped = () => {}) {
    this.#dropped = dropped;
  }

  /** @param {Event[]} batch of events that came together */
  push(...batch) {
    if (this.#ended || batch.length === 0) return;
    this.#batches.push(batch);
    this.#waiting += batch.length;
    while (this.#waiting > MAX_WAITING && this.#batches.length > 1) this.#dropped(this.#shift());
    this.#wake();
  }

  /** End the stream after the events that wait. */
  end() {
    this.#ended = true;
    this.#wake();
  }

  /** Return the next batch, when there is one; undefined at the end. One reader at a time. */
  async take() {
    while (this.#batches.length === 0) {
      if (this.#ended) return undefined;
      await new Promise((resolve) => void (this.#wake = () => resolve(undefined)));
    }
    return this.#shift();
  }

  #shift() {
    const batch = /** @type {Event[]} */ (this.#batches.shift());
    this.#waiting -= batch.length;
    return batch;
  }
}
