// What a client signs in with: a token, renewed before it runs out, or a credential.

import { Refused } from "./errors.js";
import { Alarm } from "./time.js";

const RENEW_AT = 0.8; // of the life that the token has left
const MIN_RETRY = 1_000; // ms
const MAX_RETRY = 60_000; // ms

/** @typedef {import("./index.js").SignIn} SignIn */

/**
 * What it calls.
 *
 * @typedef {object} AccessListener
 * @property {(command: import("./index.js").AnyCommand) => Promise<any>} request
 * @property {(token: string, expiresAt: string) => void} renewed there is a newer token
 */

export class Access {
  #clock;
  #listener;
  #alarm;
  #ask;
  /** @type {SignIn} */
  #current = {};
  /** @type {object | undefined} */
  #credential;
  #asked = false; // for another sign-in since the last welcome
  #renewAt = NaN; // by the server's clock

  /**
   * @param {import("./environment.js").Environment} environment
   * @param {import("./time.js").ServerClock} clock
   * @param {(() => Promise<SignIn | null>) | undefined} ask asks the application to sign in again
   * @param {AccessListener} listener
   */
  constructor(environment, clock, ask, listener) {
    this.#clock = clock;
    this.#ask = ask;
    this.#listener = listener;
    this.#alarm = new Alarm(environment, () => this.check());
  }

  /** Return what `hello` carries. */
  get current() {
    return this.#current;
  }

  /** @param {SignIn} signIn */
  set({ token, tokenExpiresAt, credential }) {
    this.#current = token === undefined ? { credential } : { token, tokenExpiresAt };
    if (credential !== undefined) this.#credential = credential;
    this.#asked = false;
  }

  /**
   * Replace the token by a newer one of the same user.
   *
   * @param {string} token
   * @param {string} [tokenExpiresAt]
   */
  replace(token, tokenExpiresAt) {
    this.#current = { token, tokenExpiresAt };
    this.#schedule();
  }

  /** @param {import("./index.js").Protocol.Welcome} welcome */
  welcomed({ token, tokenExpiresAt }) {
    this.#asked = false;
    if (token === undefined) this.#schedule();
    else this.replace(token, tokenExpiresAt);
  }

  /** Return whether `again` may find another sign-in. */
  get canAsk() {
    return !this.#asked && (this.#ask !== undefined || this.#lastCredential() !== null);
  }

  /** Find another sign-in in place of the one that the server does not accept. Return whether there is one. */
  async again() {
    this.#asked = true;
    this.stop();
    try {
      const found = (await this.#ask?.()) ?? this.#lastCredential();
      if (found === null) return false;
      this.#current = found;
      return true;
    } catch {
      return false; // the application could not sign in
    }
  }

  /** Renew the token if it is time. */
  check() {
    if (this.#renewAt <= this.#clock.now()) this.#renew();
    else this.#setAlarm();
  }

  /** Renew nothing until the next welcome. */
  stop() {
    this.#renewAt = NaN;
    this.#alarm.clear();
  }

  #lastCredential() {
    const isCurrent = this.#current.credential !== undefined;
    return this.#credential === undefined || isCurrent ? null : { credential: this.#credential };
  }

  #schedule() {
    const left = Date.parse(this.#current.tokenExpiresAt ?? "") - this.#clock.now();
    this.#renewAt = this.#clock.now() + left * RENEW_AT;
    this.#setAlarm();
  }

  #setAlarm() {
    const left = this.#renewAt - this.#clock.now();
    if (Number.isNaN(left)) this.#alarm.clear();
    else this.#alarm.set(left);
  }

  async #renew() {
    const left = Date.parse(this.#current.tokenExpiresAt ?? "") - this.#clock.now();
    this.#renewAt = this.#clock.now() + Math.min(Math.max(left / 10, MIN_RETRY), MAX_RETRY);
    this.#setAlarm();
    try {
      const { token, tokenExpiresAt } = await this.#listener.request({ type: "refresh" });
      this.replace(token, tokenExpiresAt);
      this.#listener.renewed(token, tokenExpiresAt);
    } catch (error) {
      // A refusal is final: the token runs out, and the server says so.
      if (error instanceof Refused && !error.retry) this.stop();
    }
  }
}
