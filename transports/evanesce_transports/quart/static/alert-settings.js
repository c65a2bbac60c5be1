// Whether and how the user wants to be told of messages while nobody looks at the page: nothing, unless the user asks for it.

import { basePath } from "./addresses.js";

/**
 * `notify`: by a notification of the system; `content`: with what was written; `sound`: by a sound.
 *
 * @typedef {{ notify: boolean, content: boolean, sound: boolean }} Alerts
 */

const NOTHING = Object.freeze({ notify: false, content: false, sound: false });

export class AlertSettings {
  #key = `evanesce.alerts${basePath()}`;
  #alerts = this.#read();

  /** Return what the user wants. */
  get current() {
    return this.#alerts;
  }

  /** @param {Partial<Alerts>} changes */
  update(changes) {
    this.#alerts = { ...this.#alerts, ...changes };
    this.#write(() => localStorage.setItem(this.#key, JSON.stringify(this.#alerts)));
  }

  /** Tell the user of nothing any more. */
  clear() {
    this.#alerts = NOTHING;
    this.#write(() => localStorage.removeItem(this.#key));
  }

  /** @returns {Alerts} */
  #read() {
    try {
      const kept = JSON.parse(localStorage.getItem(this.#key) ?? "{}");
      return { notify: kept.notify === true, content: kept.content === true, sound: kept.sound === true };
    } catch {
      return NOTHING; // storage is forbidden, or the value is not ours
    }
  }

  /** @param {() => void} write */
  #write(write) {
    try {
      write();
    } catch {
      // Storage is forbidden: the settings hold until the page is closed.
    }
  }
}
