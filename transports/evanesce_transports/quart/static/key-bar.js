// What the page always says of a room that is encrypted from end to end: what that protects, or that the key is missing or wrong;
// and where the user gives the key, or lets the browser keep it.

import { checkable, checkbox, create, labelled } from "./dom.js";
import { focusFirstField } from "./elements.js";
import { t } from "./i18n.js";

/**
 * `none`: the room is not encrypted.
 *
 * @typedef {"none" | "encrypted" | "missing" | "wrong"} KeyState
 */

export class KeyBar {
  #element;
  #keys;
  #given;
  /** @type {KeyState} */
  #state = "none";

  /**
   * @param {HTMLElement} element which is empty
   * @param {import("./room-key.js").RoomKeys} keys
   * @param {() => void} given called when the user has given another key
   */
  constructor(element, keys, given) {
    this.#element = element;
    this.#keys = keys;
    this.#given = given;
  }

  /**
   * Show the state of the key of a room.
   *
   * @param {KeyState} state
   * @param {string} roomId
   */
  show(state, roomId) {
    if (state === this.#state) return;
    this.#state = state;
    this.#element.hidden = state === "none";
    this.#element.classList.toggle("problem", state === "missing" || state === "wrong");
    if (state === "none") this.#element.replaceChildren();
    else if (state === "encrypted") this.#element.replaceChildren(text(t("encrypted.protects")), this.#keeping(roomId));
    else this.#element.replaceChildren(text(t(`encrypted.${state}`)), this.#form(roomId));
  }

  /** Focus the field for the key, if there is one. */
  focus() {
    focusFirstField(this.#element);
  }

  /** @param {string} roomId */
  #keeping(roomId) {
    const kept = checkbox({ checked: this.#keys.isKept(roomId) });
    kept.addEventListener("change", () => {
      this.#keys.keep(roomId, kept.checked);
      kept.checked = this.#keys.isKept(roomId);
    });
    const more = create("summary", { textContent: t("encrypted.more") });
    const limits = create("p", { textContent: t("encrypted.limits") });
    return create("details", {}, more, limits, checkable(t("encrypted.keep"), kept, t("encrypted.keepText")));
  }

  /** @param {string} roomId */
  #form(roomId) {
    const field = create("input", { type: "password", required: true, autocomplete: "off", dir: "ltr" });
    const problem = create("p", { className: "problem", hidden: true, textContent: t("encrypted.noKey") });
    problem.setAttribute("role", "alert");
    const submit = create("button", { textContent: t("encrypted.use") });
    const form = create("form", { className: "fields", autocomplete: "off" }, labelled(t("encrypted.paste"), field));
    form.append(submit, problem);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      problem.hidden = this.#keys.takeFromText(roomId, field.value);
      if (problem.hidden) this.#given();
      else field.focus();
    });
    return form;
  }
}

/** @param {string} sentence */
function text(sentence) {
  return create("p", { textContent: sentence });
}
