// Names and events as text.

import { duration, list, t } from "./i18n.js";

export const HUES = Object.freeze([0, 30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 330]); // degrees

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
 * Return the hue that belongs to the id of a user, in degrees: one of `HUES`.
 *
 * @param {string} userId
 */
export function hue(userId) {
  let sum = 0;
  for (const letter of userId) sum = (sum * 31 + letter.charCodeAt(0)) % 65_521;
  return HUES[sum % HUES.length];
}

/**
 * Return the sentence that says which messages nobody will see here.
 *
 * @param {import("./client/index.js").MissedEvent} missed
 */
export function describeMissed({ count, reason }) {
  if (count === null) return t("message.perhapsMissed");
  return t(reason === "resume" ? "message.missed" : "message.expired", { count });
}

/**
 * Return the sentences that say why the user was removed, and for how long.
 *
 * @param {Protocol.Removed} removed
 * @param {number} now the server's time in ms since 1970
 */
export function describeRemoval({ reason, until }, now) {
  const by = t(reason === "vote" ? "stopped.byVote" : "stopped.byCreator");
  if (until === undefined) return by;
  const seconds = Math.ceil((Date.parse(until) - now) / 1000);
  return `${by} ${t("stopped.comeBack", { time: duration(Math.max(1, seconds)) })}`;
}

/**
 * Return what a room is called that the user has not named: some letters of its id, by which it is told from others.
 *
 * @param {string} roomId
 */
export function unnamed(roomId) {
  return t("room.unnamed", { letters: isolate(roomId.slice(0, 4)) });
}
