// The sign-in methods of this server. Each is a JavaScript module that its provider's plugin serves.

import { describeError, Disconnected, Problem } from "./errors.js";
import { language } from "./i18n.js";

export class Providers {
  #accounts;
  #api;
  #actions;
  #address;

  /** The sign-in methods, in the server's order. */
  methods;

  /**
   * The name of whose sign-in has expired, for the form of the next; undefined where nobody's has.
   *
   * @type {string | undefined}
   */
  name;

  /**
   * @param {Page.SignInMethod[]} methods
   * @param {import("./account-store.js").AccountStore} accounts
   * @param {import("./api.js").Api} api
   * @param {Page.Actions} actions
   * @param {() => string} address returns the address of the page, with its secrets
   */
  constructor(methods, accounts, api, actions, address) {
    this.methods = methods;
    this.#accounts = accounts;
    this.#api = api;
    this.#actions = actions;
    this.#address = address;
  }

  /**
   * Import a provider's module, and return its default export; null where the provider has no module. Throws what the
   * import throws.
   *
   * @param {string} provider
   * @returns {Promise<Page.SignInModule | null>}
   */
  async load(provider) {
    const method = this.methods.find((one) => one.provider === provider);
    return method === undefined ? null : (await import(method.module)).default;
  }

  /**
   * Call an optional function of a provider's module, and return its result; undefined where there is no such function. An
   * error in the module is logged and not thrown, so that it does not stop the user.
   *
   * @template {Page.OptionalFunction} Name
   * @param {string} provider
   * @param {Name} name
   * @param {Page.Arguments<Name>} args
   * @returns {Promise<Awaited<Page.Result<Name>> | undefined>}
   */
  async call(provider, name, ...args) {
    try {
      const module = /** @type {Page.ModuleWith<Name> | null} */ (await this.load(provider));
      return await module?.[name]?.(...args);
    } catch (error) {
      if (!(error instanceof Disconnected)) console.error(`${name} of the provider ${provider} failed:`, error);
      return undefined;
    }
  }

  /**
   * Return the object that a provider's module gets. After `signal` is aborted, because the place where the module draws
   * was removed, accounts from the module are ignored.
   *
   * @param {string} provider
   * @param {AbortSignal} signal
   * @returns {Page.Host}
   */
  host(provider, signal) {
    const accounts = this.#accounts;
    const api = this.#api;
    const actions = this.#actions;
    /** @param {Protocol.SessionAnswer} answer */
    function update({ token, tokenExpiresAt, userId, displayName }) {
      if (signal.aborted) return;
      accounts.update({ provider, token, tokenExpiresAt, userId, displayName });
      actions.keepFresh();
    }
    return {
      signal,
      language: language(),
      name: this.name,
      ask: (method, path, body) => api.request(method, path, body),
      friendly: describeError,
      Problem,
      attempt: actions.attempt,
      account: () => accounts.current(),
      address: this.#address,
      update,
      signedIn(answer, { isNew = false } = {}) {
        update(answer);
        if (!signal.aborted) actions.open(isNew);
      },
    };
  }
}
