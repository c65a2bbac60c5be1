// The page as a whole: the section that belongs to its address, and the connections between its parts.

import { AccountDialog } from "./account-dialog.js";
import { AccountStore } from "./account-store.js";
import { absolutePath, homePath, roomIdIn, withKey } from "./addresses.js";
import { Api } from "./api.js";
import { AlertSettings } from "./alert-settings.js";
import { Refused } from "./client/errors.js";
import { ConfirmDialog } from "./confirm-dialog.js";
import { showError } from "./errors.js";
import { Home } from "./home.js";
import { t } from "./i18n.js";
import { Nicknames } from "./nicknames.js";
import { Providers } from "./providers.js";
import { RoomKeys } from "./room-key.js";
import { RoomLoader } from "./room-loader.js";
import { Sections } from "./sections.js";
import { Session } from "./session.js";
import { SignIn } from "./sign-in.js";
import { Unread } from "./unread.js";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export class App {
  #elements;
  #accounts = new AccountStore();
  #unread = new Unread({
    setTitle: (title) => (document.title = title),
    setAppBadge: navigator.setAppBadge?.bind(navigator),
  });
  /** @type {Page.Private} */
  #private = {
    keys: new RoomKeys(this.#accounts, globalThis),
    names: new Nicknames(this.#accounts),
    alerts: new AlertSettings(),
    unread: this.#unread,
  };
  #dialogs = new AbortController(); // aborted to close the dialogs that modules have made
  #userId = this.#accounts.current()?.userId ?? null; // of the last account, whose keys the page has
  #providers;
  #sections;
  #session;
  #signIn;
  #accountDialog;
  #home;
  #room;
  /** @type {object | null} */
  #opening = null; // stands for the room that is opened: another one may be, while the modules are loaded

  /** @param {import("./elements.js").Elements} elements */
  constructor(elements) {
    this.#elements = elements;
    const api = new Api(() => this.#accounts.current()?.token);
    const confirm = new ConfirmDialog(elements.confirm);
    /** @type {Page.Actions} */
    const actions = {
      attempt: (button, problem, work) => this.#attempt(button, problem, work),
      go: (path) => this.#go(path),
      open: (isNew) => this.#open(isNew),
      keepFresh: () => this.#session.keepFresh(),
      signedOut: () => this.#signedOut(),
      dialogs: () => this.#dialogs.signal,
    };
    const providers = (this.#providers = new Providers(elements.ways, this.#accounts, api, actions, () =>
      this.#address(),
    ));
    this.#sections = new Sections(elements, {
      retryConnection: () => this.#room.view?.wake(),
      reopen: () => this.#open(),
    });
    this.#session = new Session(this.#accounts, api, () => this.#room.view?.renew());
    this.#signIn = new SignIn(elements.signIn, providers);
    this.#accountDialog = new AccountDialog(elements, confirm, this.#accounts, api, this.#session, providers, actions);
    this.#home = new Home(elements.home, api, actions, this.#private);
    /** @type {import("./room-view.js").RoomViewListener} */
    const listener = {
      banner: (text, retry) => this.#sections.showBanner(text, retry),
      accountChanged: () => this.#accountDialog.update(),
      left: () => this.#go(homePath()),
      signedOut: () => this.#signInAgain(),
      reopen: () => this.#open(),
      attempt: actions.attempt,
      dialogs: actions.dialogs,
      stopped: (title, text, retry) => this.#stop(title, text, retry),
    };
    this.#room = new RoomLoader((View) => new View(elements, confirm, this.#accounts, this.#private, listener));
  }

  /** Show the section of the address, and follow the events of the browser. */
  start() {
    document.addEventListener("click", (event) => this.#followLink(event));
    addEventListener("popstate", () => this.#open());
    const wake = () => this.#wake();
    addEventListener("online", wake);
    addEventListener("offline", () => this.#room.view?.doubtConnection());
    document.addEventListener("visibilitychange", wake);
    document.addEventListener("resume", wake); // after the browser has frozen the page
    // A page that the browser keeps for the back button must hold no messages either.
    addEventListener("pagehide", () => {
      this.#opening = null;
      this.#room.view?.leave();
    });
    addEventListener("pageshow", (event) => {
      if (event.persisted) this.#open();
    });
    this.#accounts.watch((before, now) => {
      if (before?.userId !== now?.userId) {
        this.#room.view?.clearDraft();
        this.#open();
      } else if (before?.token !== now?.token) this.#room.view?.renew();
    });
    this.#session.keepFresh();
    this.#open();
  }

  /** Look at what may be over after the page was hidden or the device slept. */
  #wake() {
    if (document.hidden) return;
    this.#room.view?.wake();
    this.#session.check();
  }

  /** Show the section of the address: to somebody new, at the start page, a first room. */
  #open(isNew = false) {
    const account = this.#accounts.current();
    if (account !== null && this.#userId !== null && account.userId !== this.#userId) this.#forgetPrivate();
    this.#userId = account?.userId ?? this.#userId;
    const roomId = roomIdIn(location.pathname);
    this.#private.keys.takeFromAddress(roomId);
    const room = this.#room.view;
    if (room?.waitsIn(roomId)) {
      if (account === null) {
        this.#showSignIn(t("signIn.expired"));
        return;
      }
      if (room.goOn(account.userId)) {
        this.#showRoom();
        return;
      }
      room.clearDraft(); // of somebody else
    }
    this.#leaveRoom();
    if (roomId && !UUID.test(roomId)) this.#stop(t("stopped.noRoom"), t("stopped.incomplete"));
    else if (account === null) this.#showSignIn();
    else if (roomId) this.#joinRoom(roomId, account.userId);
    else {
      this.#showHome();
      if (isNew) this.#home.create();
    }
  }

  /** @param {string} path */
  #go(path) {
    history.pushState(null, "", path);
    this.#open();
  }

  /** @param {MouseEvent} event */
  #followLink(event) {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || link.origin !== location.origin || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    this.#go(absolutePath(link.pathname));
  }

  /** @param {import("./sections.js").Section} section */
  #show(section) {
    this.#sections.show(section);
    this.#accountDialog.update({ visible: section !== "signIn" });
    if (section !== "signIn") this.#signIn.clear();
    if (section === "home" || section === "room") this.#accountDialog.showReminder();
    else this.#accountDialog.hideReminder();
  }

  /** @param {string} [reason] */
  #showSignIn(reason) {
    const isInvited = roomIdIn(location.pathname) !== undefined;
    const [title, text] = isInvited
      ? [t("welcome.invited"), t("welcome.invitedText")]
      : [t("welcome.title"), t("welcome.text")];
    this.#unread.setTitle(t("page.signInTitle"));
    this.#show("signIn");
    this.#signIn.explain(title, reason ?? text); // it is seen now: a screen reader says what changes in it
    this.#signIn.draw().then(() => this.#room.prepare());
  }

  #showHome() {
    this.#room.view?.clearDraft();
    this.#unread.setTitle("Evanesce");
    this.#show("home");
    this.#home.load();
    this.#room.prepare();
  }

  /**
   * @param {string} roomId
   * @param {string} userId
   */
  async #joinRoom(roomId, userId) {
    this.#showRoom();
    const opening = (this.#opening = {});
    const { room: section } = this.#elements.sections;
    section.inert = true; // nothing in it does anything yet
    try {
      const room = await this.#room.load();
      section.inert = false;
      if (opening === this.#opening) room.join(roomId, userId);
    } catch (error) {
      console.error("The modules of the room cannot be loaded:", error);
      if (opening === this.#opening) this.#showIncomplete();
    }
  }

  #showIncomplete() {
    this.#unread.setTitle(t("page.stoppedTitle", { title: t("incomplete.title") }));
    this.#sections.showIncomplete();
  }

  /** Return the address of the page with the secrets that it was opened with. */
  #address() {
    const { key, invite } = this.#private.keys.secrets(roomIdIn(location.pathname) ?? "");
    const address = location.origin + location.pathname;
    return withKey(invite === undefined ? address : `${address}#invite=${encodeURIComponent(invite)}`, key);
  }

  /** Forget what the page and this browser have for the account that was signed in. */
  #forgetPrivate() {
    this.#providers.name = undefined;
    const { keys, names, alerts } = this.#private;
    keys.clear();
    names.clear();
    alerts.clear();
    this.#userId = null;
  }

  #showRoom() {
    this.#unread.setTitle(t("page.roomTitle"));
    this.#show("room");
  }

  /** Leave the room, and close the dialogs. */
  #leaveRoom() {
    this.#opening = null;
    this.#room.view?.leave();
    this.#closeDialogs();
  }

  #closeDialogs() {
    const { account, confirm, members, share } = this.#elements;
    for (const { dialog } of [account, confirm, members, share]) dialog.close();
    this.#dialogs.abort();
    this.#dialogs = new AbortController();
  }

  /**
   * Leave the room, and say why.
   *
   * @param {string} title
   * @param {string} text
   * @param {boolean} retry whether there is a button to try again
   */
  #stop(title, text, retry = false) {
    this.#leaveRoom();
    this.#sections.describeStop(title, text, retry);
    this.#unread.setTitle(t("page.stoppedTitle", { title }));
    this.#show("stopped");
    this.#sections.focusStop();
  }

  /** Ask the user to sign in again. The room waits, with the messages that are being sent. */
  #signInAgain() {
    this.#room.view?.wait();
    this.#closeDialogs();
    this.#providers.name = this.#accounts.current()?.displayName;
    this.#accounts.remove();
    this.#showSignIn(t("signIn.expired"));
  }

  #signedOut() {
    this.#forgetPrivate();
    history.pushState(null, "", homePath());
    this.#room.view?.clearDraft();
    this.#leaveRoom();
    this.#showSignIn(t("signIn.signedOut"));
  }

  /**
   * Do the work of a form or a button with the button disabled, and show an error of it in `problem`.
   *
   * @type {Page.Attempt}
   */
  async #attempt(button, problem, work) {
    button.disabled = true;
    showError(problem, null);
    try {
      await work();
    } catch (error) {
      if (error instanceof Refused && ["invalid_token", "unauthenticated"].includes(error.code)) this.#signInAgain();
      else showError(problem, error);
    } finally {
      button.disabled = false;
    }
  }
}
