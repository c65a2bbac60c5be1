// The part of World ID in the account dialog: finishing the setup, and the account code for other devices.

import { formatAccountCode } from "./account-code.js";
import { ConfirmationView } from "./confirmation-view.js";
import { button, element, hint, problem } from "./elements.js";
import { attempt } from "./failures.js";
import { Proofs } from "./proofs.js";
import { isReady, showQrCode } from "./resources.js";

const COPIED_FOR = 2_000; // ms for which the button says that the code is copied
const UNFINISHED =
  "This account was created with an older World ID. Confirm twice in World App, so that you can sign in with a newer World ID too.";
const USE =
  "With this code and World App you can sign in on other devices, and on this device again. Keep it secret: anyone who knows it can try to make you confirm their sign-in.";

export class AccountSection {
  #place;
  #host;
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
    const copy = button("Copy", (pressed) => copyText(code, pressed), "quiet");
    return [
      hint("Account code"),
      element("div", { className: "worldid-code" }, code, copy),
      hint(USE),
      otherDevice(`${this.#config.publicUrl}/#account=${accountCode}`),
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
    const start = button("Finish setting up World ID", () =>
      attempt(host, start, error, async () => {
        start.hidden = true;
        const view = new ConfirmationView(waiting, host.signal);
        try {
          host.update(await proofs.signUp(view, {}, { legacyOnly: true }));
          await this.draw();
        } finally {
          view.remove();
          start.hidden = false;
        }
      }),
    );
    return [element("p", {}, UNFINISHED), start, waiting, error];
  }
}

/** @param {string} link */
function otherDevice(link) {
  const qr = element("div", { className: "worldid-qr", role: "img", "aria-label": "QR code with the account code" });
  const text = hint("Scan this code with the other device. It opens this page with your account code filled in.");
  const details = element("details", {}, element("summary", {}, "Sign in on another device"), text, qr);
  details.addEventListener("toggle", () => showQrCode(qr, link), { once: true });
  return details;
}

/**
 * @param {HTMLElement} source
 * @param {HTMLButtonElement} pressed
 */
async function copyText(source, pressed) {
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    // The page is not from a secure origin, or the user has not allowed it: the user copies the selection.
    getSelection()?.selectAllChildren(source);
    return;
  }
  pressed.textContent = "Copied";
  setTimeout(() => (pressed.textContent = "Copy"), COPIED_FOR);
}
