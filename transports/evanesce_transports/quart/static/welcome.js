// The conversation of the first visit: some messages that really burn down, each in its place, and come again.

import { Candles } from "./candles.js";
import { hue } from "./format.js";
import { t } from "./i18n.js";
import { createMessage } from "./message-view.js";

const PAUSE = 1_800; // ms between two messages
const LIFE = 7_000; // ms
const ROUND = 6; // pauses until the first message comes again
const AT_FIRST = Object.freeze([0.4, 0.65, 0.9]); // of the lives of the messages that are there at the beginning
const STILL = Object.freeze([0.2, 0.4, 0.7, 0.95]); // where the user wants no motion
const FOREVER = 1e9; // ms

/** @typedef {import("./message-view.js").Shown} Line */

export class Welcome {
  #elements;
  #candles = new Candles({ now: () => performance.now() });
  /** @type {Map<import("./message-view.js").MessageParts, number | undefined>} */
  #messages = new Map(); // with the timers of their ends
  /** @type {number | undefined} */
  #timer;

  /** @param {import("./elements.js").Elements["signIn"]} elements */
  constructor(elements) {
    this.#elements = elements;
  }

  /** Begin the conversation, unless it has begun. */
  start() {
    if (this.#messages.size > 0) return;
    for (const line of conversation()) {
      const parts = createMessage(line);
      parts.element.removeAttribute("tabindex"); // it is a picture
      parts.side.remove();
      parts.element.classList.add("first", "gone");
      this.#messages.set(parts, undefined);
      this.#elements.demoMessages.append(parts.element);
    }
    const all = [...this.#messages.keys()];
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      all.forEach((parts, index) => this.#light(parts, FOREVER, STILL[index]));
      return;
    }
    AT_FIRST.forEach((left, index) => this.#light(all[index], LIFE, left));
    let next = AT_FIRST.length;
    this.#timer = setInterval(() => {
      if (next < all.length) this.#light(all[next], LIFE, 1);
      next = (next + 1) % ROUND;
    }, PAUSE);
  }

  /** End the conversation. */
  stop() {
    clearInterval(this.#timer);
    for (const [parts, timer] of this.#messages) {
      clearTimeout(timer);
      this.#candles.remove(parts.element);
    }
    this.#messages.clear();
    this.#elements.demoMessages.replaceChildren();
  }

  /**
   * @param {import("./message-view.js").MessageParts} parts
   * @param {number} life ms
   * @param {number} left of the life
   */
  #light(parts, life, left) {
    const now = performance.now();
    const { element } = parts;
    element.classList.remove("gone");
    this.#candles.add({ parts, createdAt: now - life * (1 - left), expiresAt: now + life * left });
    const end = () => {
      this.#candles.remove(element);
      element.classList.add("gone");
      for (const animation of element.getAnimations()) animation.cancel();
    };
    this.#messages.set(parts, setTimeout(end, life * left));
  }
}

/** @returns {Line[]} */
function conversation() {
  const ana = { hue: hue("ana"), name: t("welcome.ana"), own: false };
  const ben = { hue: hue("ben"), name: t("welcome.ben"), own: true };
  return [
    { ...ana, content: t("welcome.line1") },
    { ...ben, content: t("welcome.line2") },
    { ...ana, content: t("welcome.line3") },
    { ...ben, content: t("welcome.line4") },
  ];
}
