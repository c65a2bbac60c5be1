// The sign-in card: each way to sign in that the server has, in its order.

import { friendly } from "./errors.js";
import { host, moduleOf, ways } from "./providers.js";

export class SignIn {
  #place;
  #page;
  #drawing = new AbortController();

  /** Draws into `place`; `page` is what `host` in providers.js asks for. */
  constructor(place, page) {
    this.#place = place;
    this.#page = page;
  }

  async draw() {
    this.clear();
    const { signal } = (this.#drawing = new AbortController());
    let found;
    try {
      found = await ways();
    } catch (error) {
      if (!signal.aborted) this.#fail(friendly(error), () => this.draw());
      return;
    }
    if (signal.aborted) return;
    if (found.length === 0) this.#fail("This server has no way to sign in on a page. Use another client, or ask those who run it.");
    await Promise.all(found.map(({ provider }, index) => this.#add(provider, index > 0, signal)));
    if (!signal.aborted && document.activeElement === document.body) this.#place.querySelector("input")?.focus();
  }

  /** Take everything away: what is under way here counts no more. */
  clear() {
    this.#drawing.abort();
    this.#place.replaceChildren();
  }

  async #add(provider, divided, signal) {
    if (divided) this.#say("or", "or");
    const place = document.createElement("div");
    place.className = "way";
    this.#place.append(place);
    try {
      const module = await moduleOf(provider);
      if (!signal.aborted) await module.signIn(place, host(provider, signal, this.#page));
    } catch (error) {
      console.error(`Signing in with the provider ${provider} failed:`, error);
      place.replaceChildren();
      this.#say(`Signing in with “${provider}” does not work on this page at the moment. Load the page again.`, "problem", place);
    }
  }

  #fail(text, again) {
    this.#say(text, "problem");
    if (again === undefined) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Try again";
    button.addEventListener("click", again);
    this.#place.append(button);
  }

  #say(text, kind, place = this.#place) {
    const element = document.createElement("p");
    element.className = kind;
    element.textContent = text;
    if (kind === "problem") element.setAttribute("role", "alert");
    place.append(element);
  }
}
