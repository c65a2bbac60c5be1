// What a room has beside its messages: rules and votes, the key of its encryption, how messages are sent, and what the user does
// with messages and people. What is not needed at once is loaded when it is.

import { Ballots } from "./ballots.js";
import { describeError } from "./errors.js";
import { duration, t } from "./i18n.js";
import { KeyBar } from "./key-bar.js";
import { MessageActions } from "./message-actions.js";
import { Rules } from "./rules.js";
import { SendOptions } from "./send-options.js";

const MAX_TIMER = 2 ** 31 - 1; // ms: the longest time that a timer takes

/**
 * What the tools use of the page.
 *
 * @typedef {object} Services
 * @property {Page.Attempt} attempt
 * @property {import("./room-key.js").RoomKeys} keys
 * @property {import("./alerts.js").Alerts} alerts
 * @property {import("./composer.js").Composer} composer
 * @property {(link: string) => string} withKey adds the key of the open room to a link
 * @property {() => AbortSignal} dialogs returns a signal that closes the dialogs which are open now
 * @property {() => void} reopen joins the room again, with another key
 */

/**
 * The room that is open.
 *
 * @typedef {object} OpenRoom
 * @property {string} roomId
 * @property {string} userId of the user
 * @property {import("./room.js").Room} room
 * @property {import("./timeline.js").Timeline} timeline
 */

export class RoomTools {
  #elements;
  #services;
  #open;
  #rules;
  #ballots;
  #actions;
  #keyBar;
  #options;
  #leaving = new AbortController();
  #hasOpened = false; // a message with the key that the page has
  /** @type {Map<string, number>} */
  #toldMutes = new Map(); // until when, by user id
  /** @type {import("./room-settings.js").RoomSettings | null} */
  #settings = null;
  /** @type {number | undefined} */
  #timer;

  /**
   * @param {Pick<import("./elements.js").Elements, "tools" | "sendOptions">} elements
   * @param {Services} services
   * @param {OpenRoom} open
   */
  constructor(elements, services, open) {
    const { roomId, userId, room, timeline } = open;
    const clock = { now: () => room.now() };
    const { tools } = elements;
    this.#elements = tools;
    this.#services = services;
    this.#open = open;
    this.#rules = new Rules(room.commands, clock);
    this.#ballots = new Ballots(tools.ballots, {
      ...{ rules: this.#rules, clock, userId },
      name: (member) => room.name(member),
      attempt: (button, work) => this.#attempt(button, work),
    });
    this.#actions = new MessageActions({
      ...{ userId, room, timeline },
      reply: (message) => this.#reply(message),
      person: (person) => this.openPerson(person),
      isCreator: () => this.#rules.isCreator(userId),
      canVote: (member) => this.#rules.canVote(member, room),
    });
    this.#keyBar = new KeyBar(tools.keyBar, services.keys, services.reopen);
    this.#options = new SendOptions(elements.sendOptions, () => services.composer.focus());
    this.#options.clear();
    this.#keyBar.show(this.#hasKey ? "encrypted" : "none", roomId);
    tools.settings.hidden = true;
    tools.settings.addEventListener("click", () => this.#openSettings(), { signal: this.#leaving.signal });
  }

  /** Return how the next message is to be sent. */
  takeSendOptions() {
    return this.#options.take();
  }

  /** Reply to nothing. */
  cancelReply() {
    this.#options.clearReply();
  }

  /**
   * What the timeline calls.
   *
   * @type {import("./timeline.js").TimelineListener}
   */
  get timelineListener() {
    return {
      menu: (message, opener) => this.#actions.open(message, opener),
      pressed: (message, event) => {
        if (event.key === "Escape") this.#services.composer.focus();
        else this.#actions.pressed(message, event);
      },
      gone: (messageId) => {
        this.#actions.gone(messageId);
        this.#options.gone(messageId);
        this.#services.alerts.gone(messageId);
      },
    };
  }

  /**
   * Take an event of the room.
   *
   * @param {import("./client/index.js").RoomEvent} event
   */
  take(event) {
    const before = this.#rules.options;
    if (this.#rules.take(event)) this.#update();
    if (event.type === "message") this.#arrived(event);
    else if (event.type === "joined") this.#joined(event.room);
    else if (event.type === "room_updated" && before !== null) this.#tellChanges(before, event);
    else if (event.type === "member_muted") this.#tellMute(event);
    else if (event.type === "vote" && event.outcome === "expired") {
      this.#notice(t("vote.expired", { name: this.#open.room.name(event.userId) }));
    }
  }

  /**
   * Take the description of the room.
   *
   * @param {Protocol.RoomReply} description
   */
  describe(description) {
    this.#rules.describe(description);
    this.#elements.settings.hidden = !this.#rules.isCreator(this.#open.userId);
  }

  /** Return the rules of the room in sentences. */
  get facts() {
    const { options } = this.#rules;
    if (options === null) return "";
    const { messageTtl, locked, access, encrypted } = options;
    const facts = [t("facts.ttl", { time: duration(messageTtl) })];
    if (locked) facts.push(t("facts.locked"));
    if (access === "invite") facts.push(t("facts.invited"));
    if (encrypted) facts.push(t("facts.encrypted"));
    return facts.join(" ");
  }

  /**
   * Show what can be done about a person.
   *
   * @param {{ userId: string, name: string }} person
   */
  async openPerson(person) {
    const { openPerson } = await import("./person-dialog.js");
    if (this.#leaving.signal.aborted) return;
    openPerson(this.#context, person, this.#rules.isCreator(this.#open.userId));
  }

  /**
   * Return whether something can be done about a person.
   *
   * @param {string} userId
   */
  canOpenPerson(userId) {
    return this.#rules.isCreator(this.#open.userId) || this.#rules.canVote(userId, this.#open.room);
  }

  /** Show nothing of the room any more. */
  leave() {
    this.#leaving.abort();
    clearTimeout(this.#timer);
    this.#ballots.clear();
    this.#actions.close();
    this.#options.clear();
    this.#keyBar.show("none", this.#open.roomId);
    this.#services.composer.forbid(null);
    this.#services.composer.close(false);
  }

  get #hasKey() {
    return this.#services.keys.secrets(this.#open.roomId).key !== undefined;
  }

  /** @returns {import("./room-settings.js").RoomContext} */
  get #context() {
    const { room } = this.#open;
    const { attempt, withKey, dialogs } = this.#services;
    const limits = () => {
      const ttl = this.#rules.options?.messageTtl ?? 1; // all that there is to choose, where the server says nothing
      return { shortestTtl: ttl, longestTtl: ttl, ...room.limits };
    };
    return { rules: this.#rules, limits, attempt, withKey, dialogs };
  }

  async #openSettings() {
    const { RoomSettings } = await import("./room-settings.js");
    if (this.#leaving.signal.aborted) return;
    this.#settings ??= new RoomSettings(this.#context);
    this.#settings.open();
  }

  /** @param {import("./client/index.js").MessageEvent} message */
  #reply({ messageId, senderName, content }) {
    this.#options.reply(messageId, { name: senderName, text: content ?? t("message.unreadable") });
    this.#services.composer.focus();
  }

  /** @param {import("./client/index.js").MessageEvent} message */
  #arrived(message) {
    if (message.senderId !== this.#open.userId) this.#services.alerts.arrived(message);
    if (!message.encrypted || !this.#hasKey) return;
    this.#hasOpened ||= !message.unreadable;
    this.#keyBar.show(this.#hasOpened ? "encrypted" : "wrong", this.#open.roomId);
  }

  /** @param {Protocol.RoomOptions} options */
  #joined({ encrypted }) {
    if (this.#hasKey) this.#services.keys.admitted(this.#open.roomId);
    else this.#keyBar.show(encrypted ? "missing" : "none", this.#open.roomId);
    const isClosed = encrypted && !this.#hasKey;
    this.#services.composer.close(isClosed);
    if (isClosed) this.#keyBar.focus();
  }

  /** Show what holds now, and look again when the next mute ends. */
  #update() {
    const { room, userId } = this.#open;
    const { options } = this.#rules;
    this.#ballots.update();
    this.#settings?.update();
    if (options !== null) this.#options.offer(room.limits?.shortestTtl ?? options.messageTtl, options.messageTtl);
    const until = this.#rules.mutedUntil(userId);
    const time = until === undefined ? "" : duration(Math.max(1, Math.ceil((until - room.now()) / 1000)));
    this.#services.composer.forbid(until === undefined ? null : t("errors.mutedFor", { time }));
    clearTimeout(this.#timer);
    const left = this.#rules.nextEnd - room.now();
    if (left < Infinity) this.#timer = setTimeout(() => this.#update(), Math.min(Math.max(left, 0), MAX_TIMER));
  }

  /**
   * @param {Protocol.RoomOptions} before
   * @param {Protocol.RoomUpdated} now
   */
  #tellChanges(before, { messageTtl, access, locked }) {
    if (messageTtl !== before.messageTtl) this.#notice(t("changed.ttl", { time: duration(messageTtl) }));
    if (locked !== before.locked) this.#notice(t(locked ? "changed.locked" : "changed.unlocked"));
    if (access !== before.access) this.#notice(t(access === "invite" ? "changed.invited" : "changed.open"));
  }

  /** @param {Protocol.MemberMuted} event */
  #tellMute({ userId, until }) {
    const end = until === undefined ? 0 : Date.parse(until);
    if ((this.#toldMutes.get(userId) ?? 0) === end) return; // the server tells it again after each join
    if (this.#toldMutes.size > 1_000) this.#toldMutes.clear();
    this.#toldMutes.set(userId, end);
    const seconds = Math.max(1, Math.ceil((end - this.#open.room.now()) / 1000));
    const isOwn = userId === this.#open.userId;
    if (until === undefined) this.#notice(t(isOwn ? "changed.unmutedYou" : "changed.unmuted", this.#named(userId)));
    else if (!isOwn) this.#notice(t("changed.muted", { ...this.#named(userId), time: duration(seconds) }));
  }

  /** @param {string} userId */
  #named(userId) {
    return { name: this.#open.room.name(userId) };
  }

  /** @param {string} text */
  #notice(text) {
    this.#open.timeline.addNotice(text);
  }

  /**
   * @param {HTMLButtonElement} button
   * @param {() => Promise<void>} work
   */
  async #attempt(button, work) {
    button.disabled = true;
    try {
      await work();
    } catch (error) {
      this.#notice(describeError(error));
    }
    button.disabled = false;
  }
}
