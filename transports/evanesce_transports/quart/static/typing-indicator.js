// The line that says who is typing.

import { typingText } from "./format.js";

const VISIBLE_FOR = 4_500; // ms after the last `typing` event of a member

export class TypingIndicator {
  #element;
  #name;
  /** @type {Map<string, number>} */
  #timers = new Map(); // by user id

  /**
   * @param {HTMLElement} element
   * @param {(userId: string) => string} name returns the name of a member
   */
  constructor(element, name) {
    this.#element = element;
    this.#name = name;
    this.#draw();
  }

  /**
   * Show that a member is typing.
   *
   * @param {string} userId
   */
  add(userId) {
    clearTimeout(this.#timers.get(userId));
    this.#timers.delete(userId);
    this.#timers.set(
      userId,
      setTimeout(() => this.remove(userId), VISIBLE_FOR),
    );
    this.#draw();
  }

  /**
   * Stop showing that a member is typing.
   *
   * @param {string} userId
   */
  remove(userId) {
    clearTimeout(this.#timers.get(userId));
    this.#timers.delete(userId);
    this.#draw();
  }

  /** Stop showing that any member is typing. */
  clear() {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#draw();
  }

  #draw() {
    this.#element.textContent = typingText([...this.#timers.keys()].map(this.#name));
  }
}
