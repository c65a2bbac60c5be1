// The part of World ID in the account dialog: finishing the setup, and the account code for other devices.

import { formatAccountCode } from "./account-code.js";
import { ConfirmationView } from "./confirmation-view.js";
import { button, element, hint, problem } from "./elements.js";
import { attempt } from "./failures.js";
import { Proofs } from "./proofs.js";
import { isReady, showQrCode } from "./resources.js";
import { textsFor } from "./texts.js";

const COPIED_FOR = 2_000; // ms for which the button says that the code is copied

export class AccountSection {
  #place;
  #host;
  #texts;
  #config;
  #resources;
  #memory;

  /**
   * @param {HTMLElement} place
   * @param {Page.Host} host
   * @param {WorldId.Config} config
   * @param {import("./resources.js").Resources} resources
   * @param {import("./account-memory.js").AccountMemory} memory
   */
  constructor(place, host, config, resources, memory) {
    this.#place = place;
    this.#host = host;
    this.#texts = textsFor(host);
    this.#config = config;
    this.#resources = resources;
    this.#memory = memory;
    place.classList.add("worldid-account");
  }

  /** Draw the section. */
  async draw() {
    const accountCode = await this.#memory.currentCode(this.#host);
    this.#place.replaceChildren(element("h3", {}, "World ID"));
    if (accountCode !== undefined) this.#place.append(...this.#code(accountCode));
    else if (isReady(this.#config)) this.#place.append(...this.#setup(this.#config));
  }

  /** @param {string} accountCode */
  #code(accountCode) {
    const code = element("code", {}, formatAccountCode(accountCode));
    const copy = button(this.#texts.copy, (pressed) => this.#copy(code, pressed), "quiet");
    return [
      hint(this.#texts.code),
      element("div", { className: "worldid-code" }, code, copy),
      hint(this.#texts.use),
      this.#otherDevice(`${this.#config.publicUrl}/#account=${accountCode}`),
    ];
  }

  /**
   * Return the elements to finish the setup of an account that has no code yet: one that was created with World ID 3.0.
   *
   * @param {WorldId.ReadyConfig} config
   */
  #setup(config) {
    const host = this.#host;
    const proofs = new Proofs(host, config, this.#resources);
    const error = problem();
    const waiting = element("div");
    const start = button(this.#texts.finish, () =>
      attempt(host, start, error, async () => {
        start.hidden = true;
        const view = new ConfirmationView(waiting, host);
        try {
          host.update(await proofs.signUp(view, {}, { legacyOnly: true }));
          await this.draw();
        } finally {
          view.remove();
          start.hidden = false;
        }
      }),
    );
    return [element("p", {}, this.#texts.unfinished), start, waiting, error];
  }

  /** @param {string} link */
  #otherDevice(link) {
    const { codeQr, scanCode, otherDevice } = this.#texts;
    const qr = element("div", { className: "worldid-qr", role: "img", "aria-label": codeQr });
    const details = element("details", {}, element("summary", {}, otherDevice), hint(scanCode), qr);
    details.addEventListener("toggle", () => showQrCode(qr, link, this.#host), { once: true });
    return details;
  }

  /**
   * @param {HTMLElement} source
   * @param {HTMLButtonElement} pressed
   */
  async #copy(source, pressed) {
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      // The page is not from a secure origin, or the user has not allowed it: the user copies the selection.
      getSelection()?.selectAllChildren(source);
      return;
    }
    pressed.textContent = this.#texts.copied;
    setTimeout(() => (pressed.textContent = this.#texts.copy), COPIED_FOR);
  }
}
