// The dialog of one's own account: the name, what its provider adds, signing out, being forgotten.

import { ask, current, forgetMe, keep, signOut } from "./account.js";
import { $, confirmed, problem } from "./elements.js";
import { call, host } from "./providers.js";

const FORGET = "Your name and what is kept of your visits are erased, and your rooms are closed. This cannot be undone.";

export class AccountDialog {
  #page;
  #drawing = new AbortController();
  #turn = 0; // of the reminders: only the last one that was asked for is shown
  #later = null; // the id of the user who does not want to be reminded by this page

  /** `page` is what `host` in providers.js asks for, and `left()`, called when nobody is signed in any more. */
  constructor(page) {
    this.#page = page;
    $("account-open").addEventListener("click", () => this.#open());
    $("reminder-open").addEventListener("click", () => this.#open());
    $("reminder-later").addEventListener("click", () => {
      this.#later = current().userId;
      this.remind(false);
    });
    $("account").addEventListener("close", () => {
      this.#drawing.abort();
      this.remind(true);
    });
    $("account-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#attempt(event.submitter, () => this.#rename($("account-name").value));
    });
    $("sign-out").addEventListener("click", (event) => this.#attempt(event.currentTarget, () => this.#leave()));
    $("forget-me").addEventListener("click", (event) => this.#attempt(event.currentTarget, () => this.#forget()));
  }

  /** With `wanted`, say what the person has still to do here, where the provider says that there is something. */
  async remind(wanted) {
    const turn = ++this.#turn;
    $("reminder").hidden = true;
    const account = current();
    if (!wanted || account === null || account.userId === this.#later) return;
    const words = await this.#call("reminder", this.#host());
    if (turn !== this.#turn) return;
    $("reminder-text").textContent = words ?? "";
    $("reminder").hidden = !words;
  }

  #open() {
    $("account-name").value = current().displayName;
    problem($("account-problem"), null);
    const place = document.createElement("div");
    $("account-provider").replaceChildren(place);
    $("account").showModal();
    this.#drawing = new AbortController();
    this.#call("account", place, this.#host(this.#drawing.signal));
  }

  #host(signal = new AbortController().signal) {
    return host(current().provider, signal, this.#page);
  }

  #call(name, ...given) {
    return call(current().provider, name, ...given);
  }

  #attempt(button, work) {
    return this.#page.attempt(button, $("account-problem"), work);
  }

  async #rename(name) {
    const { displayName } = await ask("PATCH", "/me", { displayName: name });
    keep({ displayName });
    $("account-label").textContent = displayName;
    $("account").close();
  }

  async #leave() {
    const words = await this.#call("leaving", this.#host());
    if (words && !(await confirmed("Sign out?", [words], "Sign out"))) return;
    await signOut();
    this.#page.left();
  }

  async #forget() {
    const { provider } = current();
    const words = await this.#call("forgetting", this.#host());
    if (!(await confirmed("Forget you?", words ? [FORGET, words] : [FORGET], "Forget me"))) return;
    await forgetMe();
    await call(provider, "forgotten");
    this.#page.left();
  }
}
