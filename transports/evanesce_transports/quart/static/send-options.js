// How the next message is sent: as a reply to another one, and for how long it lives.

import { button, create } from "./dom.js";
import { duration, t } from "./i18n.js";
import { lifetimes } from "./lifetimes.js";

const ROOMS = 0; // stands for the time of the room

export class SendOptions {
  #elements;
  #cancelled;
  #roomTtl = 0; // seconds
  /** @type {string | null} */
  #replyTo = null;

  /**
   * @param {import("./elements.js").Elements["sendOptions"]} elements
   * @param {() => void} cancelled called when the user wants to reply to nothing any more
   */
  constructor(elements, cancelled) {
    this.#elements = elements;
    this.#cancelled = cancelled;
    elements.ttl.addEventListener("change", () => this.#showTtl());
  }

  /** Return the id of the message that the next one replies to; null: to none. */
  get replyTo() {
    return this.#replyTo;
  }

  /**
   * Reply to a message with the next one.
   *
   * @param {string} messageId
   * @param {{ name: string, text: string }} original
   */
  reply(messageId, { name, text }) {
    const { replying } = this.#elements;
    this.#replyTo = messageId;
    const cancel = button(t("reply.cancel"), () => {
      this.clearReply();
      this.#cancelled();
    });
    const sender = create("bdi", { className: "name", textContent: name });
    const words = create("span", { className: "words", textContent: text, dir: "auto" });
    replying.replaceChildren(create("span", { textContent: t("reply.to") }), sender, words, cancel);
    replying.hidden = false;
  }

  /**
   * Show nothing of a message any more: it is gone. A reply to it can be sent all the same.
   *
   * @param {string} messageId
   */
  gone(messageId) {
    if (messageId !== this.#replyTo) return;
    const [label, , , cancel] = this.#elements.replying.children;
    label.textContent = t("reply.gone");
    this.#elements.replying.replaceChildren(label, cancel);
  }

  /** Reply to nothing. */
  clearReply() {
    this.#replyTo = null;
    this.#elements.replying.hidden = true;
    this.#elements.replying.replaceChildren();
  }

  /**
   * Offer the times that the room and the server allow.
   *
   * @param {number} shortest seconds
   * @param {number} roomTtl seconds
   */
  offer(shortest, roomTtl) {
    const { ttl } = this.#elements;
    const chosen = ttl.value;
    this.#roomTtl = roomTtl;
    const shorter = lifetimes(shortest, roomTtl).filter((seconds) => seconds < roomTtl);
    const options = [ROOMS, ...shorter].map((seconds) => {
      const textContent = duration(seconds === ROOMS ? roomTtl : seconds, "short");
      return create("option", { value: `${seconds}`, textContent });
    });
    ttl.replaceChildren(...options);
    ttl.value = options.some(({ value }) => value === chosen) ? chosen : `${ROOMS}`;
    ttl.disabled = shorter.length === 0;
    this.#showTtl();
  }

  /** Return the options of the next message, which replies to nothing afterwards. Its time stays. */
  take() {
    const ttl = Number(this.#elements.ttl.value);
    const replyTo = this.#replyTo;
    this.clearReply();
    return { ...(ttl > 0 && ttl < this.#roomTtl && { ttl }), ...(replyTo !== null && { replyTo }) };
  }

  /** Forget what was chosen: the room is another one. */
  clear() {
    this.clearReply();
    this.#elements.ttl.value = `${ROOMS}`;
    this.#showTtl();
  }

  #showTtl() {
    const { ttl, ttlShown } = this.#elements;
    ttlShown.classList.toggle("chosen", Number(ttl.value) !== ROOMS);
  }
}
