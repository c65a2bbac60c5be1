// Where one writes: Enter sends, the field grows with its text, and says when there is too much of it.

import { $ } from "./elements.js";

export class Composer {
  contentBytes = 4096; // of a message, at most
  #field = $("composer-text");
  #on;

  /** `on` has `say(content)` and `typing()`. */
  constructor(on) {
    this.#on = on;
    this.#field.addEventListener("input", () => {
      this.#fit();
      if (this.#field.value) on.typing();
    });
    this.#field.addEventListener("keydown", (event) => {
      // 229: Safari ends a composition before the Enter that confirms it.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      $("composer").requestSubmit($("composer-send").disabled ? undefined : $("composer-send"));
    });
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  /** Put `text` into the field, in place of what is there. */
  draft(text) {
    this.#field.value = text;
    this.#fit();
  }

  /** Give a text back that was not sent, before what was written since. */
  giveBack(text) {
    this.draft(this.#field.value ? `${text}\n${this.#field.value}` : text);
    this.focus();
  }

  focus() {
    this.#field.focus();
  }

  #send() {
    const content = this.#field.value.replace(/[\uD800-\uDFFF]/gu, "\uFFFD"); // half a character is no UTF-8
    if (!/\S/u.test(content) || $("composer-send").disabled) return;
    this.draft("");
    this.focus();
    this.#on.say(content);
  }

  #fit() {
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight + 2}px`;
    const tooMany = new TextEncoder().encode(this.#field.value).length - this.contentBytes;
    $("composer-problem").hidden = tooMany <= 0;
    $("composer-problem").textContent = tooMany > 0 ? `This is ${tooMany} bytes too long.` : "";
    $("composer-send").disabled = tooMany > 0;
  }
}
