// The messages in the section of a room. Each fades until it expires, and is then removed. Content is set as text, never as
// markup.

const NOTICE_TTL = 20_000; // ms
const MAX_NOTICES = 50;
const MAX_MESSAGES = 1_000; // in the list: a browser lays out no more of them in time
const MAX_TIMER = 2 ** 31 - 1; // ms: the longest time that a timer takes
const TOO_MANY = "The oldest messages were removed: there are more than this page can show.";
const AT_END = 80; // px: as near to the end the list follows new messages
const FADE = Object.freeze([
  { opacity: 1 },
  { opacity: 0.85, offset: 0.5 },
  { opacity: 0.2, offset: 0.97 },
  { opacity: 0 },
]);

/**
 * A message in the list. Times are in ms since 1970.
 *
 * @typedef {object} Entry
 * @property {HTMLElement} element
 * @property {HTMLElement} side holds its time and its buttons
 * @property {number} [expiresAt]
 */

/** @typedef {Entry & { expiresAt: number, createdAt: number, animation?: Animation }} MessageEntry */

/** @typedef {{ element: HTMLElement, timer: number }} Notice */

export class Timeline {
  #elements;
  #userId;
  #clock;
  #unsend;
  /** @type {Map<string, MessageEntry>} */
  #messages = new Map(); // by message id
  /** @type {Map<string, Entry>} */
  #pending = new Map(); // the user's own messages whose `message` event has not arrived, by message id
  /** @type {Set<Notice>} */
  #notices = new Set();
  /** @type {number | undefined} */
  #frame; // in which the list is scrolled to its end, if it was there

  /**
   * @param {import("./elements.js").Elements["timeline"]} elements
   * @param {string} userId of the user, whose messages are shown as own
   * @param {{ now(): number }} clock the server's time in ms since 1970
   * @param {(messageId: string) => void} unsend called when the user unsends a message
   */
  constructor(elements, userId, clock, unsend) {
    this.#elements = elements;
    this.#userId = userId;
    this.#clock = clock;
    this.#unsend = unsend;
  }

  /**
   * Add the message of a `message` event.
   *
   * @param {import("./client/index.js").MessageEvent} message
   */
  add(message) {
    this.#drop(this.#pending, message.messageId);
    const expiresAt = Date.parse(message.expiresAt);
    const createdAt = Date.parse(message.createdAt);
    const own = message.senderId === this.#userId;
    const content = message.content ?? "This message cannot be opened.";
    const { element, side, text } = this.#element(own, message.senderName, content);
    text.classList.toggle("unreadable", message.content === null);
    const time = document.createElement("time");
    time.dateTime = message.createdAt;
    time.textContent = new Date(createdAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    side.append(time);
    if (own) side.append(button("Unsend", () => this.#unsend(message.messageId)));
    const entry = { element, side, expiresAt, createdAt };
    this.#messages.set(message.messageId, entry);
    this.#append(this.#elements.messages, element);
    this.#fade(entry);
    if (this.#messages.size > MAX_MESSAGES) this.#dropOldest();
  }

  /**
   * Add a message of the user's that is being sent.
   *
   * @param {string} messageId
   * @param {string} content
   */
  addPending(messageId, content) {
    const { element, side } = this.#element(true, "", content);
    element.classList.add("pending");
    side.append("Sending…");
    this.#pending.set(messageId, { element, side });
    this.#append(this.#elements.pending, element);
    this.#scrollToEnd();
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
    entry.side.textContent = "";
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
    entry.side.replaceChildren(
      button("Edit", () => {
        this.#drop(this.#pending, messageId);
        edit();
      }),
      button("Discard", () => this.#drop(this.#pending, messageId)),
    );
    const problem = document.createElement("p");
    problem.className = "problem why";
    problem.setAttribute("role", "alert");
    problem.textContent = reason;
    entry.element.append(problem);
  }

  /**
   * Remove a message.
   *
   * @param {string} messageId
   */
  remove(messageId) {
    this.#drop(this.#messages, messageId);
    this.#drop(this.#pending, messageId);
  }

  /**
   * Add a notice, which is removed after `NOTICE_TTL`.
   *
   * @param {string} text
   */
  addNotice(text) {
    const element = document.createElement("li");
    element.className = "notice";
    element.textContent = text;
    /** @type {Notice} */
    const notice = { element, timer: setTimeout(() => this.#removeNotice(notice), NOTICE_TTL) };
    element.animate([...FADE], { duration: NOTICE_TTL, fill: "forwards" });
    this.#notices.add(notice);
    this.#append(this.#elements.messages, element);
    const [oldest] = this.#notices;
    if (this.#notices.size > MAX_NOTICES) this.#removeNotice(oldest);
  }

  /** Update how far each message has faded, after the clock was set or the page slept. */
  update() {
    for (const entry of this.#messages.values()) this.#fade(entry);
    for (const [messageId, { expiresAt }] of [...this.#pending]) {
      if (expiresAt !== undefined && expiresAt <= this.#clock.now()) this.#drop(this.#pending, messageId);
    }
  }

  /** Remove everything. */
  clear() {
    for (const messageId of [...this.#messages.keys()]) this.#drop(this.#messages, messageId);
    for (const messageId of [...this.#pending.keys()]) this.#drop(this.#pending, messageId);
    for (const notice of [...this.#notices]) this.#removeNotice(notice);
  }

  /**
   * Return the element of a message, and the parts of it that hold the time and the buttons, and the text.
   *
   * @param {boolean} own
   * @param {string} name
   * @param {string} content
   */
  #element(own, name, content) {
    const element = document.createElement("li");
    element.className = own ? "message own" : "message";
    const sender = document.createElement("bdi");
    sender.className = "name";
    sender.textContent = name;
    const text = document.createElement("p");
    text.className = "text";
    text.dir = "auto";
    text.textContent = content;
    const side = document.createElement("div");
    side.className = "side";
    element.append(sender, text, side);
    return { element, side, text };
  }

  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} element
   */
  #append(list, element) {
    const { scroll, empty } = this.#elements;
    if (this.#frame === undefined) {
      // Once in a frame: to lay out the list for each message of many takes the browser longer than they live.
      const isAtEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < AT_END;
      this.#frame = requestAnimationFrame(() => {
        this.#frame = undefined;
        if (isAtEnd) this.#scrollToEnd();
      });
    }
    list.append(element);
    empty.hidden = true;
  }

  #scrollToEnd() {
    const { scroll } = this.#elements;
    scroll.scrollTop = scroll.scrollHeight;
  }

  /**
   * Set how far a message has faded.
   *
   * @param {MessageEntry} entry
   */
  #fade(entry) {
    const duration = entry.expiresAt - entry.createdAt;
    entry.animation ??= entry.element.animate([...FADE], { duration, fill: "forwards" });
    entry.animation.currentTime = Math.max(0, this.#clock.now() - entry.createdAt);
  }

  #dropOldest() {
    const [oldest] = this.#messages.keys();
    this.#drop(this.#messages, oldest);
    const isTold = [...this.#notices].some(({ element }) => element.textContent === TOO_MANY);
    if (!isTold) this.addNotice(TOO_MANY);
  }

  /**
   * @param {Map<string, Entry>} entries
   * @param {string} messageId
   */
  #drop(entries, messageId) {
    const entry = entries.get(messageId);
    if (!entry) return;
    entries.delete(messageId);
    this.#removeElement(entry.element);
  }

  /** @param {Notice} notice */
  #removeNotice(notice) {
    this.#notices.delete(notice);
    clearTimeout(notice.timer);
    this.#removeElement(notice.element);
  }

  /** @param {HTMLElement} element */
  #removeElement(element) {
    element.remove();
    this.#elements.empty.hidden = this.#messages.size + this.#pending.size + this.#notices.size > 0;
  }
}

/**
 * Return a button that looks like a link.
 *
 * @param {string} label
 * @param {() => void} pressed
 */
function button(label, pressed) {
  const element = document.createElement("button");
  element.type = "button";
  element.className = "link";
  element.textContent = label;
  element.addEventListener("click", pressed);
  return element;
}
