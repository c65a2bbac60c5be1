// One notification of the system for a room, about the messages that arrived while nobody looked at the page. It says how many, and
// what the last one says only where the user asked for that. It is withdrawn when the messages that it speaks of are gone.

/**
 * A message as a notification speaks of it. `text` is null where its content is not to be shown.
 *
 * @typedef {{ senderName: string, text: string | null }} Unseen
 */

/**
 * What shows notifications.
 *
 * @typedef {object} Desk
 * @property {(title: string, options: NotificationOptions) => Promise<{ close(): void }>} show
 * @property {(count: number, last: Unseen) => { title: string, body: string }} describe
 */

const LONGEST = 200; // characters of a message

export class Notifications {
  #desk;
  #tag;
  /** @type {Map<string, Unseen>} */
  #unseen = new Map(); // by message id, the newest last
  /** @type {{ close(): void } | null} */
  #shown = null;
  /** @type {Promise<void>} */
  #drawing = Promise.resolve();

  /**
   * @param {string} tag of the room: a newer notification replaces an older one
   * @param {Desk} desk
   */
  constructor(tag, desk) {
    this.#tag = tag;
    this.#desk = desk;
  }

  /**
   * Show that a message has arrived.
   *
   * @param {string} messageId
   * @param {Unseen} message
   */
  add(messageId, { senderName, text }) {
    this.#unseen.set(messageId, { senderName, text: text === null ? null : text.slice(0, LONGEST) });
    return this.#draw();
  }

  /**
   * Speak of a message no longer: it has expired, or was taken back.
   *
   * @param {string} messageId
   */
  remove(messageId) {
    return this.#unseen.delete(messageId) ? this.#draw() : this.#drawing;
  }

  /** Withdraw the notification: somebody looks at the page, or has left the room. */
  clear() {
    if (this.#unseen.size === 0 && this.#shown === null) return this.#drawing;
    this.#unseen.clear();
    return this.#draw();
  }

  /** Show what there is now, when what was asked for before is shown: a notification can be closed only then. */
  #draw() {
    this.#drawing = this.#drawing.then(() => this.#show());
    return this.#drawing;
  }

  async #show() {
    const last = [...this.#unseen.values()].at(-1);
    this.#shown?.close();
    this.#shown = null;
    if (last === undefined) return;
    const { title, body } = this.#desk.describe(this.#unseen.size, last);
    try {
      this.#shown = await this.#desk.show(title, { body, tag: this.#tag, silent: true });
    } catch {
      // The user has withdrawn the permission.
    }
  }
}

/** Return whether the browser can show notifications, and whether the user may still be asked. */
export function permission() {
  return "Notification" in globalThis && isSecureContext ? Notification.permission : "denied";
}

/** Ask the user for the permission. Return whether there is one. Call it in an event of the user's. */
export async function askPermission() {
  return permission() !== "denied" && (await Notification.requestPermission()) === "granted";
}

/**
 * Show a notification of this page.
 *
 * @type {Desk["show"]}
 */
export async function showNotification(title, options) {
  try {
    const notification = new Notification(title, options);
    notification.addEventListener("click", () => {
      focus();
      notification.close();
    });
    return notification;
  } catch {
    return showByWorker(title, options); // browsers of phones show them only by a service worker
  }
}

/**
 * @param {string} title
 * @param {NotificationOptions} options
 */
async function showByWorker(title, options) {
  const registration = await navigator.serviceWorker.getRegistration();
  if (registration === undefined) throw new TypeError("There is no service worker");
  await registration.showNotification(title, options);
  const [notification] = await registration.getNotifications({ tag: options.tag });
  return notification;
}
