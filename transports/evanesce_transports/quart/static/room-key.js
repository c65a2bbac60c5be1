// The keys of rooms that are encrypted from end to end. They come in the fragment of a link, and leave the address bar and the
// history of this tab at once. They are in memory, and in this browser only where the user asks for that.

import { parseRoom, secretsIn } from "./client/links.js";
import { RoomStore } from "./room-store.js";

const KEY_BYTES = 32;
const KEY_LENGTH = 43; // characters of base64url without padding
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const MOST_KEPT = 50; // rooms

/**
 * What the keys need of the browser's window.
 *
 * @typedef {object} Surroundings
 * @property {Pick<Location, "hash" | "pathname" | "search">} location
 * @property {Pick<History, "replaceState" | "state">} history
 */

export class RoomKeys {
  #accounts;
  #surroundings;
  #store = new RoomStore("keys", { most: MOST_KEPT, longest: KEY_LENGTH });
  /** @type {Map<string, Page.RoomSecrets>} */
  #secrets = new Map(); // by the ids of rooms

  /**
   * @param {Pick<import("./account-store.js").AccountStore, "current">} accounts
   * @param {Surroundings} surroundings
   */
  constructor(accounts, surroundings) {
    this.#accounts = accounts;
    this.#surroundings = surroundings;
  }

  /**
   * Take the secrets out of the address bar, for the room that the address names. Return whether there were any.
   *
   * @param {string | undefined} roomId
   */
  takeFromAddress(roomId) {
    const { location, history } = this.#surroundings;
    const { hash } = location;
    if (roomId === undefined || hash.length < 2) return false;
    history.replaceState(history.state, "", location.pathname + location.search);
    const secrets = secretsIn(hash);
    if (Object.keys(secrets).length === 0) return false;
    this.#secrets.set(roomId, { ...this.#secrets.get(roomId), ...secrets });
    return true;
  }

  /**
   * Take the key out of what the user has pasted: the link of this room, or the key alone. Return whether there is one.
   *
   * @param {string} roomId
   * @param {string} text
   */
  takeFromText(roomId, text) {
    const secrets = secretsOf(roomId, text.trim());
    if (secrets?.key === undefined) return false;
    this.#secrets.set(roomId, { ...this.#secrets.get(roomId), ...secrets });
    return true;
  }

  /**
   * Use a key for a room that was created with it.
   *
   * @param {string} roomId
   * @param {string} key
   */
  set(roomId, key) {
    this.#secrets.set(roomId, { key });
  }

  /**
   * Return what the page knows of a room: its key, and an invite.
   *
   * @param {string} roomId
   * @returns {Page.RoomSecrets}
   */
  secrets(roomId) {
    const secrets = this.#secrets.get(roomId) ?? {};
    const account = this.#accounts.current();
    if (secrets.key !== undefined || account === null) return secrets;
    const key = this.#store.get(account.userId, roomId);
    return key === undefined ? secrets : { ...secrets, key };
  }

  /**
   * Forget the invite of a room: the user was admitted.
   *
   * @param {string} roomId
   */
  admitted(roomId) {
    const { key } = this.#secrets.get(roomId) ?? {};
    if (key === undefined) this.#secrets.delete(roomId);
    else this.#secrets.set(roomId, { key });
  }

  /**
   * Return whether this browser keeps the key of a room.
   *
   * @param {string} roomId
   */
  isKept(roomId) {
    const account = this.#accounts.current();
    return account !== null && this.#store.get(account.userId, roomId) !== undefined;
  }

  /**
   * Keep the key of a room in this browser, or keep it no longer.
   *
   * @param {string} roomId
   * @param {boolean} isKept
   */
  keep(roomId, isKept) {
    const account = this.#accounts.current();
    const { key } = this.secrets(roomId);
    if (account === null || key === undefined) return;
    this.#secrets.set(roomId, { ...this.#secrets.get(roomId), key });
    this.#store.set(account.userId, roomId, isKept ? key : "");
  }

  /** Forget all keys, also those that this browser keeps. */
  clear() {
    this.#secrets.clear();
    this.#store.clear();
  }
}

/** Return a new key: 32 random bytes as base64url. */
export function newKey() {
  const binary = String.fromCharCode(...crypto.getRandomValues(new Uint8Array(KEY_BYTES)));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/**
 * Return whether a text has the form of a key.
 *
 * @param {string} text
 */
export function isKey(text) {
  return text.length === KEY_LENGTH && [...text].every((character) => ALPHABET.includes(character));
}

/**
 * @param {string} roomId
 * @param {string} text
 * @returns {Page.RoomSecrets | null}
 */
function secretsOf(roomId, text) {
  if (isKey(text)) return { key: text };
  try {
    const parsed = parseRoom(text);
    return parsed.roomId === roomId && parsed.key !== undefined && isKey(parsed.key)
      ? secretsIn(new URL(text).hash)
      : null;
  } catch {
    return null; // no link
  }
}
