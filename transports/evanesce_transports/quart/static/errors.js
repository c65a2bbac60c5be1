// What can go wrong with a request, and how to say it to a person.

/** The server refused: `code`, `retry` and `retryAfter` (seconds) are the protocol's `error`. */
export class Refused extends Error {
  constructor({ code = "internal", message = "", retry = false, retryAfter } = {}) {
    super(message);
    this.code = code;
    this.retry = retry;
    this.retryAfter = retryAfter;
  }
}

/** There was no answer: the connection is lost, or there was none. Later there may be one. */
export class Disconnected extends Error {
  retry = true;

  constructor() {
    super("The server cannot be reached.");
  }
}

/** Something went wrong that its own message tells a person best. */
export class Problem extends Error {}

const WORDS = {
  room_not_found: "There is no such room, or it was closed.",
  room_full: "This room is full.",
  rate_limited: "That was a lot at once. Wait a moment.",
  content_too_long: "This message is too long.",
  content_empty: "There is nothing in this message.",
  invalid_token: "Your sign-in has run out.",
  unauthenticated: "You are not signed in.",
  message_not_found: "This message is gone already.",
  store_unavailable: "The server has lost its message store for a moment.",
  internal: "Something went wrong in the server.",
};

/** Words for `error`; the server's own where it has the better ones. */
export function friendly(error) {
  if (error instanceof Refused) return WORDS[error.code] ?? error.message;
  if (error instanceof Disconnected || error instanceof Problem) return error.message;
  throw error;
}
