// Why the server closes a room or a connection, in the language of the page. The server says it in English.

import { t } from "./i18n.js";

/** @type {Readonly<Record<string, Page.TextKey>>} */
const KNOWN = Object.freeze({
  "The creator of the room has closed it.": "reasons.byCreator",
  "An operator of this server has closed the room.": "reasons.byOperator",
  "The account of the room's creator was erased.": "reasons.creatorErased",
  "The room was closed.": "reasons.roomClosed",
  "The server is going away.": "reasons.goingAway",
  "The server is restarting.": "reasons.restarting",
  "A fault in the server ended this connection. Come back in a moment.": "reasons.fault",
  "Too slow: too much data was waiting. Reconnect, and resume with `since`.": "reasons.tooSlow",
  "Too slow: too much data was waiting. Read the replies.": "reasons.tooSlow",
  "Too many connections of this user. Close one of them.": "reasons.tooManyConnections",
  "Far above the rate limit.": "reasons.tooOften",
  "The client did not answer pings.": "reasons.silent",
  "The client sent no hello in time.": "reasons.silent",
  "The token has expired. Sign in again.": "reasons.signInExpired",
  "Signed out.": "reasons.signedOut",
});

/**
 * Return a reason of the server in the language of the page; one that is not known, such as that of a plugin, as it is.
 *
 * @param {string} reason
 */
export function describeReason(reason) {
  return Object.hasOwn(KNOWN, reason) ? t(KNOWN[reason]) : reason;
}
