// A menu beside an element, for the keyboard as well: the arrow keys, Home and End lead through it, Escape and Tab close it.

import { create } from "./dom.js";

/** @typedef {{ label: string, act: () => unknown, isDangerous?: boolean }} MenuItem */

const MARGIN = 8; // px between the menu and the edges of the window

export class Menu {
  #element = create("div", { className: "menu actions", popover: "auto" });
  /** @type {HTMLElement | null} */
  #opener = null;

  constructor() {
    this.#element.setAttribute("role", "menu");
    this.#element.addEventListener("keydown", (event) => this.#pressed(event));
    // A press elsewhere closes it, too.
    this.#element.addEventListener("toggle", (event) => {
      if (/** @type {ToggleEvent} */ (event).newState === "closed") this.#closed();
    });
  }

  /**
   * Show the menu, with the focus on its first item.
   *
   * @param {HTMLElement} opener beside which it stands, and which gets the focus back
   * @param {string} label
   * @param {MenuItem[]} items
   */
  open(opener, label, items) {
    this.#element.setAttribute("aria-label", label);
    this.#element.replaceChildren(...items.map((item) => this.#item(item)));
    (opener.closest("main") ?? document.body).append(this.#element);
    this.#element.showPopover();
    this.#opener = opener;
    opener.setAttribute("aria-expanded", "true");
    this.#place(opener.getBoundingClientRect());
    this.#buttons()[0]?.focus();
  }

  /** Close the menu. The focus goes back if it was in the menu. */
  close() {
    if (this.#opener === null) return;
    if (this.#element.contains(document.activeElement)) this.#opener.focus();
    this.#element.remove(); // which hides it
    this.#closed();
  }

  #closed() {
    this.#opener?.removeAttribute("aria-expanded");
    this.#opener = null;
    this.#element.replaceChildren();
    this.#element.remove();
  }

  /** @param {MenuItem} item */
  #item({ label, act, isDangerous = false }) {
    const item = create("button", { type: "button", textContent: label, className: isDangerous ? "danger" : "" });
    item.setAttribute("role", "menuitem");
    item.tabIndex = -1;
    item.addEventListener("click", () => {
      this.close(); // first: what `act` opens gives the focus back to where it was
      act();
    });
    return item;
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const all = this.#buttons();
    const at = all.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    /** @type {Record<string, number>} */
    const moves = { ArrowDown: at + 1, ArrowUp: at - 1 + all.length, Home: 0, End: all.length - 1 };
    if (event.key === "Tab") this.close();
    else if (event.key in moves) {
      event.preventDefault();
      all[moves[event.key] % all.length].focus();
    }
    event.stopPropagation(); // a key that the messages know does nothing here
  }

  #buttons() {
    return /** @type {HTMLButtonElement[]} */ ([...this.#element.children]);
  }

  /** @param {DOMRect} anchor */
  #place(anchor) {
    const { style, offsetWidth, offsetHeight } = this.#element;
    const isBelow = anchor.bottom + offsetHeight + MARGIN <= innerHeight;
    const top = isBelow ? anchor.bottom : anchor.top - offsetHeight;
    const isRightToLeft = document.documentElement.dir === "rtl";
    const left = isRightToLeft ? anchor.left : anchor.right - offsetWidth;
    style.insetInlineStart = "auto";
    style.inset = "auto";
    style.top = `${Math.max(MARGIN, top)}px`;
    style.left = `${Math.min(Math.max(MARGIN, left), innerWidth - offsetWidth - MARGIN)}px`;
  }
}
