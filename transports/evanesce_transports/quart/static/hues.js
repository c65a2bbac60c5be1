// The hues of the people in a room: those who are seen together have different ones, as long as there are enough.

import { hue, HUES } from "./format.js";

export class Hues {
  #isVisible;
  /** @type {Map<string, number>} */
  #hues = new Map(); // in degrees, by user id
  #mostKept = HUES.length;

  /** @param {(userId: string) => boolean} isVisible returns whether something of a user is shown: the hues of the others are free */
  constructor(isVisible) {
    this.#isVisible = isVisible;
  }

  /**
   * Return the hue of a user in degrees: the one that belongs to the id, or the next one that nobody has. Where all are taken, it
   * is shared. It stays the same while something of the user is shown.
   *
   * @param {string} userId
   */
  of(userId) {
    const kept = this.#hues.get(userId);
    if (kept !== undefined) return kept;
    if (this.#hues.size >= this.#mostKept) this.#forget();
    const taken = new Set(this.#hues.values());
    const own = HUES.indexOf(hue(userId));
    const free = HUES.map((_, step) => HUES[(own + step) % HUES.length]).find((one) => !taken.has(one));
    const chosen = free ?? HUES[own];
    this.#hues.set(userId, chosen);
    return chosen;
  }

  /** Forget who is not seen. With twice as many kept before the next time, this costs little in a room of hundreds. */
  #forget() {
    for (const userId of [...this.#hues.keys()]) if (!this.#isVisible(userId)) this.#hues.delete(userId);
    this.#mostKept = Math.max(HUES.length, 2 * this.#hues.size);
  }
}
