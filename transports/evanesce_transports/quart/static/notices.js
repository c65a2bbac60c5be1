// The notices between the messages: who came and went, what was missed. Each is removed after a while, and people who come or
// go one after the other share one.

import { vanish } from "./candles.js";
import { list, t } from "./i18n.js";
import { linkButton } from "./message-view.js";

const LIFE = 20_000; // ms
const LEAVING = 300; // ms
const MAX_NOTICES = 50;
const MAX_NAMES = 3; // in one notice; of more people it tells the number

/**
 * @typedef {object} Notice
 * @property {HTMLElement} element
 * @property {number} [timer]
 * @property {"arrived" | "left"} [kind] of people
 * @property {string[]} names the first ones of these people
 * @property {number} count of these people
 */

export class Notices {
  #append;
  #removed;
  /** @type {Set<Notice>} */
  #notices = new Set();

  /**
   * @param {(element: HTMLElement) => void} append puts a notice at the end of the list
   * @param {(element: HTMLElement) => void} removed called after a notice was removed
   */
  constructor(append, removed) {
    this.#append = append;
    this.#removed = removed;
  }

  /** Return whether there is none. */
  get isEmpty() {
    return this.#notices.size === 0;
  }

  /**
   * Add a notice.
   *
   * @param {string} text
   */
  add(text) {
    this.#add({ element: createNotice(text), names: [], count: 0 });
  }

  /**
   * Add a notice with a button, which is removed when it was pressed, or after so many ms.
   *
   * @param {string} text
   * @param {string} label of the button
   * @param {() => void} pressed
   * @param {number} life ms
   */
  addOffer(text, label, pressed, life) {
    /** @type {Notice} */
    const notice = { element: createNotice(text), names: [], count: 0 };
    const offer = linkButton(label, () => {
      this.#remove(notice);
      pressed();
    });
    notice.element.append(" ", offer);
    this.#add(notice, life);
  }

  /**
   * Add a notice, unless one with this text is shown.
   *
   * @param {string} text
   */
  addOnce(text) {
    if (![...this.#notices].some(({ element }) => element.textContent === text)) this.add(text);
  }

  /**
   * Add that somebody came or went: to the notice at the end of the list if that says the same of others.
   *
   * @param {"arrived" | "left"} kind
   * @param {string} name
   */
  addPerson(kind, name) {
    let notice = [...this.#notices].at(-1);
    if (notice?.kind !== kind || notice.element.nextElementSibling !== null) {
      notice = { element: createNotice(""), kind, names: [], count: 0 };
      this.#add(notice);
    }
    notice.count++;
    if (notice.names.length <= MAX_NAMES) notice.names.push(name);
    const { count, names } = notice;
    notice.element.textContent =
      count > MAX_NAMES ? t(`people.${kind}Many`, { count }) : t(`people.${kind}`, { names: list(names), count });
    this.#keep(notice);
  }

  /** Remove all. */
  clear() {
    for (const notice of this.#notices) this.#remove(notice);
  }

  /** @param {Notice} notice */
  #add(notice, life = LIFE) {
    this.#notices.add(notice);
    this.#keep(notice, life);
    this.#append(notice.element);
    const [oldest] = this.#notices;
    if (this.#notices.size > MAX_NOTICES) this.#remove(oldest);
  }

  /** @param {Notice} notice */
  #keep(notice, life = LIFE) {
    clearTimeout(notice.timer);
    notice.timer = setTimeout(async () => {
      await vanish(notice.element, 0).finished;
      this.#remove(notice);
    }, life - LEAVING);
  }

  /** @param {Notice} notice */
  #remove(notice) {
    if (!this.#notices.delete(notice)) return;
    clearTimeout(notice.timer);
    notice.element.remove();
    this.#removed(notice.element);
  }
}

/** @param {string} text */
function createNotice(text) {
  const element = document.createElement("li");
  element.className = "notice";
  element.textContent = text;
  return element;
}
