// The votes that run in a room, each with what it is about, how it stands, how long it goes on, and a button to vote.

import { button, create } from "./dom.js";
import { duration, t } from "./i18n.js";

const TICK = 1_000; // ms

/**
 * What a ballot needs of the room.
 *
 * @typedef {object} Voting
 * @property {import("./rules.js").Rules} rules
 * @property {{ now(): number }} clock the server's time in ms since 1970
 * @property {(userId: string) => string} name returns the name of a member, isolated for a sentence
 * @property {string} userId of the user
 * @property {(button: HTMLButtonElement, work: () => Promise<void>) => Promise<void>} attempt
 */

/** @typedef {{ element: HTMLElement, text: HTMLElement, left: HTMLElement, vote: HTMLButtonElement }} Shown */

export class Ballots {
  #element;
  #voting;
  /** @type {Map<string, Shown>} */
  #shown = new Map(); // by the id of the person in question
  /** @type {number | undefined} */
  #timer;

  /**
   * @param {HTMLElement} element which is empty, and a live region
   * @param {Voting} voting
   */
  constructor(element, voting) {
    this.#element = element;
    this.#voting = voting;
  }

  /** Show the votes that run now. */
  update() {
    const { ballots } = this.#voting.rules;
    const running = new Set(ballots.map(({ userId }) => userId));
    for (const [userId, { element }] of this.#shown) {
      if (running.has(userId)) continue;
      this.#shown.delete(userId);
      element.remove();
    }
    for (const ballot of ballots) this.#show(ballot);
    this.#element.hidden = ballots.length === 0;
    if (ballots.length > 0) this.#timer ??= setInterval(() => this.update(), TICK);
    else this.clear();
  }

  /** Show none any more. */
  clear() {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#shown.clear();
    this.#element.replaceChildren();
    this.#element.hidden = true;
  }

  /** @param {import("./rules.js").Ballot} ballot */
  #show(ballot) {
    const shown = this.#shown.get(ballot.userId) ?? this.#add(ballot);
    const { votes, needed } = ballot;
    setText(shown.text, t("vote.state", { name: this.#voting.name(ballot.userId), votes, needed }));
    setText(shown.vote, t(ballot.hasVoted ? "vote.again" : "vote.vote"));
    const seconds = Math.max(0, Math.floor((ballot.endsAt - this.#voting.clock.now()) / 1000));
    setText(shown.left, t("message.left", { time: duration(seconds, "short") }));
  }

  /** @param {import("./rules.js").Ballot} ballot */
  #add({ userId }) {
    const text = create("span");
    const left = create("span", { className: "left" });
    left.setAttribute("aria-live", "off"); // it changes every second
    const { rules, attempt } = this.#voting;
    const vote = button("", () => attempt(vote, () => rules.vote(userId)));
    vote.hidden = userId === this.#voting.userId;
    const element = create("div", { className: "ballot" }, text, left, vote);
    const shown = { element, text, left, vote };
    this.#shown.set(userId, shown);
    this.#element.append(element);
    return shown;
  }
}

/**
 * Set a text only where it is another one: a live region reads it again otherwise.
 *
 * @param {HTMLElement} element
 * @param {string} text
 */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
