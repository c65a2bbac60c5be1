// The session of the account that is signed in: renewing its token, signing out, deleting the account.

import { Refused } from "./client/errors.js";
import { environmentWith } from "./client/environment.js";
import { Stopwatch } from "./client/time.js";

const RETRY_DELAY = 60_000; // ms
const MIN_DELAY = 1_000; // ms
const LOOK = 10_000; // ms between two looks whether it is time: a timer for hours would stand still while the computer sleeps

export class Session {
  #accounts;
  #api;
  #renewed;
  #since = new Stopwatch(environmentWith({}));
  #delay = Infinity; // ms from `#since` until there has to be a newer token

  /**
   * @param {import("./account-store.js").AccountStore} accounts
   * @param {import("./api.js").Api} api
   * @param {() => void} renewed called each time that there is a newer token
   */
  constructor(accounts, api, renewed) {
    this.#accounts = accounts;
    this.#api = api;
    this.#renewed = renewed;
    setInterval(() => this.check(), LOOK);
  }

  /** Request a newer token now, and again each time that half of its lifetime is over. */
  async keepFresh() {
    this.#delay = Infinity;
    const account = this.#accounts.current();
    if (account === null) return;
    let delay = RETRY_DELAY;
    try {
      const { token, tokenExpiresAt } = await this.#api.request("POST", "/session/refresh");
      if (this.#accounts.current()?.userId !== account.userId) return;
      this.#accounts.update({ token, tokenExpiresAt });
      this.#renewed();
      delay = (Date.parse(tokenExpiresAt) - this.#api.respondedAt) / 2 || delay;
    } catch (error) {
      // A refusal is final: the token expires, and the next request that needs it reports that.
      if (error instanceof Refused && !error.retry) return;
    }
    this.#since.restart();
    this.#delay = Math.max(delay, MIN_DELAY);
  }

  /** Request a newer token if it is time. */
  async check() {
    if (this.#since.elapsed() >= this.#delay) await this.keepFresh();
  }

  /** Sign out on the server and in this browser. */
  async signOut() {
    await this.#delete("/session");
  }

  /** Delete the account on the server and in this browser. */
  async deleteAccount() {
    await this.#delete("/me");
  }

  /**
   * Delete a resource of the account, then remove the account here. A token that the server does not know any more has
   * nothing left to delete.
   *
   * @param {"/session" | "/me"} path
   */
  async #delete(path) {
    try {
      await this.#api.request("DELETE", path);
    } catch (error) {
      if (!(error instanceof Refused && error.code === "invalid_token")) throw error;
    }
    this.#accounts.remove();
  }
}
