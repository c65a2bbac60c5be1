// The messages on the screen: each fades as it nears its end and is then gone. What others wrote becomes text, never markup.

import { serverNow } from "./clock.js";

const NOTICE_LIFE = 20_000; // ms
const FADE = [{ opacity: 1 }, { opacity: 0.85, offset: 0.5 }, { opacity: 0.2, offset: 0.97 }, { opacity: 0 }];

export class Timeline {
  #list;
  #pending;
  #scroll;
  #empty;
  #userId;
  #unsend;
  #placed = new Map(); // message id → entry
  #waiting = new Map(); // the same for own messages that are not placed yet
  #notices = new Set();

  /** `unsend(messageId)` is called when somebody takes an own message back. */
  constructor({ list, pending, scroll, empty }, userId, unsend) {
    this.#list = list;
    this.#pending = pending;
    this.#scroll = scroll;
    this.#empty = empty;
    this.#userId = userId;
    this.#unsend = unsend;
  }

  /** Show a `message` event in its place; one that is shown already stays where it is. */
  place(message) {
    if (this.#placed.has(message.messageId)) return;
    this.#drop(this.#waiting, message.messageId);
    const expiresAt = Date.parse(message.expiresAt);
    const createdAt = Date.parse(message.createdAt);
    if (expiresAt <= serverNow()) return;
    const own = message.senderId === this.#userId;
    const element = this.#element(own, message.senderName, message.content);
    const side = element.querySelector(".side");
    const time = document.createElement("time");
    time.dateTime = message.createdAt;
    time.textContent = new Date(createdAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    side.append(time);
    if (own) side.append(button("Unsend", () => this.#unsend(message.messageId)));
    const entry = { element, expiresAt, createdAt };
    this.#placed.set(message.messageId, entry);
    this.#add(this.#list, element);
    this.#fade(message.messageId, entry);
  }

  /** Show an own message that is on its way. */
  await(messageId, content) {
    const element = this.#element(true, "", content);
    element.classList.add("pending");
    element.querySelector(".side").append("Sending…");
    this.#waiting.set(messageId, { element });
    this.#add(this.#pending, element);
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  /** The server has an own message; its `message` event says where it belongs. */
  acknowledge(messageId, expiresAt) {
    const entry = this.#waiting.get(messageId);
    if (!entry) return;
    entry.element.querySelector(".side").textContent = "";
    entry.timer = setTimeout(() => this.#drop(this.#waiting, messageId), Date.parse(expiresAt) - serverNow());
  }

  /** An own message was not taken: say `why`; `again()` puts its text back into the composer. */
  fail(messageId, why, again) {
    const entry = this.#waiting.get(messageId);
    if (!entry) return;
    const side = entry.element.querySelector(".side");
    side.replaceChildren(
      button("Edit", () => {
        this.#drop(this.#waiting, messageId);
        again();
      }),
      button("Discard", () => this.#drop(this.#waiting, messageId)),
    );
    const problem = document.createElement("p");
    problem.className = "problem why";
    problem.setAttribute("role", "alert");
    problem.textContent = why;
    entry.element.append(problem);
  }

  /** Take a message away before its time. */
  remove(messageId) {
    this.#drop(this.#placed, messageId);
    this.#drop(this.#waiting, messageId);
  }

  /** Say something that is no message. It goes away too. */
  note(text) {
    const element = document.createElement("li");
    element.className = "notice";
    element.textContent = text;
    const notice = { element };
    notice.timer = setTimeout(() => this.#forget(notice), NOTICE_LIFE);
    notice.animation = element.animate(FADE, { duration: NOTICE_LIFE, fill: "forwards" });
    this.#notices.add(notice);
    this.#add(this.#list, element);
  }

  /** The clock was set, or this page slept: put every message to where it stands in its life. */
  sync() {
    for (const [messageId, entry] of [...this.#placed]) this.#fade(messageId, entry);
  }

  clear() {
    for (const messageId of [...this.#placed.keys()]) this.#drop(this.#placed, messageId);
    for (const messageId of [...this.#waiting.keys()]) this.#drop(this.#waiting, messageId);
    for (const notice of [...this.#notices]) this.#forget(notice);
  }

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
    return element;
  }

  #add(list, element) {
    const atEnd = this.#scroll.scrollHeight - this.#scroll.scrollTop - this.#scroll.clientHeight < 80;
    list.append(element);
    this.#empty.hidden = true;
    if (atEnd) this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  #fade(messageId, entry) {
    clearTimeout(entry.timer);
    const now = serverNow();
    if (entry.expiresAt <= now) {
      this.#drop(this.#placed, messageId);
      return;
    }
    const life = entry.expiresAt - entry.createdAt;
    entry.animation ??= entry.element.animate(FADE, { duration: life, fill: "forwards" });
    entry.animation.currentTime = Math.max(0, now - entry.createdAt);
    // A timer takes at most 2^31 - 1 ms; what lives longer is looked at again then.
    entry.timer = setTimeout(() => this.#fade(messageId, entry), Math.min(entry.expiresAt - now, 2 ** 31 - 1));
  }

  #drop(entries, messageId) {
    const entry = entries.get(messageId);
    if (!entry) return;
    entries.delete(messageId);
    clearTimeout(entry.timer);
    this.#take(entry.element);
  }

  #forget(notice) {
    this.#notices.delete(notice);
    clearTimeout(notice.timer);
    this.#take(notice.element);
  }

  #take(element) {
    element.remove();
    this.#empty.hidden = this.#placed.size + this.#waiting.size + this.#notices.size > 0;
  }
}

function button(label, pressed) {
  const element = document.createElement("button");
  element.type = "button";
  element.className = "link";
  element.textContent = label;
  element.addEventListener("click", pressed);
  return element;
}
