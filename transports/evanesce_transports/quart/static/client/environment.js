// What a client takes from its surroundings. Tests give their own.

/** @typedef {import("./index.js").Environment} Environment */

/**
 * Return the environment of the browser or of Node, with these parts replaced. Throws `TypeError` where there is no WebSocket.
 *
 * @param {Partial<Environment>} replaced
 * @returns {Environment}
 */
export function environmentWith(replaced) {
  const environment = {
    WebSocket: globalThis.WebSocket,
    // Browsers call these only as functions of their window.
    setTimeout: (/** @type {() => void} */ ring, /** @type {number} */ ms) => globalThis.setTimeout(ring, ms),
    clearTimeout: (/** @type {unknown} */ timer) => globalThis.clearTimeout(/** @type {number} */ (timer)),
    monotonic: () => performance.now(),
    wall: () => Date.now(),
    random: () => Math.random(),
    uuid: newMessageId,
    network: typeof globalThis.addEventListener === "function" ? globalThis : undefined,
    ...replaced,
  };
  if (environment.WebSocket === undefined) {
    throw new TypeError(
      "There is no WebSocket here: use Node 22, start Node 20 with --experimental-websocket, or pass one as the option WebSocket",
    );
  }
  return environment;
}

/** Return a random UUID: the id of a new message. Browsers have `crypto.randomUUID` only on pages from HTTPS or from the same machine. */
export function newMessageId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
