// How many messages arrived while nobody looked at the page: in the title, and on the icon of the installed page. A message that
// has expired is not counted any more.

const MOST = 99; // larger counts are shown as this one and a plus sign

/**
 * What shows the count.
 *
 * @typedef {object} Badges
 * @property {(title: string) => void} setTitle
 * @property {((count: number) => Promise<void>) | undefined} setAppBadge undefined where the browser has no such thing
 */

export class Unread {
  #badges;
  #title = "";
  /** @type {Set<string>} */
  #messageIds = new Set();

  /** @param {Badges} badges */
  constructor(badges) {
    this.#badges = badges;
  }

  /** Return how many messages nobody has seen. */
  get count() {
    return this.#messageIds.size;
  }

  /**
   * Set the title without a count.
   *
   * @param {string} title
   */
  setTitle(title) {
    this.#title = title;
    this.#drawTitle();
  }

  /**
   * Count a message that arrived while nobody looked.
   *
   * @param {string} messageId
   */
  add(messageId) {
    this.#messageIds.add(messageId);
    this.#draw();
  }

  /**
   * Do not count a message any more.
   *
   * @param {string} messageId
   */
  remove(messageId) {
    if (this.#messageIds.delete(messageId)) this.#draw();
  }

  /** Count from 0: somebody looks at the page. */
  clear() {
    if (this.#messageIds.size === 0) return;
    this.#messageIds.clear();
    this.#draw();
  }

  #draw() {
    this.#drawTitle();
    // It fails where the page is not installed, which is no error.
    this.#badges.setAppBadge?.(this.count).catch(() => {});
  }

  #drawTitle() {
    const shown = this.count > MOST ? `${MOST}+` : this.count;
    this.#badges.setTitle(this.count === 0 ? this.#title : `(${shown}) ${this.#title}`);
  }
}
