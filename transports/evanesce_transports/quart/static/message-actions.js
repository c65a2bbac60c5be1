// What the user does with a message of the list: by its menu, or by keys while it has the focus.

import { t } from "./i18n.js";
import { Menu } from "./menu.js";

const UNDO_FOR = 8_000; // ms for which the user can send again what was taken back

/** @typedef {import("./client/index.js").MessageEvent} MessageEvent */

/**
 * What the actions need of the room.
 *
 * @typedef {object} MessageContext
 * @property {string} userId of the user
 * @property {import("./room.js").Room} room
 * @property {import("./timeline.js").Timeline} timeline
 * @property {(message: MessageEvent) => void} reply
 * @property {(person: { userId: string, name: string }) => void} person opens what can be done about a person
 * @property {() => boolean} isCreator
 * @property {(userId: string) => boolean} canVote whether the server would take a vote about a person
 */

export class MessageActions {
  #context;
  #menu = new Menu();
  #openFor = "";

  /** @param {MessageContext} context */
  constructor(context) {
    this.#context = context;
  }

  /**
   * Show the menu of a message.
   *
   * @param {MessageEvent} message
   * @param {HTMLElement} opener
   */
  open(message, opener) {
    this.#openFor = message.messageId;
    this.#menu.open(opener, t("message.menu", { name: message.senderName }), this.#items(message));
  }

  /**
   * Do what a key on a message stands for.
   *
   * @param {MessageEvent} message
   * @param {KeyboardEvent} event
   */
  pressed(message, event) {
    const { key, shiftKey, altKey, ctrlKey, metaKey } = event;
    const isMenu = key === "ContextMenu" || (key === "F10" && shiftKey) || key === "Enter";
    if (!isMenu && (altKey || ctrlKey || metaKey)) return;
    if (isMenu) this.open(message, /** @type {HTMLElement} */ (event.target));
    else if (key.toLowerCase() === "r") this.#context.reply(message);
    else if (key.toLowerCase() === "c" && message.content !== null) this.#copy(message.content);
    else return;
    event.preventDefault();
  }

  /**
   * Close the menu of a message that is gone.
   *
   * @param {string} messageId
   */
  gone(messageId) {
    if (messageId === this.#openFor) this.#menu.close();
  }

  /** Close the menu. */
  close() {
    this.#menu.close();
  }

  /**
   * @param {MessageEvent} message
   * @returns {import("./menu.js").MenuItem[]}
   */
  #items(message) {
    const { content, senderId, senderName } = message;
    const { userId, reply, person, isCreator, canVote } = this.#context;
    const items = [{ label: t("message.reply"), act: () => reply(message) }];
    if (content !== null) items.push({ label: t("message.copy"), act: () => this.#copy(content) });
    if (senderId === userId) items.push({ label: t("message.unsend"), act: () => this.#unsend(message) });
    else if (isCreator() || canVote(senderId)) {
      const label = t(isCreator() ? "person.open" : "person.vote", { name: senderName });
      items.push({ label, act: () => person({ userId: senderId, name: senderName }) });
    }
    return items;
  }

  /** @param {string} text */
  async #copy(text) {
    const { timeline } = this.#context;
    try {
      await navigator.clipboard.writeText(text);
      timeline.addNotice(t("message.copied"));
    } catch {
      timeline.addNotice(t("message.notCopied")); // the page is not from HTTPS, or the user has not allowed it
    }
  }

  /**
   * Take a message back at once, and offer to send it again for what was left of its life.
   *
   * @param {MessageEvent} message
   */
  async #unsend({ messageId, content, expiresAt, replyTo }) {
    const { room, timeline } = this.#context;
    if (!(await room.unsend(messageId)) || content === null) return;
    const left = Date.parse(expiresAt) - room.now();
    const shortest = (room.limits?.shortestTtl ?? Infinity) * 1000;
    const life = Math.min(UNDO_FOR, left - shortest);
    if (life <= 0) {
      timeline.addNotice(t("message.unsent"));
      return;
    }
    const again = () => {
      const ttl = Math.floor((Date.parse(expiresAt) - room.now()) / 1000);
      room.send(content, { ttl, ...(replyTo !== undefined && { replyTo }) });
    };
    timeline.addOffer(t("message.unsent"), t("message.undo"), again, life);
  }
}
