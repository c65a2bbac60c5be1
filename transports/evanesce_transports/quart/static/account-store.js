// The account that is signed in, as kept in localStorage for all tabs of this origin.

import { basePath } from "./addresses.js";

export class AccountStore {
  #key = `evanesce.account${basePath()}`; // another server on this origin, below another path, has other accounts
  #account = this.#read();

  /** Return the account that is signed in; null: none is. */
  current() {
    return this.#account;
  }

  /**
   * Replace fields of the account, or store a complete account where none is signed in.
   *
   * @param {Partial<Page.Account>} changes
   */
  update(changes) {
    this.#account = /** @type {Page.Account} */ ({ ...this.#account, ...changes });
    this.#write(() => localStorage.setItem(this.#key, JSON.stringify(this.#account)));
  }

  /** Remove the account. */
  remove() {
    this.#account = null;
    this.#write(() => localStorage.removeItem(this.#key));
  }

  /**
   * Call `changed` when another tab of this origin has changed the account.
   *
   * @param {(before: Page.Account | null, now: Page.Account | null) => void} changed
   */
  watch(changed) {
    addEventListener("storage", (event) => {
      if (event.key !== this.#key && event.key !== null) return;
      const before = this.#account;
      this.#account = this.#read();
      changed(before, this.#account);
    });
  }

  /** @returns {Page.Account | null} */
  #read() {
    try {
      return JSON.parse(localStorage.getItem(this.#key) ?? "null");
    } catch {
      return null; // storage is forbidden or the value is not JSON: no account is signed in
    }
  }

  /** @param {() => void} write */
  #write(write) {
    try {
      write();
    } catch {
      // Storage is forbidden: the account is kept until the page is closed.
    }
  }
}
