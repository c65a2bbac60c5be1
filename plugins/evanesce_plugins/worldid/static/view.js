// What is seen while World App is waited for: a QR code, a link, how far it is, and a way out.

import { button, drawQr, element } from "./elements.js";

export class View {
  #ending = new AbortController();
  #state = element("p", { role: "status" });
  #qr = element("div", { className: "worldid-qr", role: "img", "aria-label": "QR code for World App" });
  #link = element("a", { className: "worldid-open", target: "_blank", rel: "noopener noreferrer" }, "Open World App on this device");
  #element;

  /** Draws at the end of `place`, under a heading where there is one; it ends when `signal` is aborted. */
  constructor(place, signal, heading) {
    const title = heading === undefined ? [] : [element("p", { className: "worldid-step" }, heading)];
    const cancel = button("Cancel", () => this.end("cancelled"), "quiet");
    const group = { className: "worldid-view", role: "group", "aria-label": "World ID", tabIndex: -1 };
    this.#element = element("div", group, ...title, this.#state, this.#qr, this.#link, cancel);
    this.#hide();
    place.append(this.#element);
    this.#element.focus({ preventScroll: true });
    if (signal.aborted) this.end("cancelled");
    signal.addEventListener("abort", () => this.end("cancelled"));
  }

  get signal() {
    return this.#ending.signal;
  }

  /** End it all; `code` is an error's of IDKit. */
  end(code) {
    this.#ending.abort(code);
  }

  /** Take it away. */
  remove() {
    this.#element.remove();
  }

  say(text) {
    this.#state.textContent = text;
  }

  /** Show how World App gets at the request; within World App there is no address, and it knows by itself. */
  show(address) {
    if (!address) {
      this.say("Confirm in World App.");
      return;
    }
    this.say("Scan this code with World App, or open World App on this device, and confirm there.");
    this.#link.href = address;
    this.#link.hidden = false;
    this.#qr.hidden = false;
    drawQr(this.#qr, address).then(() => this.#element.scrollIntoView({ block: "nearest" }));
  }

  /** World App has the request: nobody needs the ways to it any more. */
  done(text) {
    this.#hide();
    this.say(text);
  }

  #hide() {
    this.#qr.hidden = true;
    this.#link.hidden = true;
  }
}
