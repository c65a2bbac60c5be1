// The section of the room that is open: its messages, members, typing indicator and composer, and its buttons.

import { withKey } from "./addresses.js";
import { Alerts } from "./alerts.js";
import { Composer } from "./composer.js";
import { Refused } from "./client/index.js";
import { describeError, Problem, showError } from "./errors.js";
import { duration, t } from "./i18n.js";
import { Hues } from "./hues.js";
import { describeReason } from "./reasons.js";
import { personItem, textItem } from "./people-list.js";
import { RoomTools } from "./room-tools.js";
import { Room } from "./room.js";
import { Scroller } from "./scroller.js";
import { SharePanel } from "./share-panel.js";
import { unnamed } from "./format.js";
import { listen } from "./shortcuts.js";
import { Timeline } from "./timeline.js";
import { TypingIndicator } from "./typing-indicator.js";

/**
 * What the view calls.
 *
 * @typedef {object} RoomViewListener
 * @property {(text: string | null, retry?: boolean) => void} banner
 * @property {() => void} accountChanged
 * @property {() => void} left the user wants to leave the room
 * @property {() => void} signedOut the server does not accept the token
 * @property {() => void} reopen joins the room again
 * @property {Page.Attempt} attempt
 * @property {() => AbortSignal} dialogs returns a signal that closes the dialogs which are open now
 * @property {(title: string, text: string, retry?: boolean) => void} stopped the page is not in the room any more
 */

export class RoomView {
  #elements;
  #confirm;
  #accounts;
  #listener;
  #private;
  #alerts;
  #composer;
  #scroller;
  #panels;
  /** @type {Room | null} */
  #room = null;
  /** @type {RoomTools | null} */
  #tools = null;
  /** @type {Timeline | null} */
  #timeline = null;
  /** @type {Protocol.RoomReply | null} */
  #description = null;
  #hues = new Hues(() => false);
  #roomId = "";
  #userId = "";
  #waits = false; // for the user to sign in again
  /** @type {number | undefined} */
  #countdown;

  /**
   * @param {import("./elements.js").Elements} elements
   * @param {import("./confirm-dialog.js").ConfirmDialog} confirm
   * @param {import("./account-store.js").AccountStore} accounts
   * @param {Page.Private} ofUser
   * @param {RoomViewListener} listener
   */
  constructor(elements, confirm, accounts, ofUser, listener) {
    this.#elements = elements;
    this.#confirm = confirm;
    this.#accounts = accounts;
    this.#listener = listener;
    this.#private = ofUser;
    this.#alerts = new Alerts(ofUser.alerts, ofUser.unread);
    this.#composer = new Composer(elements.composer, {
      send: (content) => this.#room?.send(content, this.#tools?.takeSendOptions() ?? {}),
      typing: () => this.#room?.typing(),
      up: () => this.#timeline?.focusLast() ?? false,
      escape: () => this.#tools?.cancelReply(),
    });
    const { room, members, share, tools } = elements;
    this.#scroller = new Scroller(elements);
    this.#panels = [share.panel, share.emptyPanel].map((panel) => new SharePanel(panel, () => this.#shareByHand()));
    room.share.addEventListener("click", () => this.#share());
    share.link.addEventListener("focus", () => share.link.select());
    room.leave.addEventListener("click", () => listener.left());
    room.close.addEventListener("click", () => this.#close());
    tools.rename.addEventListener("click", () => this.#rename());
    tools.alerts.addEventListener("click", () => this.#alerts.open(listener.dialogs()));
    tools.help.addEventListener("click", () => openHelp(listener.dialogs()));
    listen(document, (shortcut) => this.#shortcut(shortcut));
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
   */
  join(roomId, userId) {
    const { keys, names } = this.#private;
    const clock = { now: () => room.now() };
    const hues = (this.#hues = new Hues((user) => user === userId || room.members.has(user) || timeline.shows(user)));
    hues.of(userId); // first: the user's own is the same in all rooms, and in the bar
    /** @type {Timeline} */
    const timeline = new Timeline(this.#elements.timeline, this.#scroller, { userId, hues }, clock, {
      menu: (message, opener) => tools.timelineListener.menu(message, opener),
      pressed: (message, event) => tools.timelineListener.pressed(message, event),
      gone: (messageId) => tools.timelineListener.gone(messageId),
    });
    const typing = new TypingIndicator(this.#elements.room.typing, (member) => room.name(member));
    /** @type {Room} */
    const room = new Room(roomId, keys.secrets(roomId), timeline, this.#accounts, {
      happened: (event) => tools.take(event),
      stateChanged: (state, seconds, reason) => this.#showState(state, seconds, reason),
      answered: () => this.#listener.banner(null),
      membersChanged: () => this.#showMembers(room),
      accountChanged: () => this.#listener.accountChanged(),
      typing: (member) => typing.add(member),
      typingStopped: (member) => (member === null ? typing.clear() : typing.remove(member)),
      described: (description) => this.#describe(description),
      limited: (bytes) => this.#composer.limit(bytes),
      messageTtlChanged: (seconds) => {
        this.#elements.room.messageTtl.textContent = t("room.life", { time: duration(seconds) });
      },
      admitted: () => keys.admitted(roomId),
      edit: (content) => this.#composer.restore(content),
      refused: (error) => this.#refused(error),
      closed: (reason) => this.#listener.stopped(t("stopped.closed"), describeReason(reason)),
      removed: (reason) => this.#listener.stopped(t("stopped.removed"), reason),
      disconnected: (code, reason) => this.#disconnected(code, reason),
    });
    const services = {
      ...{ keys, alerts: this.#alerts, composer: this.#composer },
      attempt: this.#listener.attempt,
      reopen: this.#listener.reopen,
      dialogs: this.#listener.dialogs,
      withKey: (/** @type {string} */ link) => this.#withKey(link),
    };
    const tools = new RoomTools(this.#elements, services, { roomId, userId, room, timeline });
    // A draft is of one person, and for one room.
    if (roomId !== this.#roomId || userId !== this.#userId) this.#composer.clear();
    this.#room = room;
    this.#tools = tools;
    this.#timeline = timeline;
    this.#roomId = roomId;
    this.#userId = userId;
    this.#showName(names.get(roomId));
    this.#alerts.enter(roomId);
    this.#description = null;
    this.#elements.room.close.hidden = true;
    this.#elements.members.count.textContent = "–";
    this.#shareAddress();
    this.#scroller.toEnd();
    room.connect();
    this.#composer.focus();
  }

  /** Leave the room, if there is one. */
  leave() {
    clearInterval(this.#countdown);
    this.#room?.leave();
    this.#tools?.leave();
    this.#alerts.leave();
    this.#room = null;
    this.#tools = null;
    this.#timeline = null;
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

  /** Say that there is no network, as the browser says, until the server answers. */
  doubtConnection() {
    if (this.#room === null) return;
    this.#listener.banner(t("connection.offline"));
    this.#room.wake();
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
    else if (state === "connecting") banner(t("connection.connecting"));
    else if (state === "unavailable") banner(t("connection.unavailable"));
    else {
      let left = Math.max(1, Math.ceil(seconds));
      const show = () => {
        const values = { reason: describeReason(reason), seconds: Math.max(1, left--) };
        banner(t(reason ? "connection.lostWhy" : "connection.lost", values), true);
      };
      show();
      this.#countdown = setInterval(show, 1000);
    }
  }

  /** @param {Room} room */
  #showMembers({ members, memberCount }) {
    const { count, dialog, list } = this.#elements.members;
    count.textContent = t("people.count", { count: memberCount });
    this.#elements.timeline.empty.classList.toggle("alone", memberCount <= 1);
    if (!dialog.open) return; // hundreds of items, each time that somebody comes or goes
    this.#elements.tools.facts.textContent = this.#tools?.facts ?? "";
    const own = this.#accounts.current()?.userId;
    const items = [...members].map(([userId, name]) =>
      personItem(name, {
        hue: this.#hues.of(userId),
        isOwn: userId === own,
        about: this.#tools?.canOpenPerson(userId) ? () => this.#tools?.openPerson({ userId, name }) : null,
      }),
    );
    const more = memberCount - members.size;
    if (more > 0) items.push(textItem(t(members.size ? "people.more" : "people.tooMany", { count: more })));
    list.replaceChildren(...items);
  }

  /** @param {Protocol.RoomReply} description */
  #describe(description) {
    this.#description = description;
    this.#tools?.describe(description);
    if (this.#room !== null) this.#showMembers(this.#room); // what can be done about them is known now
    this.#shareAddress();
    this.#elements.room.close.hidden = description.createdBy !== this.#accounts.current()?.userId;
  }

  /** @param {unknown} error */
  #refused(error) {
    const retry = !(error instanceof Refused && error.code === "room_not_found");
    this.#listener.stopped(t("stopped.refused"), describeError(error), retry);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #disconnected(code, reason) {
    if (code === 4401) this.#listener.signedOut();
    else this.#listener.stopped(t("stopped.disconnected"), describeReason(reason) || t("stopped.byServer"), true);
  }

  /** @param {string} link of the open room */
  #withKey(link) {
    return withKey(link, this.#private.keys.secrets(this.#roomId).key);
  }

  /** Let the panels share the link of this room, without an invite. */
  #shareAddress() {
    const address = this.#withKey(this.#description?.deepLink ?? location.origin + location.pathname);
    this.#elements.share.link.value = address;
    for (const panel of this.#panels) panel.show(address);
  }

  #share() {
    const { dialog, problem } = this.#elements.share;
    showError(problem, null);
    dialog.showModal();
  }

  /** Show the link, for the user to copy it. */
  #shareByHand() {
    const { dialog, link, problem } = this.#elements.share;
    if (!dialog.open) dialog.showModal();
    showError(problem, new Problem(t("share.byHand")));
    link.focus();
    link.select();
  }

  async #rename() {
    const { openName } = await import("./name-dialog.js");
    const signal = this.#listener.dialogs();
    openName(this.#private.names, this.#roomId, (name) => this.#showName(name || undefined), signal);
  }

  /** @param {string | undefined} name the user's own of the room */
  #showName(name) {
    this.#elements.room.name.textContent = name ?? unnamed(this.#roomId);
  }

  /** @type {(shortcut: import("./shortcuts.js").Shortcut) => boolean} */
  #shortcut(shortcut) {
    if (shortcut === "help") openHelp(this.#listener.dialogs());
    if (shortcut === "help") return true;
    if (this.#room === null || this.#waits) return false;
    const { room, members } = this.#elements;
    const acts = {
      latest: () => this.#scroller.toEnd(),
      people: () => members.open.click(),
      share: () => room.share.click(),
      write: () => this.#composer.focus(),
      messages: () => this.#timeline?.focusLast(),
    };
    acts[shortcut]();
    return true;
  }

  async #close() {
    this.#elements.focus.menu.hidePopover(); // the dialog gives the focus back to what has it now
    if (!(await this.#confirm.ask(t("room.closeTitle"), [t("room.closeText")], t("room.close")))) return;
    try {
      await this.#room?.close();
    } catch (error) {
      this.#listener.banner(describeError(error));
    }
  }
}

/** @param {AbortSignal} signal */
async function openHelp(signal) {
  const help = await import("./help-dialog.js");
  help.openHelp(signal);
}
