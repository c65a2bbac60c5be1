// The errors of a request, and their descriptions for the user.

import { KeyMissing, NotSent, OutcomeUnknown, Refused } from "./client/index.js";
import { duration } from "./format.js";

/** There was no reply: there is no connection, or it was lost. A later request may succeed. */
export class Disconnected extends Error {
  retry = true;

  constructor() {
    super("The server cannot be reached.");
  }
}

/** An error whose message is written for the user. */
export class Problem extends Error {}

/** @type {Readonly<Record<string, string>>} */
const DESCRIPTIONS = Object.freeze({
  room_not_found: "This room does not exist, or it was closed.",
  room_full: "This room is full.",
  room_locked: "This room is locked: it lets nobody else in at the moment.",
  invite_required: "Only invited people may join this room. Ask for a link with an invite, and open all of it.",
  invite_spent: "This invite has expired or is used up. Ask for a new one.",
  rate_limited: "Too many requests. Wait a moment and try again.",
  content_too_long: "This message is too long.",
  content_empty: "This message is empty.",
  invalid_token: "Your sign-in has expired.",
  unauthenticated: "You are not signed in.",
  message_not_found: "This message no longer exists.",
  store_unavailable: "The server cannot reach its message store at the moment.",
  internal: "The server has failed with an internal error.",
});

/**
 * Return the description of an error for the user: the page's own for codes that it knows, else the message of the error.
 * Throws `error` where it is none of these classes.
 *
 * @param {unknown} error
 */
export function describeError(error) {
  if (error instanceof Refused) return DESCRIPTIONS[error.code] ?? describeWait(error) ?? error.message;
  if (error instanceof Disconnected || error instanceof Problem || error instanceof KeyMissing) return error.message;
  if (error instanceof NotSent || error instanceof OutcomeUnknown) return error.message;
  throw error;
}

/** @param {Refused} error */
function describeWait({ code, retryAfter }) {
  const wait = retryAfter === undefined ? "for now" : `for ${duration(Math.ceil(retryAfter))}`;
  if (code === "banned") return `You are banned from this room ${wait}.`;
  return code === "muted" ? `You may not write in this room ${wait}.` : undefined;
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
