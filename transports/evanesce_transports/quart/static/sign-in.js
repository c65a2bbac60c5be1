// The sign-in section: each sign-in method of the server, in the server's order.

import { focusFirstField } from "./elements.js";
import { t } from "./i18n.js";
import { Welcome } from "./welcome.js";

export class SignIn {
  #elements;
  #providers;
  #drawing = new AbortController();
  #welcome;

  /**
   * @param {import("./elements.js").Elements["signIn"]} elements
   * @param {import("./providers.js").Providers} providers
   */
  constructor(elements, providers) {
    this.#elements = elements;
    this.#providers = providers;
    this.#welcome = new Welcome(elements);
  }

  /**
   * Say what the user signs in for.
   *
   * @param {string} title
   * @param {string} text
   */
  explain(title, text) {
    this.#elements.title.textContent = title;
    this.#elements.reason.textContent = text;
  }

  /** Draw the sign-in methods. */
  async draw() {
    this.clear();
    this.#welcome.start();
    const { signal } = (this.#drawing = new AbortController());
    const { methods } = this.#providers;
    if (methods.length === 0) this.#elements.methods.append(problem(t("signIn.noMethod")));
    await Promise.all(methods.map(({ provider }, index) => this.#add(provider, index > 0, signal)));
    if (!signal.aborted && document.activeElement === document.body) focusFirstField(this.#elements.methods);
  }

  /** Remove the sign-in methods, and abort what they are doing. */
  clear() {
    this.#drawing.abort();
    this.#welcome.stop();
    this.#elements.methods.replaceChildren();
  }

  /**
   * @param {string} provider
   * @param {boolean} divided whether a divider comes before it
   * @param {AbortSignal} signal
   */
  async #add(provider, divided, signal) {
    const { methods } = this.#elements;
    if (divided) methods.append(paragraph(t("page.or"), "or"));
    const place = document.createElement("div");
    place.className = "sign-in-method";
    methods.append(place);
    try {
      const module = /** @type {Page.SignInModule} */ (await this.#providers.load(provider)); // one of `methods`
      if (!signal.aborted) await module.signIn(place, this.#providers.host(provider, signal));
    } catch (error) {
      console.error(`Signing in with the provider ${provider} failed:`, error);
      place.replaceChildren(problem(t("signIn.broken", { provider })));
    }
  }
}

/**
 * @param {string} text
 * @param {string} className
 */
function paragraph(text, className) {
  const element = document.createElement("p");
  element.className = className;
  element.textContent = text;
  return element;
}

/** @param {string} text */
function problem(text) {
  const element = paragraph(text, "problem");
  element.setAttribute("role", "alert");
  return element;
}
