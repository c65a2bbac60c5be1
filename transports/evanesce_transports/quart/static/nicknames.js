// The user's own names of rooms. Nobody else sees them: they are in this browser alone, until the user signs out.

import { RoomStore } from "./room-store.js";

const LONGEST = 40; // characters
const MOST = 200; // rooms

export class Nicknames {
  #accounts;
  #store = new RoomStore("rooms", { most: MOST, longest: 2 * LONGEST });

  /** @param {Pick<import("./account-store.js").AccountStore, "current">} accounts */
  constructor(accounts) {
    this.#accounts = accounts;
  }

  /**
   * Return the name of a room; undefined where it has none.
   *
   * @param {string} roomId
   */
  get(roomId) {
    const account = this.#accounts.current();
    return account === null ? undefined : this.#store.get(account.userId, roomId);
  }

  /**
   * Name a room. A name of nothing but white space removes the name that it has. Return the name as it is kept.
   *
   * @param {string} roomId
   * @param {string} name of which the first `LONGEST` characters are kept
   */
  set(roomId, name) {
    const account = this.#accounts.current();
    const kept = characters(name).slice(0, LONGEST).join("").trim();
    if (account !== null) this.#store.set(account.userId, roomId, kept);
    return kept;
  }

  /** Forget all names. */
  clear() {
    this.#store.clear();
  }
}

/**
 * Return the characters of a name, with spaces in place of those that control.
 *
 * @param {string} name
 */
function characters(name) {
  return Array.from(name.trim(), (character) => (character < " " || character === "\u007f" ? " " : character));
}
