// The events that wait until the program reads them.

const MAX_WAITING = 10_000; // events: what a program that has stopped reading may hold
const KEPT = 9_000; // events after some were dropped, so that this is not done for each that comes

/**
 * Batches of events in order. Where too many wait, a summary takes the place of the oldest.
 *
 * @template Event
 */
export class EventStream {
  /** @type {Event[][]} */
  #batches = [];
  #waiting = 0; // events in the batches
  #ended = false;
  #wake = () => {};
  #summarize;

  /** @param {(events: Event[]) => Event[]} [summarize] returns what stands for events that nobody will read */
  constructor(summarize = () => []) {
    this.#summarize = summarize;
  }

  /** @param {Event[]} batch of events that came together */
  push(batch) {
    if (this.#ended || batch.length === 0) return;
    this.#batches.push(batch);
    this.#waiting += batch.length;
    if (this.#waiting > MAX_WAITING && this.#batches.length > 1) this.#drop();
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

  #drop() {
    const dropped = [];
    while (this.#waiting > KEPT && this.#batches.length > 1) dropped.push(this.#shift());
    const summary = this.#summarize(dropped.flat());
    if (summary.length === 0) return;
    this.#batches.unshift(summary);
    this.#waiting += summary.length;
  }

  #shift() {
    const batch = /** @type {Event[]} */ (this.#batches.shift());
    this.#waiting -= batch.length;
    return batch;
  }
}
