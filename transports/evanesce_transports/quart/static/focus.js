// Where the focus is: never nowhere because what had it is gone, and never below an open menu.

import { canHaveFocus, firstControl, isShown } from "./elements.js";

/** @typedef {import("./elements.js").Elements["focus"]} Places */

export class FocusKeeper {
  #places;
  /**
   * What had the focus last, and what it was in, from the inside to the outside.
   *
   * @type {{ element: Element, around: Element[] } | null}
   */
  #last = null;
  #isChecking = false;

  /** @param {Places} places that get the focus, in this order, where what had it is gone */
  constructor(places) {
    this.#places = places;
    document.addEventListener("focusin", ({ target }) => {
      if (target instanceof Element) this.#last = { element: target, around: ancestors(target) };
    });
    document.addEventListener("focusout", (event) => this.#left(event.relatedTarget));
    // A press beside everything takes the focus away, as the user wants it.
    document.addEventListener("pointerdown", () => (this.#last = null), { capture: true });
    new MutationObserver((changes) => {
      const isGone = this.#last?.element.isConnected === false;
      if (isGone || changes.some(({ type }) => type === "attributes")) this.#check();
    }).observe(document.body, {
      childList: true,
      subtree: true,
      attributes: true,
      attributeFilter: ["hidden", "disabled", "open", "inert"],
    });
  }

  /** Look at the focus when the browser has taken it from what is gone. */
  async #check() {
    if (this.#isChecking || this.#last === null) return;
    this.#isChecking = true;
    for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
    this.#isChecking = false;
    if (this.#last === null || document.activeElement !== document.body) return;
    const { element, around } = this.#last;
    if (element.matches(":disabled") && isShown(element)) return; // until what was begun with it has ended
    this.#last = null; // a message that is gone must not be kept
    (canHaveFocus(element) ? /** @type {HTMLElement} */ (element) : this.#heir(around))?.focus();
  }

  /** @param {Element[]} around */
  #heir(around) {
    const { menu, menuOpen, inOrder } = this.#places;
    if (around.includes(menu) && canHaveFocus(menuOpen)) return menuOpen;
    const dialog = around.findIndex((one) => one.localName === "dialog");
    if (dialog < 0 || !isShown(around[dialog])) return inOrder.find(canHaveFocus);
    const nearest = around.slice(0, dialog + 1).map((one) => (isShown(one) ? firstControl(one) : undefined));
    return nearest.find((one) => one !== undefined);
  }

  /** @param {EventTarget | null} next what has the focus now */
  #left(next) {
    const { menu, menuOpen } = this.#places;
    if (!(next instanceof Element) || next === menuOpen || menu.contains(next)) return;
    if (menu.matches(":popover-open")) menu.hidePopover();
  }
}

/** @param {Element} element */
function ancestors(element) {
  const found = [];
  for (let one = element.parentElement; one !== null; one = one.parentElement) found.push(one);
  return found;
}
