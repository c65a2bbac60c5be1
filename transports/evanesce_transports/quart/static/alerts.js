// Telling the user of messages that arrive while nobody looks at the page, as far as the user has asked for it.

import { t } from "./i18n.js";
import { Notifications, showNotification } from "./notifications.js";
import { Sound } from "./sound.js";

export class Alerts {
  #settings;
  #unread;
  #sound = new Sound();
  /** @type {Notifications | null} */
  #notifications = null;

  /**
   * @param {import("./alert-settings.js").AlertSettings} settings
   * @param {import("./unread.js").Unread} unread
   */
  constructor(settings, unread) {
    this.#settings = settings;
    this.#unread = unread;
    const looked = () => isSeen() && this.#seen();
    addEventListener("focus", looked);
    document.addEventListener("visibilitychange", looked);
  }

  /**
   * Tell of the messages of a room from now on.
   *
   * @param {string} roomId
   */
  enter(roomId) {
    this.leave();
    this.#notifications = new Notifications(roomId, { show: showNotification, describe });
  }

  /** Tell of nothing any more, and withdraw what was told. */
  leave() {
    this.#seen();
    this.#notifications = null;
  }

  /**
   * Tell of a message of somebody else's, unless the user sees it arrive.
   *
   * @param {import("./client/index.js").MessageEvent} message
   */
  arrived({ messageId, senderName, content }) {
    if (isSeen()) return;
    const { notify, content: isShown, sound } = this.#settings.current;
    this.#unread.add(messageId);
    if (notify) this.#notifications?.add(messageId, { senderName, text: isShown ? content : null });
    if (sound) this.#sound.play();
  }

  /**
   * Speak of a message no longer: it is gone.
   *
   * @param {string} messageId
   */
  gone(messageId) {
    this.#unread.remove(messageId);
    this.#notifications?.remove(messageId);
  }

  /**
   * Show the dialog in which the user asks for it.
   *
   * @param {AbortSignal} signal closes it
   */
  async open(signal) {
    const { openAlerts } = await import("./alerts-dialog.js");
    openAlerts(this.#settings, this.#sound, signal);
  }

  #seen() {
    this.#unread.clear();
    this.#notifications?.clear();
  }
}

function isSeen() {
  return !document.hidden && document.hasFocus();
}

/** @type {import("./notifications.js").Desk["describe"]} */
function describe(count, { senderName, text }) {
  if (text === null) return { title: t("alerts.newMessages", { count }), body: "" };
  return { title: senderName, body: text };
}
