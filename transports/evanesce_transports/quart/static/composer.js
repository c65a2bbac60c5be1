// The field for a new message: Enter sends, the field grows with its text, and a text that is too long is reported.

import { t } from "./i18n.js";

export class Composer {
  #elements;
  #listener;
  #maxBytes = 4096;
  /** @type {string | null} */
  #forbidden = null; // why the user may not write

  /**
   * @param {import("./elements.js").Elements["composer"]} elements
   * @param {{ send(content: string): void, typing(): void, up(): boolean, escape(): void }} listener `up` and `escape`: these keys were pressed, the first in the empty field
   */
  constructor(elements, listener) {
    this.#elements = elements;
    this.#listener = listener;
    const { form, text, send } = elements;
    text.addEventListener("input", () => {
      this.#update();
      if (text.value) listener.typing();
    });
    text.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Escape") listener.escape();
      if (event.key === "ArrowUp" && text.value === "" && listener.up()) event.preventDefault();
      // 229: Safari ends a composition before the Enter that confirms it.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      form.requestSubmit(send.disabled ? undefined : send);
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  /**
   * Set the size of the longest message that the server takes.
   *
   * @param {number} bytes
   */
  limit(bytes) {
    this.#maxBytes = bytes;
  }

  /**
   * Forbid to send, and say why; null allows it.
   *
   * @param {string | null} reason
   */
  forbid(reason) {
    if (reason === this.#forbidden) return;
    this.#forbidden = reason;
    this.#update();
  }

  /**
   * Close the field, where nothing can be written; false opens it.
   *
   * @param {boolean} isClosed
   */
  close(isClosed) {
    this.#elements.text.disabled = isClosed;
    this.#update();
  }

  /** Remove the text. */
  clear() {
    this.#set("");
  }

  /**
   * Put the text of a message that was not sent back into the field, before the text that was written since.
   *
   * @param {string} text
   */
  restore(text) {
    const { value } = this.#elements.text;
    this.#set(value ? `${text}\n${value}` : text);
    this.focus();
  }

  /** Focus the field. */
  focus() {
    this.#elements.text.focus();
  }

  /** @param {string} text */
  #set(text) {
    this.#elements.text.value = text;
    this.#update();
  }

  #send() {
    const { text, send } = this.#elements;
    // Without regular expressions: the browser would keep the text in `RegExp.input`. UTF-8 has no lone surrogates.
    const content = new TextDecoder("utf-8", { ignoreBOM: true }).decode(new TextEncoder().encode(text.value));
    if (content.trim() === "" || send.disabled) return;
    this.clear();
    this.focus();
    this.#listener.send(content);
  }

  #update() {
    const { text, send, problem } = this.#elements;
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight + 2}px`;
    const excess = new TextEncoder().encode(text.value).length - this.#maxBytes;
    const reason = excess > 0 ? t("composer.tooLong", { count: excess }) : this.#forbidden;
    problem.hidden = reason === null;
    problem.textContent = reason;
    send.disabled = reason !== null || text.disabled;
  }
}
