// The links of rooms: `https://example.org/r/{roomId}#k=KEY&invite=SECRET`.

const ROOM = /\/r\/([^/]+)\/?$/;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Return the secrets in the fragment of a room's link: the key of its encryption, and an invite. No request contains them.
 *
 * @param {string} fragment with its `#`; may be empty
 */
export function secretsIn(fragment) {
  /** @type {import("./index.js").RoomSecrets} */
  const secrets = {};
  for (const part of fragment.slice(1).split("&")) {
    const [name, ...value] = part.split("=");
    if (name === "k") secrets.key = value.join("=");
    else if (name === "invite" && value.join("=")) secrets.invite = percentDecoded(value.join("="));
  }
  return secrets;
}

/**
 * Return the id and the secrets that a link has, or the id where the text is only that. Throws `TypeError` where it is neither.
 *
 * @param {string} text
 */
export function parseRoom(text) {
  const isLink = text.includes("/");
  const { pathname, hash } = isLink ? new URL(text) : { pathname: `/r/${text}`, hash: "" };
  const roomId = percentDecoded(ROOM.exec(pathname)?.[1] ?? "").toLowerCase();
  if (!UUID.test(roomId)) throw new TypeError("This is neither the link nor the id of a room");
  return { roomId, ...secretsIn(hash) };
}

/** @param {string} text */
function percentDecoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a % that encodes nothing
  }
}
