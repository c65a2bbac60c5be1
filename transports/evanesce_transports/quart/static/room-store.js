// A text for each of some rooms, kept in this browser for the account that is signed in: the user's own names of rooms, and the
// keys that the user wants to keep. The oldest entries are removed when there are too many.

import { basePath } from "./addresses.js";

export class RoomStore {
  #key;
  #most;
  #longest;

  /**
   * @param {string} name what is kept
   * @param {{ most: number, longest: number }} bounds the number of rooms, and of characters for each
   */
  constructor(name, { most, longest }) {
    this.#key = `evanesce.${name}${basePath()}`; // another server on this origin, below another path, has other rooms
    this.#most = most;
    this.#longest = longest;
  }

  /**
   * Return the text of a room; undefined where there is none.
   *
   * @param {string} userId of the account that is signed in
   * @param {string} roomId
   */
  get(userId, roomId) {
    return this.#read(userId).get(roomId);
  }

  /**
   * Keep a text for a room in place of an earlier one. "" removes it.
   *
   * @param {string} userId of the account that is signed in
   * @param {string} roomId
   * @param {string} text
   */
  set(userId, roomId, text) {
    const texts = this.#read(userId);
    texts.delete(roomId);
    if (text !== "" && text.length <= this.#longest) texts.set(roomId, text);
    for (const oldest of texts.keys()) {
      if (texts.size <= this.#most) break;
      texts.delete(oldest);
    }
    this.#write(userId, texts);
  }

  /** Remove everything. */
  clear() {
    this.#write("", new Map());
  }

  /**
   * @param {string} userId
   * @returns {Map<string, string>}
   */
  #read(userId) {
    try {
      const kept = JSON.parse(localStorage.getItem(this.#key) ?? "null");
      if (kept?.userId !== userId || !Array.isArray(kept.texts)) return new Map();
      const isEntry = (/** @type {unknown} */ entry) =>
        Array.isArray(entry) && entry.length === 2 && entry.every((one) => typeof one === "string");
      return new Map(kept.texts.filter(isEntry).slice(-this.#most));
    } catch {
      return new Map(); // storage is forbidden, or the value is not ours
    }
  }

  /**
   * @param {string} userId
   * @param {Map<string, string>} texts
   */
  #write(userId, texts) {
    try {
      if (texts.size === 0) localStorage.removeItem(this.#key);
      else localStorage.setItem(this.#key, JSON.stringify({ userId, texts: [...texts] }));
    } catch {
      // Storage is forbidden or full: nothing is kept.
    }
  }
}
