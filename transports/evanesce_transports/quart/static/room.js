// A room as this page is a member of it: joining and joining again, its events, its members, and the commands to it.

import { longestText, RoomCipher } from "./client/index.js";
import { Connection } from "./connection.js";
import { describeError, Disconnected, Problem, Refused } from "./errors.js";
import { counted, duration, isolate } from "./format.js";
import { OutgoingMessages, retryDelay } from "./outgoing.js";

const NO_KEY = "This room is encrypted, and its link has no key (#k=). Ask for the whole link.";
const TYPING_INTERVAL = 3_200; // ms: the server passes on one `typing` in 3 s

/**
 * What a room calls.
 *
 * @typedef {object} RoomListener
 * @property {(state: "connecting" | "reconnecting" | "joined" | "unavailable", ms?: number) => void} stateChanged `ms`:
 *   until the next attempt to reconnect; `unavailable`: the server cannot let the page join at the moment
 * @property {() => void} membersChanged
 * @property {() => void} accountChanged the server has sent another name for the user
 * @property {(userId: string) => void} typing
 * @property {(userId: string | null) => void} typingStopped null: of all members
 * @property {(room: Protocol.RoomReply) => void} described
 * @property {(bytes: number) => void} limited how long a text may be
 * @property {(seconds: number) => void} messageTtlChanged for how long the room's messages live
 * @property {() => void} admitted the user is in the room; an invite is not needed any more
 * @property {(content: string) => void} edit the user wants to change a message that was not sent
 * @property {(error: unknown) => void} refused this room cannot be joined
 * @property {(reason: string) => void} closed
 * @property {(reason: string) => void} removed the user was removed from the room
 * @property {(code: number, reason: string) => void} disconnected the connection was closed, and is not opened again
 */

export class Room {
  #roomId;
  #invite;
  #cipher;
  #encrypted = false;
  #contentBytes = 0;
  #timeline;
  #accounts;
  #clock;
  #listener;
  #connection;
  #outgoing;
  #isJoined = false;
  /** @type {string | null} */
  #cursor = null;
  #inGap = false; // joining after a gap: newer messages must not move the cursor
  #typingSentAt = -Infinity;
  /** @type {number | undefined} */
  #typingTimer;
  /** @type {number | undefined} */
  #joinTimer;
  /** @type {number | undefined} */
  #membersTimer;

  /**
   * The names of the members by their ids. Empty where there are more than the server lists.
   *
   * @type {Map<string, string>}
   */
  members = new Map();
  memberCount = 0;

  /**
   * @param {string} roomId
   * @param {Page.RoomSecrets} secrets
   * @param {import("./timeline.js").Timeline} timeline
   * @param {import("./account-store.js").AccountStore} accounts
   * @param {import("./clock.js").ServerClock} clock
   * @param {RoomListener} listener
   */
  constructor(roomId, { key, invite }, timeline, accounts, clock, listener) {
    this.#roomId = roomId;
    this.#invite = invite;
    this.#cipher = key === undefined ? null : new RoomCipher(key, roomId);
    this.#timeline = timeline;
    this.#accounts = accounts;
    this.#clock = clock;
    this.#listener = listener;
    this.#connection = new Connection(roomId, () => accounts.current()?.token, clock, {
      welcome: (welcome) => this.#welcome(welcome),
      event: (event) => this.#event(event),
      reconnecting: (ms) => {
        this.#suspend();
        listener.stateChanged("reconnecting", ms);
      },
      disconnected: (code, reason) => {
        this.#suspend();
        listener.disconnected(code, reason);
      },
    });
    this.#outgoing = new OutgoingMessages({
      send: (messageId, content) => this.#send(messageId, content),
      notMember: () => {
        this.#setJoined(false);
        this.#join();
      },
      failed: (messageId, content, reason) => timeline.markFailed(messageId, reason, () => listener.edit(content)),
    });
  }

  /** Connect to the server and join the room. */
  join() {
    this.#listener.stateChanged("connecting");
    this.#connection.connect();
  }

  /** Leave the room, close the connection, and remove the room's messages from the page. */
  leave() {
    this.#suspend();
    this.#outgoing.clear();
    this.#connection.close();
    this.#timeline.clear();
  }

  /** Reconnect now if the connection is lost. */
  reconnectNow() {
    this.#connection.reconnectNow();
  }

  /** Check the connection and the time after the page was hidden or the device slept. */
  wake() {
    this.#connection.reconnectNow();
    this.#connection.ping();
  }

  /** Send the newer token: a connection lives until the last token that it was given expires. */
  renew() {
    if (this.#isJoined) this.#connection.hello().catch(() => {});
  }

  /**
   * Send a message, now or when the room is joined.
   *
   * @param {string} content
   */
  send(content) {
    const messageId = this.#outgoing.add(content);
    this.#timeline.addPending(messageId, content);
    this.#cancelTyping();
    this.#outgoing.flush();
  }

  /** Send `typing`, at most once in `TYPING_INTERVAL`. */
  typing() {
    if (!this.#isJoined || this.#typingTimer !== undefined) return;
    this.#typingTimer = setTimeout(
      () => {
        this.#typingTimer = undefined;
        this.#typingSentAt = performance.now();
        this.#request({ type: "typing" }).catch(() => {});
      },
      Math.max(0, this.#typingSentAt + TYPING_INTERVAL - performance.now()),
    );
  }

  /**
   * Unsend a message of the user's.
   *
   * @param {string} messageId
   */
  async unsend(messageId) {
    try {
      await this.#request({ type: "unsend", messageId });
    } catch (error) {
      this.#timeline.addNotice(describeError(error));
    }
  }

  /** Close the room for everyone. */
  close() {
    return this.#request({ type: "close_room" });
  }

  /** Request the list of members, unless the page knows all of them. */
  async requestMembers() {
    clearTimeout(this.#membersTimer);
    if (this.members.size === this.memberCount) return;
    try {
      await this.#request({ type: "members" });
    } catch (error) {
      if (!(error instanceof Refused) || error.code !== "rate_limited") return;
      this.#membersTimer = setTimeout(() => this.requestMembers(), retryDelay(error));
    }
  }

  /**
   * Return the name of a member, isolated for a sentence; "Someone" where it is not known.
   *
   * @param {string} userId
   */
  name(userId) {
    const name = this.members.get(userId);
    return name === undefined ? "Someone" : isolate(name);
  }

  /**
   * @template {Protocol.RoomCommandType} Type
   * @param {Protocol.RoomCommand<Type>} command
   */
  #request(command) {
    // `RoomCommand` is `Command` without the id of the room, which is added here.
    const whole = /** @type {Protocol.Command<Type>} */ (/** @type {unknown} */ ({ ...command, roomId: this.#roomId }));
    return this.#connection.request(whole);
  }

  /** @param {boolean} isJoined */
  #setJoined(isJoined) {
    this.#isJoined = isJoined;
    if (isJoined) this.#outgoing.resume();
    else this.#outgoing.pause();
  }

  /** Stop what needs the connection. */
  #suspend() {
    this.#setJoined(false);
    clearTimeout(this.#joinTimer);
    clearTimeout(this.#membersTimer);
    this.#cancelTyping();
    this.#listener.typingStopped(null);
  }

  #cancelTyping() {
    clearTimeout(this.#typingTimer);
    this.#typingTimer = undefined;
  }

  /** @param {Protocol.Welcome} welcome */
  #welcome(welcome) {
    this.#contentBytes = welcome.limits.contentBytes;
    this.#listener.limited(this.#cipher ? longestText(this.#contentBytes) : this.#contentBytes);
    this.#timeline.update();
    this.#accounts.update({ userId: welcome.userId, displayName: welcome.displayName });
    this.#listener.accountChanged();
    this.#join();
  }

  async #join() {
    try {
      await this.#request({
        type: "join",
        ...(this.#cursor === null ? {} : { since: this.#cursor }),
        ...(this.#invite === undefined ? {} : { invite: this.#invite }),
      });
      this.#listener.described(await this.#request({ type: "room" }));
    } catch (error) {
      if (error instanceof Disconnected) return;
      if (!(error instanceof Refused && error.retry)) {
        this.leave();
        this.#listener.refused(error);
        return;
      }
      this.#listener.stateChanged("unavailable");
      this.#joinTimer = setTimeout(() => this.#join(), retryDelay(error) * (1 + Math.random() / 2));
    }
  }

  /** @param {Exclude<Protocol.Frame[number], Protocol.ErrorReply>} event */
  #event(event) {
    if ("roomId" in event && event.roomId !== this.#roomId) return;
    switch (event.type) {
      case "joined":
        this.#joined(event);
        break;
      case "message":
        if (!this.#inGap) this.#cursor = event.cursor;
        this.#listener.typingStopped(event.senderId);
        this.#add(event);
        break;
      case "sent":
        this.#timeline.markSent(event.messageId, event.expiresAt);
        break;
      case "unsent":
        this.#timeline.remove(event.messageId);
        break;
      case "member_joined":
        this.#timeline.addNotice(`${isolate(event.displayName)} joined`);
        this.members.set(event.userId, event.displayName);
        this.#setMemberCount(event.memberCount);
        break;
      case "member_left":
        this.#timeline.addNotice(`${this.name(event.userId)} ${event.removed ? "was removed" : "left"}`);
        this.members.delete(event.userId);
        this.#listener.typingStopped(event.userId);
        this.#setMemberCount(event.memberCount);
        break;
      case "member_updated":
        this.#memberUpdated(event);
        break;
      case "member_count":
        this.members.clear();
        this.#setMemberCount(event.memberCount);
        break;
      case "members":
        this.#setMembers(event);
        break;
      case "typing":
        this.#listener.typing(event.userId);
        break;
      case "skipped":
        this.#timeline.addNotice(
          `${counted(event.count, "message")} expired before ${event.count === 1 ? "it" : "they"} reached you`,
        );
        break;
      case "gap":
        this.#cursor = event.since;
        this.#inGap = true;
        this.#join();
        break;
      case "pong":
        this.#timeline.update();
        break;
      case "room_updated":
        this.#setMessageTtl(event.messageTtl);
        break;
      case "removed":
        this.leave();
        this.#listener.removed(this.#describeRemoval(event));
        break;
      case "room_closed":
        this.leave();
        this.#listener.closed(event.reason);
        break;
    }
  }

  /** @param {Protocol.Joined} joined */
  #joined(joined) {
    this.#inGap = false;
    for (const messageId of joined.unsent) this.#timeline.remove(messageId);
    if (joined.missed === null) this.#timeline.addNotice("You may have missed messages that have expired");
    else if (joined.missed > 0) this.#timeline.addNotice(`You missed ${counted(joined.missed, "message")}`);
    this.#encrypted = joined.room.encrypted;
    this.#setMessageTtl(joined.room.messageTtl);
    if (this.#encrypted && !this.#cipher) this.#timeline.addNotice(NO_KEY);
    for (const message of joined.messages) this.#add(message);
    this.#cursor = joined.cursor;
    this.#setMembers(joined);
    this.#listener.stateChanged("joined");
    this.#listener.admitted();
    this.#setJoined(true);
  }

  /**
   * Add a message to the timeline. With a key, all content has to be encrypted, whatever the server says about the room.
   *
   * @param {Protocol.MessageEvent} message
   */
  #add(message) {
    const { content, senderId, messageId } = message;
    if (this.#cipher) this.#timeline.add(message, this.#cipher.open(content, senderId, messageId));
    else if (this.#encrypted) this.#timeline.add(message, Promise.resolve(null));
    else this.#timeline.add(message);
  }

  /**
   * @param {string} messageId
   * @param {string} text
   */
  async #send(messageId, text) {
    if (this.#encrypted && !this.#cipher) throw new Problem(NO_KEY);
    const senderId = this.#accounts.current()?.userId ?? "";
    const content = this.#cipher ? await this.#cipher.seal(text, senderId, messageId) : text;
    return this.#request({ type: "send", messageId, content });
  }

  /** @param {number} seconds */
  #setMessageTtl(seconds) {
    this.#outgoing.setMessageTtl(seconds);
    this.#listener.messageTtlChanged(seconds);
  }

  /** @param {Protocol.Removed} removed */
  #describeRemoval({ reason, until }) {
    const by =
      reason === "vote" ? "The people in the room have voted for it." : "The creator of the room has removed you.";
    if (until === undefined) return by;
    const seconds = Math.ceil((Date.parse(until) - this.#clock.now()) / 1000);
    return `${by} You can come back in ${duration(Math.max(1, seconds))}.`;
  }

  /** @param {Protocol.MemberUpdated} event */
  #memberUpdated({ userId, displayName }) {
    this.#timeline.addNotice(`${this.name(userId)} is now ${isolate(displayName)}`);
    this.members.set(userId, displayName);
    if (userId === this.#accounts.current()?.userId) {
      this.#accounts.update({ displayName });
      this.#listener.accountChanged();
    }
    this.#setMemberCount(this.memberCount);
  }

  /** @param {Protocol.Joined | Protocol.MembersReply} event */
  #setMembers({ members, memberCount }) {
    this.members = new Map((members ?? []).map(({ userId, displayName }) => [userId, displayName]));
    this.#setMemberCount(memberCount);
  }

  /** @param {number} memberCount */
  #setMemberCount(memberCount) {
    this.memberCount = memberCount;
    this.#listener.membersChanged();
  }
}
