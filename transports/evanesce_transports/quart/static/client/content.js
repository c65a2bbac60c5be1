// The content of a room's messages: as it is, or encrypted from end to end.

import { RoomCipher } from "./cipher.js";
import { KeyMissing } from "./errors.js";

/** @typedef {import("./index.js").Protocol.MessageEvent} MessageEvent */

export class Content {
  #cipher;

  /**
   * @param {string | undefined} key in the fragment of the room's link
   * @param {string} roomId
   */
  constructor(key, roomId) {
    this.#cipher = key === undefined ? null : new RoomCipher(key, roomId);
  }

  /**
   * Return the content for a message with this text, at once where nothing is encrypted. Throws `KeyMissing`.
   *
   * @param {string} text
   * @param {string} senderId
   * @param {string} messageId
   * @param {boolean} isEncrypted what the server says about the room
   * @returns {string | Promise<string>}
   */
  seal(text, senderId, messageId, isEncrypted) {
    if (this.#cipher !== null) return this.#cipher.seal(text, senderId, messageId);
    if (isEncrypted) throw new KeyMissing();
    return text;
  }

  /**
   * Return a message with its text. With a key, all content has to be encrypted, whatever the server says about the room.
   *
   * @param {MessageEvent} message
   * @param {boolean} isEncrypted what the server says about the room
   * @returns {Promise<import("./index.js").MessageEvent>}
   */
  async open(message, isEncrypted) {
    if (this.#cipher === null && !isEncrypted) return message;
    const { content, senderId, messageId } = message;
    const text = (await this.#cipher?.open(content, senderId, messageId)) ?? null;
    return { ...message, content: text, encrypted: true, ...(text === null && { unreadable: true }) };
  }
}
