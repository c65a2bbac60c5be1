// The errors of a client.

/** The server refused a command: `code`, `field`, `retry` and `retryAfter` (seconds) are those of the protocol's `error`. */
export class Refused extends Error {
  name = "Refused";

  /** @param {Partial<import("./index.js").Protocol.ErrorReply>} error */
  constructor({ code = "internal", message = "", field, retry = false, retryAfter } = {}) {
    super(message);
    this.code = code;
    this.field = field;
    this.retry = retry;
    this.retryAfter = retryAfter;
  }
}

/** The command never reached the network: there was no connection for it in its time. */
export class NotSent extends Error {
  name = "NotSent";

  constructor(message = "The server cannot be reached.") {
    super(message);
  }
}

/** The command was written, and no answer came in its time: the server may have carried it out, or not. */
export class OutcomeUnknown extends Error {
  name = "OutcomeUnknown";

  constructor(message = "The server did not answer.") {
    super(message);
  }
}

/** The room is encrypted, and there is no key for it, or one that cannot be used. */
export class KeyMissing extends Error {
  name = "KeyMissing";

  constructor(message = "This room is encrypted, and its link has no key (#k=). Ask for the whole link.") {
    super(message);
  }
}
