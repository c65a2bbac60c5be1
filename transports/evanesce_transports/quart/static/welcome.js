// The conversation of the first visit: some messages that really burn down, one after the other, and come again.

import { Candles } from "./candles.js";
import { t } from "./i18n.js";
import { createMessage } from "./message-view.js";

const PAUSE = 1_800; // ms between two messages
const LIFE = 9_000; // ms
const STILL = Object.freeze([0.25, 0.5, 0.75, 1]); // of their lives, where the user wants no motion

/** @typedef {{ userId: string, name: string, own: boolean, content: string }} Line */

export class Welcome {
  #elements;
  #candles = new Candles({ now: () => performance.now() });
  /** @type {number | undefined} */
  #timer;

  /** @param {import("./elements.js").Elements["signIn"]} elements */
  constructor(elements) {
    this.#elements = elements;
  }

  /** Begin the conversation, unless it has begun. */
  start() {
    if (this.#timer !== undefined) return;
    const lines = conversation();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.#timer = 0;
      lines.forEach((line, index) => this.#add(line, 1e9, STILL[index]));
      return;
    }
    let next = 0;
    const add = () => {
      if (next < lines.length) this.#add(lines[next], LIFE, 1);
      next = next < lines.length + 3 ? next + 1 : 0; // a pause before it comes again
    };
    for (const left of [0.4, 0.65, 0.9]) this.#add(lines[next++], LIFE, left);
    this.#timer = setInterval(add, PAUSE);
  }

  /** End the conversation. */
  stop() {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const element of [...this.#elements.demoMessages.children]) this.#remove(element);
  }

  /**
   * @param {Line} line
   * @param {number} life ms
   * @param {number} left of the life
   */
  #add(line, life, left) {
    const parts = createMessage(line);
    parts.element.removeAttribute("tabindex"); // it is a picture
    parts.side.remove();
    parts.element.classList.add("first");
    const now = performance.now();
    this.#elements.demoMessages.append(parts.element);
    this.#candles.add({ parts, createdAt: now - life * (1 - left), expiresAt: now + life * left });
    setTimeout(() => this.#remove(parts.element), Math.min(life * left, 1e9));
  }

  /** @param {Element} element */
  #remove(element) {
    this.#candles.remove(element);
    element.remove();
  }
}

/** @returns {Line[]} */
function conversation() {
  const ana = { userId: "ana", name: t("welcome.ana"), own: false };
  const ben = { userId: "ben", name: t("welcome.ben"), own: true };
  return [
    { ...ana, content: t("welcome.line1") },
    { ...ben, content: t("welcome.line2") },
    { ...ana, content: t("welcome.line3") },
    { ...ben, content: t("welcome.line4") },
  ];
}
