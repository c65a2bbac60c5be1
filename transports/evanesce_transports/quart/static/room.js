// One room as this tab is in it: joining and coming back, who is there, and own messages on their way.

import { current, keep } from "./account.js";
import { Connection } from "./connection.js";
import { Disconnected, friendly, Refused } from "./errors.js";

const TYPING_EVERY = 3_200; // ms: the server passes on one in 3 s
const RETRY_AFTER = 1_000; // ms, where the server names no time

export class Room {
  #roomId;
  #timeline;
  #on;
  #connection;
  #joined = false;
  #cursor = null;
  #gap = false; // a cursor that newer messages must not move is being joined with
  #sending = false;
  #outgoing = []; // own messages without an answer yet, in order
  #typedAt = -Infinity;
  #typesAgain = null;
  #rejoin = null;
  #messageTtl = 60;
  people = new Map(); // user id → name
  count = 0;

  /**
   * `on` has `state(kind, ms)` (`connecting`, `waiting`, `in`, `trouble`), `people()`, `typing(userId or null)`,
   * `room(event)`, `limits(welcome)`, `refused(error)` when this room cannot be joined, `closed(reason)` and
   * `ended(code, reason)`.
   */
  constructor(roomId, timeline, on) {
    this.#roomId = roomId;
    this.#timeline = timeline;
    this.#on = on;
    this.#connection = new Connection(() => current()?.token, {
      welcome: (welcome) => this.#welcome(welcome),
      event: (event) => this.#event(event),
      waiting: (ms) => {
        this.#out();
        on.state("waiting", ms);
      },
      ended: (code, reason) => {
        this.#out();
        on.ended(code, reason);
      },
    });
  }

  enter() {
    this.#on.state("connecting");
    this.#connection.open();
  }

  /** Leave for good: nothing of the room is kept. */
  leave() {
    this.#out();
    this.#outgoing = [];
    this.#connection.close();
    this.#timeline.clear();
  }

  retryNow() {
    this.#connection.retryNow();
  }

  /** This page slept or was hidden: find out what time it is. */
  wake() {
    this.#connection.retryNow();
    this.#connection.ping();
  }

  /** There is a newer token: the connection lasts as long as the newest that it was told. */
  renew() {
    if (this.#joined) this.#connection.greet().catch(() => {});
  }

  /** Say `content`; `again()` is called where it was not taken and the person wants the text back. */
  say(content, again) {
    const message = { messageId: uuid(), content, again, since: null };
    this.#outgoing.push(message);
    this.#timeline.await(message.messageId, content);
    this.#clearTyping();
    this.#flush();
  }

  typing() {
    if (!this.#joined || this.#typesAgain !== null) return;
    this.#typesAgain = setTimeout(
      () => {
        this.#typesAgain = null;
        this.#typedAt = performance.now();
        this.#ask({ type: "typing" }).catch(() => {});
      },
      Math.max(0, this.#typedAt + TYPING_EVERY - performance.now()),
    );
  }

  #clearTyping() {
    clearTimeout(this.#typesAgain);
    this.#typesAgain = null;
  }

  async unsend(messageId) {
    try {
      await this.#ask({ type: "unsend", messageId });
    } catch (error) {
      this.#timeline.note(friendly(error));
    }
  }

  close() {
    return this.#ask({ type: "close_room" });
  }

  /** Ask who is here, where the server has stopped telling it by itself. */
  async look() {
    if (this.people.size !== this.count) await this.#ask({ type: "members" }).catch(() => {});
  }

  #ask(command) {
    return this.#connection.request({ ...command, roomId: this.#roomId });
  }

  #out() {
    this.#joined = false;
    clearTimeout(this.#rejoin);
    this.#clearTyping();
    this.#on.typing(null);
  }

  #welcome(welcome) {
    this.#messageTtl = welcome.messageTtl;
    this.#on.limits(welcome);
    this.#timeline.sync();
    keep({ userId: welcome.userId, displayName: welcome.displayName });
    this.#join();
  }

  async #join() {
    const since = this.#cursor;
    try {
      await this.#ask(since === null ? { type: "join" } : { type: "join", since });
      const room = await this.#ask({ type: "room" });
      this.#on.room(room);
    } catch (error) {
      if (error instanceof Disconnected) return;
      if (!error.retry) {
        this.leave();
        this.#on.refused(error);
        return;
      }
      this.#on.state("trouble");
      const wait = (error.retryAfter ?? 1) * 1000 * (1 + Math.random() / 2);
      this.#rejoin = setTimeout(() => this.#join(), wait);
    }
  }

  #event(event) {
    if (event.roomId !== undefined && event.roomId !== this.#roomId) return;
    switch (event.type) {
      case "joined":
        this.#enter(event);
        break;
      case "message":
        if (!this.#gap) this.#cursor = event.cursor;
        this.#on.typing(event.senderId, true);
        this.#timeline.place(event);
        break;
      case "sent":
        this.#timeline.acknowledge(event.messageId, event.expiresAt);
        break;
      case "unsent":
        this.#timeline.remove(event.messageId);
        break;
      case "member_joined":
        this.#timeline.note(`${isolate(event.displayName)} came in`);
        this.people.set(event.userId, event.displayName);
        this.#counted(event.memberCount);
        break;
      case "member_left":
        this.#timeline.note(`${this.name(event.userId)} left`);
        this.people.delete(event.userId);
        this.#on.typing(event.userId, true);
        this.#counted(event.memberCount);
        break;
      case "member_updated":
        this.#timeline.note(`${this.name(event.userId)} is now ${isolate(event.displayName)}`);
        this.people.set(event.userId, event.displayName);
        if (event.userId === current().userId) keep({ displayName: event.displayName });
        this.#counted(this.count);
        break;
      case "member_count":
        this.people.clear();
        this.#counted(event.memberCount);
        break;
      case "members":
        this.#roster(event);
        break;
      case "typing":
        this.#on.typing(event.userId);
        break;
      case "skipped":
        this.#timeline.note(`${plural(event.count, "message")} faded before ${event.count === 1 ? "it" : "they"} could reach you`);
        break;
      case "gap":
        this.#cursor = event.since;
        this.#gap = true;
        this.#join();
        break;
      case "pong":
        this.#timeline.sync();
        break;
      case "room_closed":
        this.leave();
        this.#on.closed(event.reason);
        break;
    }
  }

  #enter(joined) {
    this.#joined = true;
    this.#gap = false;
    for (const messageId of joined.unsent) this.#timeline.remove(messageId);
    if (joined.missed === null) this.#timeline.note("You may have missed messages that are gone by now");
    else if (joined.missed > 0) this.#timeline.note(`You missed ${plural(joined.missed, "message")}`);
    for (const message of joined.messages) this.#timeline.place(message);
    this.#cursor = joined.cursor;
    this.#roster(joined);
    this.#on.state("in");
    this.#flush();
  }

  #roster({ members, memberCount }) {
    this.people = new Map((members ?? []).map(({ userId, displayName }) => [userId, displayName]));
    this.#counted(memberCount);
  }

  #counted(count) {
    this.count = count;
    this.#on.people();
  }

  name(userId) {
    const name = this.people.get(userId);
    return name === undefined ? "Someone" : isolate(name);
  }

  /**
   * Send what waits, one after the other, so that it stays in order. An answer that was lost with its connection is asked
   * for again under the same id, as long as the server would still know it: after that it might be stored twice.
   */
  async #flush() {
    if (this.#sending) return;
    this.#sending = true;
    while (this.#joined && this.#outgoing.length > 0) {
      const message = this.#outgoing[0];
      message.since ??= performance.now();
      let wait = 0;
      try {
        if (performance.now() - message.since >= this.#messageTtl * 1000) throw new Disconnected();
        await this.#ask({ type: "send", messageId: message.messageId, content: message.content });
      } catch (error) {
        const age = performance.now() - message.since;
        if (age < this.#messageTtl * 1000) {
          if (error instanceof Disconnected) break;
          if (error.code === "not_member") {
            this.#joined = false;
            this.#join();
            break;
          }
          if (error.retry) wait = (error.retryAfter ?? RETRY_AFTER / 1000) * 1000;
        }
        if (wait === 0) {
          const why = error instanceof Disconnected ? "It is not known whether this was sent." : friendly(error);
          this.#timeline.fail(message.messageId, why, () => message.again(message.content));
        }
      }
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      else this.#outgoing.shift();
    }
    this.#sending = false;
  }
}

/** Keep a name's direction to itself: what stands beside it in a sentence is not turned around. */
function isolate(name) {
  return `\u2068${name}\u2069`;
}

function plural(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** A UUID. `crypto.randomUUID` is there only on pages that came over TLS or from this machine. */
function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
