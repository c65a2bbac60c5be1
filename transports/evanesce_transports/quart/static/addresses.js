// The addresses of this server: the path of its public address, and what is below it.

const ROOM_PATH = /^\/r\/([^/]+)\/?$/;

/** Return the path that all addresses of this server begin with, without a slash at its end; "" where there is none. */
export function basePath() {
  return new URL("../..", import.meta.url).pathname.slice(0, -1); // the files are in a folder of `static`
}

/** Return the address of the server, which all its other addresses begin with. */
export function serverAddress() {
  return location.origin + basePath();
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
 * Return the address of a room with the key of its encryption, if it has one.
 *
 * @param {string} address which may have an invite in its fragment
 * @param {string | undefined} key
 */
export function withKey(address, key) {
  if (key === undefined) return address;
  const [place, secrets] = address.split("#");
  return `${place}#k=${key}${secrets === undefined ? "" : `&${secrets}`}`;
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
