// The addresses of this server: the path of its public address, and what is below it.

const ROOM_PATH = /^\/r\/([^/]+)\/?$/;

/** Return the path that all addresses of this server begin with, without a slash at its end; "" where there is none. */
export function basePath() {
  return new URL("..", import.meta.url).pathname.slice(0, -1);
}

/**
 * Return the address of the WebSocket.
 *
 * @param {string} [roomId] the room to join: a hint for a server with several workers
 */
export function webSocketAddress(roomId) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const query = roomId === undefined ? "" : `?roomId=${encodeURIComponent(roomId)}`;
  return `${scheme}://${location.host}${basePath()}/ws${query}`;
}

/**
 * Return the path of a room's page.
 *
 * @param {string} roomId
 */
export function roomPath(roomId) {
  return `${basePath()}/r/${roomId}`;
}

/**
 * Return a path below the base path as it is, and any other path with the base path in front.
 *
 * @param {string} path
 */
export function absolutePath(path) {
  const base = basePath();
  return path.startsWith(`${base}/`) ? path : base + path;
}

/**
 * Return the secrets in the fragment of a room's link: the key of its encryption, and an invite. No request contains them.
 *
 * @param {string} fragment with its `#`; may be empty
 * @returns {Page.RoomSecrets}
 */
export function secretsIn(fragment) {
  /** @type {Page.RoomSecrets} */
  const secrets = {};
  for (const part of fragment.slice(1).split("&")) {
    const [name, ...value] = part.split("=");
    if (name === "k") secrets.key = value.join("=");
    else if (name === "invite" && value.join("=")) secrets.invite = percentDecoded(value.join("="));
  }
  return secrets;
}

/**
 * Return the address of a room with the key of its encryption, if it has one.
 *
 * @param {string} address without a fragment
 * @param {string | undefined} key
 */
export function withKey(address, key) {
  return key === undefined ? address : `${address}#k=${key}`;
}

/** @param {string} text */
function percentDecoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a % that encodes nothing
  }
}

/** Return the path of the page with the user's rooms. */
export function homePath() {
  return `${basePath()}/`;
}

/**
 * Return the room id that a path names, in lower case; undefined where the path is not that of a room's page.
 *
 * @param {string} path
 */
export function roomIdIn(path) {
  return ROOM_PATH.exec(absolutePath(path).slice(basePath().length))?.[1].toLowerCase();
}
