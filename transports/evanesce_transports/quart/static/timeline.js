// The messages in the section of a room, those that are being sent, and the notices between them.

import { Candles } from "./candles.js";
import { t } from "./i18n.js";
import { createMessage, linkButton, menuButton } from "./message-view.js";
import { Notices } from "./notices.js";
import { Quotes } from "./quotes.js";

const MAX_MESSAGES = 1_000; // in the list: a browser lays out no more of them in time
const MAX_TIMER = 2 ** 31 - 1; // ms: the longest time that a timer takes

/** @typedef {import("./message-view.js").MessageParts} MessageParts */
/** @typedef {import("./client/index.js").MessageEvent} MessageEvent */

/**
 * What the timeline calls.
 *
 * @typedef {object} TimelineListener
 * @property {(message: MessageEvent, opener: HTMLElement) => void} menu the user wants to do something with a message; `opener` gets the focus back
 * @property {(message: MessageEvent, event: KeyboardEvent) => void} pressed a key was pressed on a message
 * @property {(messageId: string) => void} gone a message is not there any more
 */

/**
 * Who is in the room.
 *
 * @typedef {object} People
 * @property {string} userId of the user, whose messages are shown as own
 * @property {import("./hues.js").Hues} hues
 */

/**
 * A message in the list.
 *
 * @typedef {object} Entry
 * @property {MessageParts} parts
 * @property {MessageEvent} message
 */

/**
 * A message of the user's that is being sent.
 *
 * @typedef {object} PendingEntry
 * @property {MessageParts} parts
 * @property {boolean} isWaiting for the answer of the server
 * @property {number} [expiresAt] ms since 1970
 */

export class Timeline {
  #elements;
  #scroller;
  #userId;
  #hues;
  #clock;
  #listener;
  #candles;
  #quotes;
  #notices;
  /** @type {Map<string, Entry>} */
  #messages = new Map(); // by message id
  /** @type {Map<string, PendingEntry>} */
  #pending = new Map(); // the user's own messages whose `message` event has not arrived, by message id
  /** @type {Map<Element, Entry>} */
  #byElement = new Map();
  /** @type {HTMLElement | null} */
  #tabStop = null; // the message that the Tab key leads to; the arrow keys lead to the others
  #listening = new AbortController();
  #isConnected = false;

  /**
   * @param {import("./elements.js").Elements["timeline"]} elements
   * @param {import("./scroller.js").Scroller} scroller
   * @param {People} people
   * @param {{ now(): number }} clock the server's time in ms since 1970
   * @param {TimelineListener} listener
   */
  constructor(elements, scroller, { userId, hues }, clock, listener) {
    this.#elements = elements;
    this.#scroller = scroller;
    this.#userId = userId;
    this.#hues = hues;
    this.#clock = clock;
    this.#listener = listener;
    this.#candles = new Candles(clock);
    this.#quotes = new Quotes(this.#candles, (messageId) => this.#messages.get(messageId)?.parts.element.focus());
    this.#notices = new Notices(
      (element) => this.#append(elements.messages, element),
      () => this.#showEmpty(),
    );
    const { signal } = this.#listening;
    elements.messages.addEventListener("keydown", (event) => this.#move(event), { signal });
    elements.messages.addEventListener("focusin", (event) => this.#focused(event.target), { signal });
  }

  /**
   * Add the message of a `message` event.
   *
   * @param {import("./client/index.js").MessageEvent} message
   */
  add(message) {
    this.#dropPending(message.messageId);
    const own = message.senderId === this.#userId;
    const parts = createMessage({
      hue: this.#hues.of(message.senderId),
      name: message.senderName,
      content: message.content ?? t("message.unreadable"),
      own,
    });
    parts.text.classList.toggle("unreadable", message.content === null);
    parts.side.append(menuButton(message.senderName, (button) => this.#listener.menu(message, button)));
    const entry = { parts, message };
    this.#quote(entry);
    const { messages } = this.#elements;
    this.#markFirst(entry, messages.lastElementChild);
    this.#messages.set(message.messageId, entry);
    this.#byElement.set(parts.element, entry);
    this.#append(messages, parts.element);
    if (!messages.contains(document.activeElement)) this.#setTabStop(parts.element);
    this.#candles.add({
      parts,
      createdAt: Date.parse(message.createdAt),
      expiresAt: Date.parse(message.expiresAt),
    });
    if (!own) this.#scroller.added();
    if (this.#messages.size > MAX_MESSAGES) this.#dropOldest();
  }

  /**
   * Return whether there is a message of a user.
   *
   * @param {string} userId
   */
  shows(userId) {
    return [...this.#messages.values()].some(({ message }) => message.senderId === userId);
  }

  /** Focus the latest message. Return false where there is none. */
  focusLast() {
    const last = [...this.#messages.values()].at(-1);
    last?.parts.element.focus();
    return last !== undefined;
  }

  /**
   * Add a message of the user's that is being sent.
   *
   * @param {string} messageId
   * @param {string} content
   */
  addPending(messageId, content) {
    const parts = createMessage({ hue: this.#hues.of(this.#userId), name: "", content, own: true });
    parts.element.classList.add("pending");
    parts.side.append(t(this.#isConnected ? "message.sending" : "message.waiting"));
    this.#pending.set(messageId, { parts, isWaiting: true });
    this.#append(this.#elements.pending, parts.element);
    this.#scroller.toEnd();
  }

  /**
   * Say of the messages that are being sent whether they are, or wait for a connection.
   *
   * @param {boolean} isConnected
   */
  connected(isConnected) {
    this.#isConnected = isConnected;
    const text = t(isConnected ? "message.sending" : "message.waiting");
    for (const { parts, isWaiting } of this.#pending.values()) if (isWaiting) parts.side.textContent = text;
  }

  /**
   * Show that the server has stored a message of the user's. Its `message` event replaces the entry; where there is none, the
   * entry is removed when the message expires.
   *
   * @param {string} messageId
   * @param {Protocol.Timestamp} expiresAt
   */
  markSent(messageId, expiresAt) {
    const entry = this.#pending.get(messageId);
    if (!entry) return;
    entry.isWaiting = false;
    entry.parts.side.textContent = "";
    entry.expiresAt = Date.parse(expiresAt);
    setTimeout(() => this.update(), Math.min(Math.ceil(entry.expiresAt - this.#clock.now()), MAX_TIMER));
  }

  /**
   * Show that a message of the user's was not sent, with the reason and buttons to edit or discard it.
   *
   * @param {string} messageId
   * @param {string} reason
   * @param {() => void} edit called when the user wants to edit the message
   */
  markFailed(messageId, reason, edit) {
    const entry = this.#pending.get(messageId);
    if (!entry) return;
    const { element, side } = entry.parts;
    entry.isWaiting = false;
    element.classList.add("failed");
    side.replaceChildren(
      linkButton(t("message.edit"), () => {
        this.#dropPending(messageId);
        edit();
      }),
      linkButton(t("message.discard"), () => this.#dropPending(messageId)),
    );
    const problem = document.createElement("p");
    problem.className = "problem why";
    problem.setAttribute("role", "alert");
    problem.textContent = reason;
    element.append(problem);
  }

  /**
   * Remove a message.
   *
   * @param {string} messageId
   */
  remove(messageId) {
    this.#dropMessage(messageId);
    this.#dropPending(messageId);
  }

  /**
   * Add a notice, which is removed after a while.
   *
   * @param {string} text
   */
  addNotice(text) {
    this.#notices.add(text);
  }

  /**
   * Add a notice with a button, which is removed when it was pressed, or after so many ms.
   *
   * @param {string} text
   * @param {string} label of the button
   * @param {() => void} pressed
   * @param {number} life ms
   */
  addOffer(text, label, pressed, life) {
    this.#notices.addOffer(text, label, pressed, life);
  }

  /**
   * Add a notice that somebody came or went.
   *
   * @param {"arrived" | "left"} kind
   * @param {string} name
   */
  addPerson(kind, name) {
    this.#notices.addPerson(kind, name);
  }

  /** Update how far each message has burnt down, after the clock was set or the page slept. */
  update() {
    this.#candles.update();
    for (const [messageId, { expiresAt }] of [...this.#pending]) {
      if (expiresAt !== undefined && expiresAt <= this.#clock.now()) this.#dropPending(messageId);
    }
  }

  /** Remove everything. */
  clear() {
    this.#listening.abort();
    for (const messageId of [...this.#messages.keys()]) this.#dropMessage(messageId);
    for (const messageId of [...this.#pending.keys()]) this.#dropPending(messageId);
    this.#notices.clear();
  }

  /**
   * Show the sender with a message, and what it replies to, unless the element before it is a message with the same.
   *
   * @param {Entry} entry
   * @param {Element | null} before
   */
  #markFirst({ parts, message }, before) {
    const above = before === null ? undefined : this.#byElement.get(before)?.message;
    const { replyTo } = message;
    parts.element.classList.toggle("first", above?.senderId !== message.senderId);
    parts.element.classList.toggle("same-quote", replyTo !== undefined && above?.replyTo === replyTo);
  }

  /** @param {HTMLElement | null} element */
  #setTabStop(element) {
    if (this.#tabStop !== null) this.#tabStop.tabIndex = -1;
    if (element !== null) element.tabIndex = 0;
    this.#tabStop = element;
  }

  /** @param {EventTarget | null} target */
  #focused(target) {
    const element = target instanceof Element ? target.closest("li") : null;
    if (element !== null && this.#byElement.has(element)) this.#setTabStop(element);
  }

  /** @param {KeyboardEvent} event */
  #move(event) {
    if (event.target !== document.activeElement || !this.#byElement.has(/** @type {Element} */ (event.target))) return;
    const all = [...this.#messages.values()].map(({ parts }) => parts.element);
    const at = all.indexOf(/** @type {HTMLElement} */ (event.target));
    const next = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (next === undefined) {
      const entry = this.#byElement.get(/** @type {Element} */ (event.target));
      if (entry !== undefined) this.#listener.pressed(entry.message, event);
    } else if (all[next] !== undefined) {
      event.preventDefault();
      all[next].focus();
    }
  }

  /**
   * Put the quote into a reply, and let the message be quoted.
   *
   * @param {Entry} entry
   */
  #quote({ parts, message }) {
    const { messageId, replyTo, content, senderName, createdAt, expiresAt } = message;
    if (replyTo !== undefined) parts.text.before(this.#quotes.quote(messageId, replyTo));
    const text = content ?? t("message.unreadable");
    const times = { createdAt: Date.parse(createdAt), expiresAt: Date.parse(expiresAt) };
    this.#quotes.remember(messageId, { name: senderName, text, ...times });
  }

  /**
   * @param {HTMLElement} place
   * @param {HTMLElement} element
   */
  #append(place, element) {
    place.append(element);
    this.#showEmpty();
  }

  #showEmpty() {
    const isEmpty = this.#messages.size + this.#pending.size === 0;
    this.#elements.empty.hidden = !isEmpty;
  }

  #dropOldest() {
    const [oldest] = this.#messages.keys();
    this.#dropMessage(oldest);
    this.#notices.addOnce(t("message.tooMany"));
  }

  /** @param {string} messageId */
  #dropMessage(messageId) {
    const entry = this.#messages.get(messageId);
    if (!entry) return;
    const { element } = entry.parts;
    this.#scroller.hold([...this.#messages.values()].map(({ parts }) => parts.text));
    const { previousElementSibling: before, nextElementSibling: after } = element;
    this.#messages.delete(messageId);
    this.#byElement.delete(element);
    this.#quotes.forget(messageId);
    this.#listener.gone(messageId); // what was opened for it closes, and gives the focus back to it
    const hadFocus = element.contains(document.activeElement);
    this.#candles.remove(element);
    element.remove();
    const next = after === null ? undefined : this.#byElement.get(after);
    if (next !== undefined) this.#markFirst(next, before);
    if (this.#tabStop === element) {
      const heir = next ?? [...this.#messages.values()].at(-1);
      this.#setTabStop(heir?.parts.element ?? null);
      if (hadFocus) this.#tabStop?.focus();
    }
    this.#showEmpty();
  }

  /** @param {string} messageId */
  #dropPending(messageId) {
    const entry = this.#pending.get(messageId);
    if (!entry) return;
    this.#pending.delete(messageId);
    entry.parts.element.remove();
    this.#showEmpty();
  }
}
