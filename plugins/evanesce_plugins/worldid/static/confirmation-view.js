// What the page shows while it waits for World App: a QR code, a link, the progress, and a button to cancel.

import { button, element } from "./elements.js";
import { showQrCode } from "./resources.js";
import { textsFor } from "./texts.js";

export class ConfirmationView {
  #ending = new AbortController();
  #step = element("p", { className: "worldid-step", hidden: true });
  #state = element("p", { role: "status" });
  #qr = element("div", { className: "worldid-qr", role: "img" });
  #link = element("a", { className: "worldid-open", target: "_blank", rel: "noopener noreferrer" });
  #host;
  #texts;
  #element;

  /**
   * Append the view to `place`.
   *
   * @param {HTMLElement} place
   * @param {Pick<Page.Host, "language" | "signal">} host whose signal ends the view
   */
  constructor(place, host) {
    const { signal } = host;
    this.#host = host;
    this.#texts = textsFor(host);
    this.#qr.setAttribute("aria-label", this.#texts.requestQr);
    this.#link.textContent = this.#texts.openHere;
    const cancel = button(this.#texts.cancel, () => this.end("cancelled"), "quiet");
    const group = { className: "worldid-view", role: "group", "aria-label": "World ID", tabIndex: -1 };
    this.#element = element("div", group, this.#step, this.#state, this.#qr, this.#link, cancel);
    this.#hide();
    place.append(this.#element);
    this.#element.focus({ preventScroll: true });
    if (signal.aborted) this.end("cancelled");
    signal.addEventListener("abort", () => this.end("cancelled"));
  }

  /** The texts in the language of the page. */
  get texts() {
    return this.#texts;
  }

  /** The signal that is aborted when the view ends; its reason is the code of the failure. */
  get signal() {
    return this.#ending.signal;
  }

  /**
   * Abort the signal.
   *
   * @param {string} code of the failure, as IDKit has them
   */
  end(code) {
    this.#ending.abort(code);
  }

  /** Remove the view from the page. */
  remove() {
    this.#element.remove();
  }

  /** @param {string} text */
  showState(text) {
    this.#state.textContent = text;
  }

  /**
   * Show which of several confirmations comes next.
   *
   * @param {string} text
   */
  showStep(text) {
    this.#step.textContent = text;
    this.#step.hidden = false;
    this.hideRequest(this.#texts.moment);
  }

  /**
   * Show how to open a request in World App.
   *
   * @param {string} address of the request; "" within World App, which opens the request itself
   */
  showRequest(address) {
    if (!address) {
      this.showState(this.#texts.confirm);
      return;
    }
    this.showState(this.#texts.scan);
    this.#link.href = address;
    this.#link.hidden = false;
    this.#qr.hidden = false;
    showQrCode(this.#qr, address, this.#host).then(() => this.#element.scrollIntoView({ block: "nearest" }));
  }

  /**
   * Hide the request, because World App has it, and show another state.
   *
   * @param {string} text
   */
  hideRequest(text) {
    this.#hide();
    this.showState(text);
  }

  #hide() {
    this.#qr.hidden = true;
    this.#link.hidden = true;
  }
}
