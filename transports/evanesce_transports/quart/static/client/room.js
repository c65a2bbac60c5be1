// A room as this client is a member of it: joining and joining again, its events in order, and the commands to it.

import { Content } from "./content.js";
import { NotSent, OutcomeUnknown } from "./errors.js";
import { Messages } from "./messages.js";
import { Outbox } from "./outbox.js";
import { EventStream } from "./stream.js";
import { Alarm } from "./time.js";

const JOIN_RETRY = 1_000; // ms before a refused join is repeated, where the server gives no time
const DEFAULT_TTL = 60; // seconds, before the server has said for how long messages live

/** The protocol's events of a room that the program gets as they are. */
const PASSED_ON = Object.freeze([
  ...["member_joined", "member_left", "member_updated", "member_count", "typing"],
  ...["room_updated", "member_muted", "vote", "removed", "room_closed"],
]);

/**
 * @typedef {import("./errors.js").Refused} Refused
 * @typedef {import("./index.js").AnyCommand} AnyCommand
 * @typedef {import("./index.js").RoomEvent} RoomEvent
 * @typedef {import("./index.js").Protocol.MessageEvent} MessageEvent
 * @typedef {import("./socket.js").Incoming} Incoming
 * @typedef {Incoming | Exclude<RoomEvent, { type: "message" }>} Taken an event whose message is not opened yet
 */

/**
 * What a room uses of its client.
 *
 * @typedef {object} RoomContext
 * @property {import("./environment.js").Environment} environment
 * @property {import("./time.js").ServerClock} clock
 * @property {(command: AnyCommand, written?: () => void) => Promise<any>} request
 * @property {() => import("./index.js").Protocol.Welcome | null} welcome
 * @property {() => void} left
 */

export class Room {
  #context;
  #roomId;
  /** @type {string | undefined} */
  #invite;
  #content;
  #waiting;
  /** @type {import("./index.js").RoomState} */
  #state = "joining";
  /** @type {import("./index.js").Protocol.RoomOptions | null} */
  #options = null;
  /** @type {string | null} */
  #cursor = null;
  #joins = 0; // commands without a reply
  #inGap = false; // joining after a gap: newer messages must not move the cursor
  #isResuming = false;
  /** @type {EventStream<Taken>} */
  #stream = new EventStream((events) => this.#skipped(events));
  #events = this.#read();
  #messages;
  #outbox;
  #retry;

  /**
   * @param {RoomContext} context
   * @param {string} roomId
   * @param {import("./index.js").JoinOptions} options
   */
  constructor(context, roomId, { key, invite, waiting = () => {} }) {
    this.#context = context;
    this.#roomId = roomId;
    this.#invite = invite;
    this.#content = new Content(key, roomId);
    this.#waiting = waiting;
    const { environment, clock } = context;
    this.#messages = new Messages(environment, clock, (messageIds) =>
      this.#stream.push(messageIds.map((messageId) => ({ type: "expired", roomId, messageId }))),
    );
    this.#outbox = new Outbox(environment, {
      transmit: (message, written) => this.#transmit(message, written),
      notMember: () => this.#join(),
      messageTtl: () => this.#options?.messageTtl ?? context.welcome()?.messageTtl ?? DEFAULT_TTL,
    });
    this.#retry = new Alarm(environment, () => this.#join());
  }

  get roomId() {
    return this.#roomId;
  }

  get state() {
    return this.#state;
  }

  /** Return the options of the room, as the server has told them last; null before the first `joined`. */
  get options() {
    return this.#options;
  }

  /** Return the events, in order, until `left`. All loops over a room share its events. */
  [Symbol.asyncIterator]() {
    // Without `return`: a loop that is left early does not leave the room.
    return { next: () => this.#events.next(), [Symbol.asyncIterator]: () => this[Symbol.asyncIterator]() };
  }

  /**
   * Send a message; see `Outbox.add`. Throws `KeyMissing` too.
   *
   * @param {string} content
   * @param {import("./index.js").SendOptions} [options]
   */
  send(content, options = {}) {
    if (this.#state === "left") return Promise.reject(new NotSent("The room was left."));
    return this.#outbox.add(content, options);
  }

  /**
   * Take a message of one's own back. Throws as `request` does.
   *
   * @param {string} messageId
   */
  async unsend(messageId) {
    await this.request({ type: "unsend", messageId });
  }

  /**
   * Send a command to the room and return its reply. Throws `Refused`, `NotSent` and `OutcomeUnknown`.
   *
   * @param {AnyCommand} command without the id of the room
   */
  request(command) {
    return this.#context.request({ ...command, roomId: this.#roomId });
  }

  /** Leave the room. */
  leave() {
    if (this.#state === "joined") this.request({ type: "leave" }).catch(() => {});
    this.end("left");
  }

  /** Join the room: there is a connection. */
  connected() {
    this.#joins = 0;
    this.#join();
  }

  /** Wait until there is a connection. */
  disconnected() {
    if (this.#state === "left") return;
    this.#state = "joining";
    this.#retry.clear();
    this.#outbox.pause();
  }

  /** Tell what has expired, and give up the messages that cannot be sent in time. */
  sweep() {
    this.#messages.sweep();
    this.#outbox.sweep();
  }

  /** Give up the messages that wait: another user has signed in. */
  clearOutbox() {
    this.#outbox.clear();
  }

  /**
   * Take the events of one frame.
   *
   * @param {Incoming[]} events
   */
  receive(events) {
    if (this.#state === "left") return;
    /** @type {Taken[]} */
    const batch = [];
    let end = events.findIndex(({ type }) => type === "removed" || type === "room_closed");
    if (end < 0) end = events.length;
    for (const event of events.slice(0, end + 1)) this.#take(event, batch);
    this.#stream.push(batch);
    if (end < events.length) this.end(events[end].type === "removed" ? "removed" : "closed");
  }

  /**
   * End the membership.
   *
   * @param {"left" | "closed" | "removed" | "refused"} reason
   * @param {Refused} [error] why the server does not let it join
   */
  end(reason, error) {
    if (this.#state === "left") return;
    this.#state = "left";
    this.#retry.clear();
    this.#messages.end();
    this.#outbox.pause();
    this.#outbox.clear();
    this.#stream.push([{ type: "left", roomId: this.#roomId, reason, ...(error && { error }) }]);
    this.#stream.end();
    this.#context.left();
  }

  async #join() {
    if (this.#state === "left") return;
    this.#state = "joining";
    this.#outbox.pause();
    this.#joins += 1;
    this.#isResuming = this.#cursor !== null;
    try {
      await this.request({
        type: "join",
        ...(this.#cursor === null ? {} : { since: this.#cursor }),
        ...(this.#invite === undefined ? {} : { invite: this.#invite }),
      });
    } catch (error) {
      if (error instanceof NotSent || error instanceof OutcomeUnknown) return; // until there is a connection
      this.#joins -= 1;
      const refused = /** @type {Refused} */ (error);
      if (!refused.retry) {
        this.end("refused", refused);
        return;
      }
      const delay = (refused.retryAfter ?? JOIN_RETRY / 1000) * (1 + this.#context.environment.random() / 2);
      this.#retry.set(delay * 1000);
      this.#waiting(refused, delay);
    }
  }

  /**
   * Take an event, and add to `batch` what the program gets of it.
   *
   * @param {Incoming} event
   * @param {Taken[]} batch
   */
  #take(event, batch) {
    const roomId = this.#roomId;
    if (event.type === "joined") this.#joined(event, batch);
    else if (event.type === "message") {
      if (!this.#inGap) this.#cursor = event.cursor;
      if (this.#messages.isNew(event)) batch.push(event);
    } else if (event.type === "unsent") {
      if (this.#messages.takeBack(event.messageId)) batch.push(event);
    } else if (event.type === "skipped") {
      batch.push({ type: "missed", roomId, count: event.count, reason: "skipped" });
    } else if (event.type === "gap") {
      this.#cursor = event.since;
      this.#inGap = true;
      this.#join();
    } else if (PASSED_ON.includes(event.type) && !("ref" in event)) {
      if (event.type === "room_updated" && this.#options !== null) {
        const { messageTtl, access, locked } = event;
        this.#options = { ...this.#options, messageTtl, access, locked };
      }
      batch.push(event);
    }
  }

  /**
   * @param {import("./index.js").Protocol.Joined} joined
   * @param {Taken[]} batch
   */
  #joined({ members, memberCount, messages, cursor, missed, unsent, room }, batch) {
    const roomId = this.#roomId;
    this.#joins = Math.max(0, this.#joins - 1);
    if (this.#joins === 0) {
      // Else there was a gap after this command, and the reply to a later one is on its way.
      this.#inGap = false;
      this.#cursor = cursor;
    }
    this.#invite = undefined; // whoever was admitted stays admitted
    this.#options = room ?? this.#options;
    this.#state = "joined";
    const resumed = this.#isResuming;
    batch.push({ type: "joined", roomId, ...(members && { members }), memberCount, room, resumed });
    if (missed === null || missed > 0) batch.push({ type: "missed", roomId, count: missed, reason: "resume" });
    for (const message of messages) if (this.#messages.isNew(message)) batch.push(message);
    for (const messageId of unsent) {
      if (this.#messages.takeBack(messageId)) batch.push({ type: "unsent", roomId, messageId });
    }
    this.#outbox.resume();
  }

  /**
   * Return the events for the program. Which messages of a frame came too late is decided for all of them at once, when the
   * program reads the first.
   *
   * @returns {AsyncGenerator<RoomEvent, undefined>}
   */
  async *#read() {
    const roomId = this.#roomId;
    for (let batch = await this.#stream.take(); batch !== undefined; batch = await this.#stream.take()) {
      if (batch.some(({ type }) => type === "message")) await this.#context.clock.doubted;
      const late = new Set(batch.filter((event) => this.#isWanted(event) && this.#messages.isLate(event)));
      const [first] = late;
      for (const event of batch) {
        if (event.type !== "message") yield /** @type {RoomEvent} */ (event);
        else if (event === first) yield { type: "missed", roomId, count: late.size, reason: "expired" };
        else if (!late.has(event)) yield* this.#give(event);
      }
    }
    return undefined;
  }

  /**
   * @param {MessageEvent} message
   * @returns {AsyncGenerator<RoomEvent, undefined>}
   */
  async *#give(message) {
    const opened = await this.#content.open(message, this.#options?.encrypted === true);
    if (!this.#isWanted(message)) return undefined;
    if (this.#messages.isLate(message)) yield { type: "missed", roomId: this.#roomId, count: 1, reason: "expired" };
    else {
      this.#messages.give(message);
      yield opened;
    }
    return undefined;
  }

  /**
   * Return whether an event is a message that is still meant for the program.
   *
   * @param {Taken} event
   * @returns {event is MessageEvent}
   */
  #isWanted(event) {
    return event.type === "message" && this.#state !== "left" && !this.#messages.isUnsent(event.messageId);
  }

  /**
   * @param {import("./outbox.js").Outgoing} message
   * @param {() => void} written
   */
  async #transmit(message, written) {
    const { messageId, content, ttl, replyTo } = message;
    const userId = this.#context.welcome()?.userId ?? "";
    const sealed = (message.sealed ??= this.#content.seal(content, userId, messageId, !!this.#options?.encrypted));
    // Without encryption the message is written at once, so that a program may send and close.
    const optional = { ...(ttl !== undefined && { ttl }), ...(replyTo !== undefined && { replyTo }) };
    const command = { type: "send", roomId: this.#roomId, messageId, ...optional };
    const text = typeof sealed === "string" ? sealed : await sealed;
    return this.#context.request({ ...command, content: text }, written);
  }

  /**
   * Return how many messages are missed of events that the program did not read in time.
   *
   * @param {Taken[]} events
   * @returns {Taken[]}
   */
  #skipped(events) {
    /** @type {number | null} */
    let count = 0;
    for (const event of events) {
      if (event.type === "message" && count !== null) count += 1;
      else if (event.type === "missed") count = event.count === null || count === null ? null : count + event.count;
    }
    return count === 0 ? [] : [{ type: "missed", roomId: this.#roomId, count, reason: "skipped" }];
  }
}
