// The dialog of the user's account: the name, the provider's part, signing out, deleting the account; and its reminder.

import { showError } from "./errors.js";
import { hue } from "./format.js";
import { t } from "./i18n.js";
import { createAvatar } from "./message-view.js";

export class AccountDialog {
  #elements;
  #reminder;
  #confirm;
  #accounts;
  #api;
  #session;
  #providers;
  #actions;
  #drawing = new AbortController();
  #reminderRequests = 0; // only the last reminder that was requested is shown
  /** @type {string | null} */
  #dismissedBy = null; // the id of the user who has dismissed the reminder on this page

  /**
   * @param {Pick<import("./elements.js").Elements, "account" | "reminder">} elements
   * @param {import("./confirm-dialog.js").ConfirmDialog} confirm
   * @param {import("./account-store.js").AccountStore} accounts
   * @param {import("./api.js").Api} api
   * @param {import("./session.js").Session} session
   * @param {import("./providers.js").Providers} providers
   * @param {Page.Actions} actions
   */
  constructor({ account, reminder }, confirm, accounts, api, session, providers, actions) {
    this.#elements = account;
    this.#reminder = reminder;
    this.#confirm = confirm;
    this.#accounts = accounts;
    this.#api = api;
    this.#session = session;
    this.#providers = providers;
    this.#actions = actions;
    account.open.addEventListener("click", () => this.#open());
    reminder.open.addEventListener("click", () => this.#open());
    reminder.later.addEventListener("click", () => {
      this.#dismissedBy = this.#account().userId;
      this.hideReminder();
    });
    account.dialog.addEventListener("close", () => {
      this.#drawing.abort();
      this.showReminder();
    });
    account.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const save = /** @type {HTMLButtonElement} */ (event.submitter);
      this.#attempt(save, () => this.#rename(account.name.value));
    });
    account.signOut.addEventListener("click", () => this.#attempt(account.signOut, () => this.#signOut()));
    account.delete.addEventListener("click", () => this.#attempt(account.delete, () => this.#delete()));
  }

  /** Show the name of the account on the button that opens the dialog, or hide the button. */
  update({ visible = true } = {}) {
    const account = this.#accounts.current();
    this.#elements.open.hidden = account === null || !visible;
    this.#elements.label.textContent = account?.displayName ?? "";
    this.#elements.avatar.replaceChildren(createAvatar(hue(account?.userId ?? ""), account?.displayName ?? ""));
  }

  /** Show the provider's reminder of a task in this dialog, where there is one and the user has not dismissed it. */
  async showReminder() {
    this.hideReminder();
    const request = this.#reminderRequests;
    const account = this.#accounts.current();
    if (account === null || account.userId === this.#dismissedBy) return;
    const text = await this.#call("reminder", this.#host());
    if (request !== this.#reminderRequests) return;
    this.#reminder.text.textContent = text ?? "";
    this.#reminder.element.hidden = !text;
  }

  /** Hide the reminder, also one that is still being requested. */
  hideReminder() {
    this.#reminderRequests++;
    this.#reminder.element.hidden = true;
  }

  #open() {
    const { dialog, name, problem, provider } = this.#elements;
    name.value = this.#account().displayName;
    showError(problem, null);
    const place = document.createElement("div");
    provider.replaceChildren(place);
    dialog.showModal();
    this.#drawing = new AbortController();
    this.#call("account", place, this.#host(this.#drawing.signal));
  }

  /** Return the account that is signed in. What opens the dialog is visible only while there is one. */
  #account() {
    return /** @type {Page.Account} */ (this.#accounts.current());
  }

  #host(signal = new AbortController().signal) {
    return this.#providers.host(this.#account().provider, signal);
  }

  /**
   * @template {Page.OptionalFunction} Name
   * @param {Name} name
   * @param {Page.Arguments<Name>} args
   */
  #call(name, ...args) {
    return this.#providers.call(this.#account().provider, name, ...args);
  }

  /** @type {(button: HTMLButtonElement, work: () => unknown) => Promise<void>} */
  #attempt(button, work) {
    return this.#actions.attempt(button, this.#elements.problem, work);
  }

  /** @param {string} name */
  async #rename(name) {
    const { displayName } = await this.#api.request("PATCH", "/me", { displayName: name });
    this.#accounts.update({ displayName });
    this.update();
    this.#elements.dialog.close();
  }

  async #signOut() {
    const warning = await this.#call("leaving", this.#host());
    if (warning && !(await this.#confirm.ask(t("account.signOutTitle"), [warning], t("account.signOut")))) return;
    await this.#session.signOut();
    this.#actions.signedOut();
  }

  async #delete() {
    const { provider } = this.#account();
    const warning = await this.#call("forgetting", this.#host());
    const paragraphs = warning ? [t("account.deletion"), warning] : [t("account.deletion")];
    if (!(await this.#confirm.ask(t("account.deleteTitle"), paragraphs, t("account.delete")))) return;
    await this.#session.deleteAccount();
    await this.#providers.call(provider, "forgotten");
    this.#actions.signedOut();
  }
}
