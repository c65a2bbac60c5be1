// The sign-in section: each sign-in method of the server, in the server's order.

import { focusFirstField } from "./elements.js";
import { describeError } from "./errors.js";

export class SignIn {
  #elements;
  #providers;
  #drawing = new AbortController();

  /**
   * @param {import("./elements.js").Elements["signIn"]} elements
   * @param {import("./providers.js").Providers} providers
   */
  constructor(elements, providers) {
    this.#elements = elements;
    this.#providers = providers;
  }

  /**
   * Say why the user has to sign in.
   *
   * @param {string} reason
   */
  explain(reason) {
    this.#elements.reason.textContent = reason;
  }

  /** Draw the sign-in methods. */
  async draw() {
    this.clear();
    const { signal } = (this.#drawing = new AbortController());
    let methods;
    try {
      methods = await this.#providers.methods();
    } catch (error) {
      if (!signal.aborted) this.#fail(describeError(error), () => this.draw());
      return;
    }
    if (signal.aborted) return;
    if (methods.length === 0)
      this.#fail("This server has no sign-in method for this page. Use another client, or contact its operator.");
    await Promise.all(methods.map(({ provider }, index) => this.#add(provider, index > 0, signal)));
    if (!signal.aborted && document.activeElement === document.body) focusFirstField(this.#elements.methods);
  }

  /** Remove the sign-in methods, and abort what they are doing. */
  clear() {
    this.#drawing.abort();
    this.#elements.methods.replaceChildren();
  }

  /**
   * @param {string} provider
   * @param {boolean} divided whether a divider comes before it
   * @param {AbortSignal} signal
   */
  async #add(provider, divided, signal) {
    const { methods } = this.#elements;
    if (divided) methods.append(paragraph("or", "or"));
    const place = document.createElement("div");
    place.className = "sign-in-method";
    methods.append(place);
    try {
      const module = /** @type {Page.SignInModule} */ (await this.#providers.load(provider)); // one of `methods()`
      if (!signal.aborted) await module.signIn(place, this.#providers.host(provider, signal));
    } catch (error) {
      console.error(`Signing in with the provider ${provider} failed:`, error);
      place.replaceChildren(
        problem(
          `Signing in with “${provider}” does not work on this page at the moment. Reload the page to try again.`,
        ),
      );
    }
  }

  /**
   * @param {string} text
   * @param {() => void} [retry]
   */
  #fail(text, retry) {
    const { methods } = this.#elements;
    methods.append(problem(text));
    if (retry === undefined) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Try again";
    button.addEventListener("click", retry);
    methods.append(button);
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
