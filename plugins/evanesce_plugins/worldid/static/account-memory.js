// The account code that this browser remembers: that of the account which was used last.

/** @typedef {{ userId: string, accountCode?: string | undefined }} Remembered */

export class AccountMemory {
  // Another server on this origin, below another path, has other accounts.
  #key = `evanesce.worldid${new URL("../..", import.meta.url).pathname.slice(0, -1)}`;
  /** @type {Remembered | null} */
  #remembered = null; // used where storage is forbidden

  /** Return the code of the account that was used last; undefined where there is none, or it was deleted. */
  lastCode() {
    return this.#read()?.accountCode;
  }

  /**
   * Return the code of the account that is signed in, and remember it. Return undefined where the account has no code: it is
   * not set up for signing in again. Throws what `host.ask` throws.
   *
   * @param {Page.Host} host
   */
  async currentCode(host) {
    const { userId } = /** @type {Page.Account} */ (host.account());
    const last = this.#read();
    if (last?.userId === userId && last.accountCode) return last.accountCode;
    const { accountCode } = await host.ask("GET", "/me");
    this.#write({ userId, accountCode });
    return accountCode;
  }

  /** Forget the account code. */
  clear() {
    this.#write(null);
  }

  /** @returns {Remembered | null} */
  #read() {
    try {
      return JSON.parse(localStorage.getItem(this.#key) ?? "null");
    } catch {
      return this.#remembered; // storage is forbidden or the value is not JSON
    }
  }

  /** @param {Remembered | null} remembered */
  #write(remembered) {
    this.#remembered = remembered;
    try {
      if (remembered) localStorage.setItem(this.#key, JSON.stringify(remembered));
      else localStorage.removeItem(this.#key);
    } catch {
      // Storage is forbidden: the code is remembered until the page is closed.
    }
  }
}
