// A room as this page is a member of it: its events as changes of the page, and the commands to it.

import { serverAddress } from "./addresses.js";
import { Client, longestText, newMessageId, OutcomeUnknown, Refused } from "./client/index.js";
import { describeError } from "./errors.js";
import { describeMissed, describeRemoval, isolate } from "./format.js";
import { t } from "./i18n.js";

const RETRY_DELAY = 1_000; // ms before a refused request is repeated, where the server gives no time
const MAX_RETRY_DELAY = 60_000; // ms
const SILENCE = 10_000; // ms without a word of the server, after which it is asked; the client waits 5 s for the answer
const RETURN = 60_000; // ms for which whoever was here before the connection was lost may come back without a word
const TYPING_INTERVAL = 3_200; // ms: the server passes on one `typing` in 3 s

/**
 * What a room calls.
 *
 * @typedef {object} RoomListener
 * @property {(state: "connecting" | "reconnecting" | "joined" | "unavailable", seconds?: number, reason?: string) => void} stateChanged
 *   `seconds`: until the next attempt to reconnect; `reason`: of the server, why it closed the connection; `unavailable`: the server cannot let the page join at the moment
 * @property {(event: import("./client/index.js").RoomEvent) => void} happened gets each event, before anything else is done with it
 * @property {() => void} answered the server has answered, on a connection that is there
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
  #isEncrypted;
  #timeline;
  #accounts;
  #listener;
  #client;
  #room;
  #hasLeft = false;
  #typingSentAt = -Infinity;
  /** @type {number | undefined} */
  #typingTimer;
  /** @type {number | undefined} */
  #silence;
  /** @type {Set<string>} */
  #returning = new Set(); // the ids of those who were members before the connection was lost, and are not yet again
  /** @type {number | undefined} */
  #returned;

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
   * @param {RoomListener} listener
   */
  constructor(roomId, secrets, timeline, accounts, listener) {
    this.#isEncrypted = secrets.key !== undefined;
    this.#timeline = timeline;
    this.#accounts = accounts;
    this.#listener = listener;
    this.#client = new Client(serverAddress(), { timeTold: () => this.#answered() });
    this.#room = this.#client.join(roomId, { ...secrets, waiting: () => listener.stateChanged("unavailable") });
    this.#followState();
    this.#followRoom();
  }

  /** Connect to the server and join the room, with the token of the user who is signed in. */
  connect() {
    const token = this.#accounts.current()?.token;
    this.#client.connect(token === undefined ? {} : { token });
  }

  /** Leave the room, close the connection, and remove the room's messages from the page. */
  leave() {
    this.#hasLeft = true;
    this.#suspend();
    this.#client.close();
    this.#timeline.clear();
  }

  /** Return the room of the client, for commands. */
  get commands() {
    return this.#room;
  }

  /** Return the limits that the server has told; null before. */
  get limits() {
    return this.#client.welcome?.limits ?? null;
  }

  /** Return the server's time in ms since 1970. */
  now() {
    return this.#client.now();
  }

  /** Check the connection and the time, and reconnect now if the connection is lost. */
  wake() {
    this.#client.check();
    this.#timeline.update();
  }

  /** Send the newer token: a connection lives until the last token that it was given expires. */
  renew() {
    const token = this.#accounts.current()?.token;
    if (token !== undefined) this.#client.renew(token);
  }

  /**
   * Send a message, now or when the room is joined.
   *
   * @param {string} content
   * @param {{ ttl?: number, replyTo?: string }} options
   */
  async send(content, options) {
    const messageId = newMessageId();
    this.#timeline.addPending(messageId, content);
    this.#cancelTyping();
    try {
      const { expiresAt } = await this.#room.send(content, { messageId, ...options });
      this.#timeline.markSent(messageId, expiresAt);
    } catch (error) {
      const isUnknown = error instanceof OutcomeUnknown;
      const reason = isUnknown ? t("message.perhapsSent") : describeError(error);
      this.#timeline.markFailed(messageId, reason, () => this.#listener.edit(content));
    }
  }

  /** Send `typing`, at most once in `TYPING_INTERVAL`. */
  typing() {
    if (this.#room.state !== "joined" || this.#typingTimer !== undefined) return;
    this.#typingTimer = setTimeout(
      () => {
        this.#typingTimer = undefined;
        this.#typingSentAt = performance.now();
        this.#room.request({ type: "typing" }).catch(() => {});
      },
      Math.max(0, this.#typingSentAt + TYPING_INTERVAL - performance.now()),
    );
  }

  /**
   * Unsend a message of the user's. Return whether it was taken back.
   *
   * @param {string} messageId
   */
  async unsend(messageId) {
    try {
      await this.#room.unsend(messageId);
      return true;
    } catch (error) {
      this.#timeline.addNotice(describeError(error));
      return false;
    }
  }

  /** Close the room for everyone. */
  async close() {
    try {
      await this.#room.request({ type: "close_room" });
    } catch (error) {
      if (!this.#hasLeft) throw error; // else it is closed, and its event came before the reply
    }
  }

  /** Request the list of members, unless the page knows all of them. */
  async requestMembers() {
    if (this.members.size === this.memberCount) return;
    const reply = await this.#ask({ type: "members" });
    if (reply) this.#setMembers(reply);
  }

  /**
   * Return the name of a member, isolated for a sentence; "someone" where it is not known.
   *
   * @param {string} userId
   */
  name(userId) {
    const name = this.members.get(userId);
    return name === undefined ? t("people.someone") : isolate(name);
  }

  /**
   * Send a command and return its reply, also after a refusal for now; undefined where there is none.
   *
   * @template {"room" | "members"} Type
   * @param {Protocol.RoomCommand<Type>} command
   * @returns {Promise<Protocol.Replies[Type] | undefined>}
   */
  async #ask(command) {
    while (this.#room.state === "joined") {
      try {
        return await this.#room.request(command);
      } catch (error) {
        if (!(error instanceof Refused && error.retry)) return undefined;
        const delay = error.retryAfter === undefined ? RETRY_DELAY : Math.min(error.retryAfter * 1000, MAX_RETRY_DELAY);
        await new Promise((resolve) => void setTimeout(resolve, delay));
      }
    }
    return undefined;
  }

  #answered() {
    this.#timeline.update();
    if (this.#room.state !== "joined") return;
    this.#heard();
    this.#listener.answered();
  }

  /** Ask the server when it says nothing from now on. */
  #heard() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      if (!document.hidden) this.#client.check(); // else when it is shown again
    }, SILENCE);
  }

  /** Stop what needs the connection. */
  #suspend() {
    clearTimeout(this.#silence);
    clearTimeout(this.#returned);
    this.#cancelTyping();
    this.#listener.typingStopped(null);
  }

  #cancelTyping() {
    clearTimeout(this.#typingTimer);
    this.#typingTimer = undefined;
  }

  async #followState() {
    for await (const state of this.#client) {
      if (this.#hasLeft) return;
      this.#stateChanged(state);
    }
  }

  async #followRoom() {
    for await (const event of this.#room) {
      if (this.#hasLeft) return;
      this.#event(event);
    }
  }

  /** @param {import("./client/index.js").StateEvent} state */
  #stateChanged(state) {
    if (state.state === "online") this.#welcome();
    else this.#suspend();
    this.#timeline.connected(state.state === "online");
    if (state.state === "connecting") this.#listener.stateChanged("connecting");
    else if (state.state === "offline") this.#listener.stateChanged("reconnecting", state.retryIn, state.reason);
    else if (state.state === "stopped") this.#listener.disconnected(state.code, state.reason);
  }

  #welcome() {
    const welcome = /** @type {Protocol.Welcome} */ (this.#client.welcome);
    const { contentBytes } = welcome.limits;
    this.#listener.limited(this.#isEncrypted ? longestText(contentBytes) : contentBytes);
    this.#accounts.update({ userId: welcome.userId, displayName: welcome.displayName });
    this.#listener.accountChanged();
  }

  /** @param {import("./client/index.js").RoomEvent} event */
  #event(event) {
    this.#listener.happened(event);
    this.#heard();
    switch (event.type) {
      case "joined":
        this.#joined(event);
        break;
      case "message":
        this.#listener.typingStopped(event.senderId);
        this.#timeline.add(event);
        break;
      case "unsent":
      case "expired":
        this.#timeline.remove(event.messageId);
        break;
      case "missed":
        this.#timeline.addNotice(describeMissed(event));
        break;
      case "member_joined":
        // Who was here before the server restarted has not left: the connections come back one after the other.
        if (!this.#returning.delete(event.userId)) this.#timeline.addPerson("arrived", isolate(event.displayName));
        this.members.set(event.userId, event.displayName);
        this.#setMemberCount(event.memberCount);
        break;
      case "member_left":
        if (event.removed) this.#timeline.addNotice(t("people.removed", { name: this.name(event.userId) }));
        else this.#timeline.addPerson("left", this.name(event.userId));
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
      case "typing":
        this.#listener.typing(event.userId);
        break;
      case "room_updated":
        this.#listener.messageTtlChanged(event.messageTtl);
        break;
      case "removed":
        this.leave();
        this.#listener.removed(describeRemoval(event, this.now()));
        break;
      case "room_closed":
        this.leave();
        this.#listener.closed(event.reason);
        break;
      case "left":
        this.leave();
        this.#listener.refused(event.error);
        break;
    }
  }

  /** @param {import("./client/index.js").JoinedEvent} joined */
  async #joined(joined) {
    const present = new Set((joined.members ?? []).map(({ userId }) => userId));
    this.#returning = new Set([...this.members.keys()].filter((userId) => !present.has(userId)));
    clearTimeout(this.#returned);
    this.#returned = setTimeout(() => this.#returning.clear(), RETURN);
    this.#listener.messageTtlChanged(joined.room.messageTtl);
    this.#setMembers(joined);
    this.#listener.stateChanged("joined");
    this.#listener.admitted();
    const description = await this.#ask({ type: "room" });
    if (description && !this.#hasLeft) this.#listener.described(description);
  }

  /** @param {Protocol.MemberUpdated} event */
  #memberUpdated({ userId, displayName }) {
    this.#timeline.addNotice(t("people.renamed", { before: this.name(userId), name: isolate(displayName) }));
    this.members.set(userId, displayName);
    if (userId === this.#accounts.current()?.userId) {
      this.#accounts.update({ displayName });
      this.#listener.accountChanged();
    }
    this.#setMemberCount(this.memberCount);
  }

  /** @param {Pick<Protocol.Joined, "members" | "memberCount">} event */
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
