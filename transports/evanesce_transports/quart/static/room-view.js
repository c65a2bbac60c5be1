// The section of the room that is open: its messages, members, typing indicator and composer, and its buttons.

import { withKey } from "./addresses.js";
import { Composer } from "./composer.js";
import { Refused } from "./client/index.js";
import { describeError } from "./errors.js";
import { counted, duration } from "./format.js";
import { Room } from "./room.js";
import { Timeline } from "./timeline.js";
import { TypingIndicator } from "./typing-indicator.js";

const COPIED_FOR = 2_000; // ms for which the button says that the link is copied
const CLOSING = "The room closes for everyone, and its link stops working.";

/**
 * What the view calls.
 *
 * @typedef {object} RoomViewListener
 * @property {(text: string | null, retry?: boolean) => void} banner
 * @property {() => void} accountChanged
 * @property {() => void} left the user wants to leave the room
 * @property {() => void} signedOut the server does not accept the token
 * @property {(title: string, text: string, retry?: boolean) => void} stopped the page is not in the room any more
 */

export class RoomView {
  #elements;
  #confirm;
  #accounts;
  #listener;
  #composer;
  /** @type {Room | null} */
  #room = null;
  /** @type {Protocol.RoomReply | null} */
  #description = null;
  /** @type {Page.RoomSecrets} */
  #secrets = {};
  #roomId = "";
  #userId = "";
  #waits = false; // for the user to sign in again
  /** @type {number | undefined} */
  #countdown;

  /**
   * @param {Pick<import("./elements.js").Elements, "room" | "timeline" | "composer" | "members" | "share">} elements
   * @param {import("./confirm-dialog.js").ConfirmDialog} confirm
   * @param {import("./account-store.js").AccountStore} accounts
   * @param {RoomViewListener} listener
   */
  constructor(elements, confirm, accounts, listener) {
    this.#elements = elements;
    this.#confirm = confirm;
    this.#accounts = accounts;
    this.#listener = listener;
    this.#composer = new Composer(elements.composer, {
      send: (content) => this.#room?.send(content),
      typing: () => this.#room?.typing(),
    });
    const { room, members } = elements;
    room.share.addEventListener("click", () => this.#copyLink());
    room.leave.addEventListener("click", () => listener.left());
    room.close.addEventListener("click", () => this.#close());
    members.open.addEventListener("click", () => {
      this.#room?.requestMembers();
      members.dialog.showModal();
      if (this.#room !== null) this.#showMembers(this.#room);
    });
  }

  /**
   * Join a room.
   *
   * @param {string} roomId
   * @param {string} userId of the user who is signed in
   * @param {Page.RoomSecrets} secrets
   */
  join(roomId, userId, secrets) {
    const clock = { now: () => room.now() };
    const timeline = new Timeline(this.#elements.timeline, userId, clock, (messageId) => room.unsend(messageId));
    const typing = new TypingIndicator(this.#elements.room.typing, (member) => room.name(member));
    /** @type {Room} */
    const room = new Room(roomId, secrets, timeline, this.#accounts, {
      stateChanged: (state, seconds, reason) => this.#showState(state, seconds, reason),
      membersChanged: () => this.#showMembers(room),
      accountChanged: () => this.#listener.accountChanged(),
      typing: (member) => typing.add(member),
      typingStopped: (member) => (member === null ? typing.clear() : typing.remove(member)),
      described: (description) => this.#describe(description),
      limited: (bytes) => this.#composer.limit(bytes),
      messageTtlChanged: (seconds) => (this.#elements.room.messageTtl.textContent = duration(seconds)),
      admitted: () => this.#forgetInvite(),
      edit: (content) => this.#composer.restore(content),
      refused: (error) => this.#refused(error),
      closed: (reason) => this.#listener.stopped("This room is closed", reason),
      removed: (reason) => this.#listener.stopped("You are not in this room any more", reason),
      disconnected: (code, reason) => this.#disconnected(code, reason),
    });
    this.#room = room;
    this.#roomId = roomId;
    this.#userId = userId;
    this.#secrets = secrets;
    this.#description = null;
    this.#elements.room.close.hidden = true;
    this.#elements.members.count.textContent = "–";
    room.connect();
    this.#composer.focus();
  }

  /** Leave the room, if there is one. */
  leave() {
    clearInterval(this.#countdown);
    this.#room?.leave();
    this.#room = null;
    this.#waits = false;
  }

  /** Stay in the room with what is in it, and go on when the user has signed in again. */
  wait() {
    clearInterval(this.#countdown);
    this.#waits = this.#room !== null;
  }

  /**
   * Return whether this room waits for the user to sign in again.
   *
   * @param {string | undefined} roomId
   */
  waitsIn(roomId) {
    return this.#waits && this.#roomId === roomId;
  }

  /**
   * Go on in the room that waits. Return false where this is another user, whose messages they are not.
   *
   * @param {string} userId
   */
  goOn(userId) {
    if (this.#room === null || userId !== this.#userId) return false;
    this.#waits = false;
    this.#room.connect();
    this.#room.renew();
    this.#composer.focus();
    return true;
  }

  /** Remove the text of a message that was not sent. */
  clearDraft() {
    this.#composer.clear();
  }

  /** Check the connection and the time, and reconnect now if the connection is lost. */
  wake() {
    this.#room?.wake();
  }

  /** Send the newer token to the server. */
  renew() {
    this.#room?.renew();
  }

  /** @type {import("./room.js").RoomListener["stateChanged"]} */
  #showState(state, seconds = 0, reason = "") {
    const { banner } = this.#listener;
    clearInterval(this.#countdown);
    if (state === "joined") banner(null);
    else if (state === "connecting") banner("Connecting…");
    else if (state === "unavailable") banner("The server cannot reach its message store at the moment. Trying again…");
    else {
      let left = Math.max(1, Math.ceil(seconds));
      const why = reason && `${reason} `;
      const show = () => banner(`No connection. ${why}Trying again in ${Math.max(1, left--)} s.`, true);
      show();
      this.#countdown = setInterval(show, 1000);
    }
  }

  /** @param {Room} room */
  #showMembers({ members, memberCount }) {
    const { count, dialog, list } = this.#elements.members;
    count.textContent = counted(memberCount, "person", "people");
    if (!dialog.open) return; // hundreds of items, each time that somebody comes or goes
    const own = this.#accounts.current()?.userId;
    const items = [...members].map(([userId, name]) => {
      const label = document.createElement("bdi");
      label.textContent = name;
      return listItem(label, userId === own ? " (you)" : "");
    });
    const more = memberCount - members.size;
    if (more > 0) items.push(listItem(members.size ? `and ${more} more` : `${more} people: too many to list`));
    list.replaceChildren(...items);
  }

  /** @param {Protocol.RoomReply} description */
  #describe(description) {
    this.#description = description;
    this.#elements.room.close.hidden = description.createdBy !== this.#accounts.current()?.userId;
  }

  /** @param {unknown} error */
  #refused(error) {
    const retry = !(error instanceof Refused && error.code === "room_not_found");
    this.#listener.stopped("You cannot join this room", describeError(error), retry);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #disconnected(code, reason) {
    if (code === 4401) this.#listener.signedOut();
    else this.#listener.stopped("The connection is closed", reason || "The server has closed it.", true);
  }

  /** Remove the invite from the address bar: who was admitted stays admitted, and the page is shown to others. */
  #forgetInvite() {
    if (this.#secrets.invite === undefined) return;
    history.replaceState(null, "", withKey(location.pathname, this.#secrets.key));
  }

  async #copyLink() {
    const { dialog, link } = this.#elements.share;
    const { share } = this.#elements.room;
    const address = withKey(this.#description?.deepLink ?? location.origin + location.pathname, this.#secrets.key);
    try {
      await navigator.clipboard.writeText(address);
    } catch {
      // The page is not from a secure origin, or the user has not allowed it.
      link.value = address;
      dialog.showModal();
      link.select();
      return;
    }
    share.textContent = "Copied";
    setTimeout(() => (share.textContent = "Copy link"), COPIED_FOR);
  }

  async #close() {
    if (!(await this.#confirm.ask("Close this room?", [CLOSING], "Close room"))) return;
    try {
      await this.#room?.close();
    } catch (error) {
      this.#listener.banner(describeError(error));
    }
  }
}

/** @param {(Node | string)[]} children */
function listItem(...children) {
  const item = document.createElement("li");
  item.append(...children);
  return item;
}
