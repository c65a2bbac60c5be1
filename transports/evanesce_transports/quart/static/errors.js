// The errors of a request, and their descriptions for the user.

import { KeyMissing, NotSent, OutcomeUnknown, Refused } from "./client/errors.js";
import { duration, t } from "./i18n.js";

/** There was no reply: there is no connection, or it was lost. A later request may succeed. */
export class Disconnected extends Error {
  retry = true;

  constructor() {
    super(t("errors.disconnected"));
  }
}

/** An error whose message is written for the user. */
export class Problem extends Error {}

/** @type {readonly string[]} */
const KNOWN = Object.freeze([
  "room_not_found",
  "room_full",
  "room_locked",
  "invite_required",
  "invite_spent",
  "rate_limited",
  "content_too_long",
  "content_empty",
  "invalid_token",
  "unauthenticated",
  "message_not_found",
  "store_unavailable",
  "internal",
]);

/**
 * Return the description of an error for the user: the page's own for codes that it knows, else the message of the error.
 * Throws `error` where it is none of these classes.
 *
 * @param {unknown} error
 */
export function describeError(error) {
  if (error instanceof Refused) return describeRefusal(error);
  if (error instanceof Disconnected || error instanceof Problem) return error.message;
  if (error instanceof KeyMissing) return t(globalThis.isSecureContext ? "errors.keyMissing" : "errors.keyNeedsHttps");
  if (error instanceof NotSent) return t("errors.disconnected");
  if (error instanceof OutcomeUnknown) return t("errors.noAnswer");
  throw error;
}

/** @param {Refused} error */
function describeRefusal({ code, message, retryAfter }) {
  if (KNOWN.includes(code)) return t(/** @type {Page.TextKey} */ (`errors.${code}`));
  if (code !== "banned" && code !== "muted") return message;
  return retryAfter === undefined
    ? t(`errors.${code}`)
    : t(`errors.${code}For`, { time: duration(Math.ceil(retryAfter)) });
}

/**
 * Show the description of `error` in an element; null hides the element.
 *
 * @param {HTMLElement} element
 * @param {unknown} error
 */
export function showError(element, error) {
  element.hidden = error === null;
  element.textContent = error === null ? "" : describeError(error);
}
