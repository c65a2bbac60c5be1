// Names as text.

import { list, t } from "./i18n.js";

/**
 * Return `name` in isolation marks, so that its direction does not change the order of the text beside it.
 *
 * @param {string} name
 */
export function isolate(name) {
  return `\u2068${name}\u2069`;
}

/**
 * Return the sentence that says who is typing; "" where there are no names.
 *
 * @param {string[]} names
 */
export function typingText(names) {
  if (names.length === 0) return "";
  if (names.length > 3) return t("people.typingMany");
  return t("people.typing", { names: list(names), count: names.length });
}

/**
 * Return one or two letters that stand for a name: the first ones of its first and its last word.
 *
 * @param {string} name
 */
export function initials(name) {
  const words = name.split(" ").filter(Boolean);
  const ends = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  return ends.map((word) => String.fromCodePoint(/** @type {number} */ (word.codePointAt(0))).toUpperCase()).join("");
}

/**
 * Return the hue of a user in degrees, one of twelve.
 *
 * @param {string} userId
 */
export function hue(userId) {
  let sum = 0;
  for (const letter of userId) sum = (sum * 31 + letter.charCodeAt(0)) % 65_521;
  return (sum % 12) * 30;
}
