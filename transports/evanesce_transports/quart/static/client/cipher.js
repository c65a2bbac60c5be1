// The end-to-end encryption of a room, as the protocol describes it. The key never leaves the program.

import { KeyMissing } from "./errors.js";

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const LENGTH_BYTES = 4;
const LEAST_PADDED_BYTES = 256;
const INFO = "evanesce room key 1";

export class RoomCipher {
  #roomId;
  #key;

  /**
   * @param {string} keyText the key in the fragment of the room's link
   * @param {string} roomId
   */
  constructor(keyText, roomId) {
    this.#roomId = roomId;
    this.#key = deriveKey(keyText, roomId);
    this.#key.catch(() => {}); // what uses the key reports this
  }

  /**
   * Return the content for a message with this text. Throws `KeyMissing` where the key cannot be used.
   *
   * @param {string} text
   * @param {string} senderId
   * @param {string} messageId
   */
  async seal(text, senderId, messageId) {
    const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
    const algorithm = { name: "AES-GCM", iv, additionalData: this.#associated(senderId, messageId) };
    const sealed = await crypto.subtle.encrypt(algorithm, await this.#key, pad(new TextEncoder().encode(text)));
    return encode(new Uint8Array([...iv, ...new Uint8Array(sealed)]));
  }

  /**
   * Return the text of a message with this content; null where it cannot be opened.
   *
   * @param {string} content
   * @param {string} senderId
   * @param {string} messageId
   */
  async open(content, senderId, messageId) {
    const raw = decode(content);
    if (raw === null || raw.length < NONCE_BYTES + TAG_BYTES + LEAST_PADDED_BYTES) return null;
    const iv = raw.subarray(0, NONCE_BYTES);
    const algorithm = { name: "AES-GCM", iv, additionalData: this.#associated(senderId, messageId) };
    try {
      const padded = new Uint8Array(await crypto.subtle.decrypt(algorithm, await this.#key, raw.subarray(NONCE_BYTES)));
      const text = padded.slice(LENGTH_BYTES, LENGTH_BYTES + new DataView(padded.buffer).getUint32(0));
      const expected = pad(text);
      if (expected.length !== padded.length || expected.some((byte, at) => byte !== padded[at])) return null;
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(text);
    } catch {
      return null; // the key is another one, or the content was changed or moved
    }
  }

  /**
   * @param {string} senderId
   * @param {string} messageId
   */
  #associated(senderId, messageId) {
    return new TextEncoder().encode(this.#roomId + senderId + messageId);
  }
}

/**
 * Return how many bytes a text may have, so that its content has at most `contentBytes` bytes. 0: no text fits.
 *
 * @param {number} contentBytes
 */
export function longestText(contentBytes) {
  const padded = Math.floor((contentBytes * 3) / 4) - NONCE_BYTES - TAG_BYTES;
  return padded < LEAST_PADDED_BYTES ? 0 : 2 ** Math.floor(Math.log2(padded)) - LENGTH_BYTES;
}

/**
 * @param {string} keyText
 * @param {string} roomId
 */
async function deriveKey(keyText, roomId) {
  const raw = decode(keyText);
  if (raw?.length !== KEY_BYTES) throw new KeyMissing("The key in this link is not whole. Copy all of the link.");
  if (!crypto.subtle) throw new KeyMissing("Browsers encrypt only on pages from HTTPS.");
  const encoder = new TextEncoder();
  const derivation = { name: "HKDF", hash: "SHA-256", salt: encoder.encode(roomId), info: encoder.encode(INFO) };
  const key = await crypto.subtle.importKey("raw", raw, "HKDF", false, ["deriveKey"]);
  return crypto.subtle.deriveKey(derivation, key, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
}

/** @param {Uint8Array} text */
function pad(text) {
  let size = LEAST_PADDED_BYTES;
  while (size < LENGTH_BYTES + text.length) size *= 2;
  const padded = new Uint8Array(size);
  new DataView(padded.buffer).setUint32(0, text.length);
  padded.set(text, LENGTH_BYTES);
  return padded;
}

/** @param {Uint8Array} bytes */
function encode(bytes) {
  const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/**
 * Return the bytes of base64url text; null where it is none.
 *
 * @param {string} text
 */
function decode(text) {
  // Without regular expressions: a browser keeps the last text that matched one, and this may be a key.
  const padding = text.endsWith("==") ? 2 : Number(text.endsWith("="));
  const bare = text.slice(0, text.length - padding);
  try {
    const binary = atob(bare.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
    return encode(bytes) === bare ? bytes : null;
  } catch {
    return null;
  }
}
