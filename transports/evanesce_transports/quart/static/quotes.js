// The quotes of messages in the replies to them. A quote burns down with the message that it quotes, and is gone with it: then the
// reply says that it answers a message that is gone.

import { button, create } from "./dom.js";
import { t } from "./i18n.js";

const LONGEST = 120; // characters of a quoted message

/**
 * What a quote needs of a message.
 *
 * @typedef {object} Original
 * @property {string} name of its sender
 * @property {string} text
 * @property {number} createdAt ms since 1970
 * @property {number} expiresAt ms since 1970
 */

/** @typedef {{ element: HTMLElement, place: HTMLElement, originalId: string }} Quote */

export class Quotes {
  #candles;
  #goTo;
  /** @type {Map<string, Original>} */
  #originals = new Map(); // by message id
  /** @type {Map<string, Quote>} */
  #quotes = new Map(); // by the id of the reply

  /**
   * @param {Pick<import("./candles.js").Candles, "add" | "remove">} candles
   * @param {(messageId: string) => void} goTo shows a message to the user
   */
  constructor(candles, goTo) {
    this.#candles = candles;
    this.#goTo = goTo;
  }

  /**
   * Return a message that is there.
   *
   * @param {string} messageId
   */
  original(messageId) {
    return this.#originals.get(messageId);
  }

  /**
   * Remember a message, so that it can be quoted.
   *
   * @param {string} messageId
   * @param {Original} original
   */
  remember(messageId, { name, text, createdAt, expiresAt }) {
    this.#originals.set(messageId, { name, text: shortened(text), createdAt, expiresAt });
  }

  /**
   * Return the place for the quote in a reply, with the quote in it.
   *
   * @param {string} replyId
   * @param {string} originalId
   */
  quote(replyId, originalId) {
    const place = create("div", { className: "quote" });
    const original = this.#originals.get(originalId);
    if (original === undefined) place.append(gone());
    else {
      const element = this.#element(originalId, original);
      this.#quotes.set(replyId, { element, place, originalId });
      place.append(element);
    }
    return place;
  }

  /**
   * Forget a message that is gone, and what is quoted of it.
   *
   * @param {string} messageId
   */
  forget(messageId) {
    this.#originals.delete(messageId);
    this.#remove(messageId);
    for (const [replyId, { place, originalId }] of this.#quotes) {
      if (originalId !== messageId) continue;
      const hadFocus = place.contains(document.activeElement);
      this.#remove(replyId);
      place.replaceChildren(gone());
      if (hadFocus) place.closest("li")?.focus();
    }
  }

  /** @param {string} replyId */
  #remove(replyId) {
    const quote = this.#quotes.get(replyId);
    if (quote === undefined) return;
    this.#quotes.delete(replyId);
    this.#candles.remove(quote.element);
  }

  /**
   * @param {string} originalId
   * @param {Original} original
   */
  #element(originalId, { name, text, createdAt, expiresAt }) {
    const element = button("", () => this.#goTo(originalId), "quoted");
    const sender = create("bdi", { className: "name", textContent: name });
    const content = create("span", { textContent: text, dir: "auto" });
    element.append(create("span", { className: "visually-hidden", textContent: t("reply.to") }), sender, content);
    const nowhere = create("span");
    const parts = { element, text: content, wick: nowhere, side: nowhere, left: create("span") };
    this.#candles.add({ parts, createdAt, expiresAt });
    return element;
  }
}

function gone() {
  return create("span", { className: "vanished", textContent: t("reply.gone") });
}

/**
 * Return the beginning of a text.
 *
 * @param {string} text
 */
function shortened(text) {
  const characters = Array.from(text.slice(0, 2 * LONGEST));
  return characters.length > LONGEST ? `${characters.slice(0, LONGEST).join("")}…` : text;
}
