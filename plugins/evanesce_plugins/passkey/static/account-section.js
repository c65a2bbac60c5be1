// The part of passkeys in the account dialog: the devices, and the recovery codes.

import { assertion, checkPlace, deviceName, hasPasskeys, newKey } from "./ceremonies.js";
import { button, element, field, form, problem } from "./elements.js";
import { request } from "./requests.js";
import { codesLeft, dayText, textsFor } from "./texts.js";

/**
 * Return the devices of the account. Throws `Problem`.
 *
 * @param {Page.Host} host
 */
export async function devicesOf(host) {
  return /** @type {Passkey.Devices} */ (await request(host, "GET", "devices"));
}

export class AccountSection {
  #place;
  #host;
  #texts;
  #problem = problem();
  #list = element("ul", { className: "passkey-devices" });
  #left = element("p");
  #codes = element("div");

  /**
   * @param {HTMLElement} place
   * @param {Page.Host} host
   */
  constructor(place, host) {
    this.#place = place;
    this.#host = host;
    this.#texts = textsFor(host);
  }

  /** Draw the section. */
  async draw() {
    this.#show(await devicesOf(this.#host));
    const make = button(this.#texts.makeCodes, () => this.#attempt(make, () => this.#makeCodes()), "quiet");
    const title = element("h3", {}, this.#texts.title);
    this.#place.append(title, this.#list, ...this.#addForm(), this.#left, make, this.#codes, this.#problem);
  }

  #addForm() {
    if (!hasPasskeys()) return [];
    const [label, name] = field(this.#texts.deviceName, {
      value: deviceName(),
      required: true,
      maxLength: 64,
      autocomplete: "off",
    });
    const add = element("button", { className: "quiet" }, this.#texts.add);
    return [form([label, add], () => this.#attempt(add, () => this.#add(name.value)))];
  }

  /** @param {Passkey.Devices} answer */
  #show({ devices, recoveryCodesLeft }) {
    this.#list.replaceChildren(...devices.map((device) => this.#item(device)));
    this.#left.textContent = codesLeft(this.#host, recoveryCodesLeft);
  }

  /** @param {Passkey.Device} device */
  #item(device) {
    const name = element("strong", { dir: "auto" }, device.name);
    const { days, here, removeDevice } = this.#texts;
    const [added, used] = [device.added, device.lastUsed].map((day) => dayText(this.#host, day));
    const about = `${device.current ? ` ${here}` : ""}: ${days(added, used)} `;
    const remove = button(this.#texts.remove, () => this.#attempt(remove, () => this.#remove(device)), "quiet danger");
    remove.setAttribute("aria-label", removeDevice(device.name));
    return element("li", {}, name, about, remove);
  }

  /** @param {string} name */
  async #add(name) {
    await checkPlace(this.#host);
    const answer = await this.#recently(() => newKey(this.#host, { purpose: "add_device" }, { deviceName: name }));
    this.#host.update(answer);
    this.#show(await devicesOf(this.#host));
  }

  /** @param {Passkey.Device} device */
  async #remove({ deviceId, current }) {
    const answer = await this.#recently(() => request(this.#host, "POST", "devices/remove", { deviceId }));
    this.#show(/** @type {Passkey.Devices} */ (answer));
    if (current) location.reload(); // the sign-in of this page has ended with the device
  }

  async #makeCodes() {
    const answer = await this.#recently(() => request(this.#host, "POST", "recovery-codes"));
    const { recoveryCodes } = /** @type {Passkey.RecoveryCodes} */ (answer);
    const codes = recoveryCodes.map((code) => element("li", {}, element("code", {}, code)));
    this.#codes.replaceChildren(
      element("p", {}, this.#texts.codes),
      element("ol", { className: "passkey-codes" }, ...codes),
    );
    this.#show(await devicesOf(this.#host));
  }

  /**
   * Do `work`. Where the sign-in is too old for it, let the user confirm with a passkey first.
   *
   * @template Result
   * @param {() => Promise<Result>} work
   */
  async #recently(work) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "auth_failed")) throw error;
    }
    this.#host.update(await assertion(this.#host));
    return work();
  }

  /** @type {(button: HTMLButtonElement, work: () => unknown) => Promise<void>} */
  #attempt(pressed, work) {
    return this.#host.attempt(pressed, this.#problem, work);
  }
}
