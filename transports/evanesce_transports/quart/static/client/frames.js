// The frames of the server. Nothing else looks at a field before it is known to be what the protocol says.

/** @typedef {import("./index.js").Protocol.Frame[number]} Incoming */

const MEMBER = Object.freeze({ userId: "text", displayName: "text" });
const MESSAGE = Object.freeze({
  ...{ messageId: "text", senderId: "text", senderName: "text", content: "text" },
  ...{ createdAt: "time", expiresAt: "text", cursor: "text" }, // a message whose `expiresAt` is no time counts as expired
});

/**
 * The kinds of the fields that the client and the page use, by the type of the event. A field with `?` may be absent.
 *
 * @type {Readonly<Record<string, Readonly<Record<string, string>>>>}
 */
const FIELDS = Object.freeze({
  error: { code: "text", message: "text?", retryAfter: "number?" },
  gap: { since: "text" },
  goodbye: { code: "number", reason: "text?", reconnectAfter: "number?" },
  joined: {
    ...{ members: "members?", memberCount: "number", messages: "messages", cursor: "text" },
    ...{ missed: "count", unsent: "texts", room: "room?" },
  },
  member_count: { memberCount: "number" },
  member_joined: { ...MEMBER, memberCount: "number" },
  member_left: { userId: "text", memberCount: "number" },
  member_updated: MEMBER,
  members: { members: "members?", memberCount: "number" },
  message: MESSAGE,
  removed: { reason: "text?", until: "time?" },
  room_closed: { reason: "text?" },
  room_updated: { messageTtl: "number" },
  skipped: { count: "number" },
  typing: { userId: "text" },
  unsent: { messageId: "text" },
  welcome: { userId: "text", displayName: "text?", serverTime: "time", heartbeat: "number" },
});

/**
 * Return the events of a frame; null where it is none, or an event in it is not as the protocol says.
 *
 * @param {unknown} data
 * @returns {Incoming[] | null}
 */
export function parseFrame(data) {
  try {
    const frame = JSON.parse(/** @type {string} */ (data));
    return Array.isArray(frame) && frame.every(isEvent) ? frame : null;
  } catch {
    return null;
  }
}

/** @param {any} event */
function isEvent(event) {
  return typeof event?.type === "string" && has(event, FIELDS[event.type] ?? {});
}

/**
 * @param {any} value
 * @param {Readonly<Record<string, string>>} fields
 */
function has(value, fields) {
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(fields).every(([name, kind]) => {
    const isOptional = kind.endsWith("?");
    if (value[name] === undefined) return isOptional;
    return isA(value[name], isOptional ? kind.slice(0, -1) : kind);
  });
}

/**
 * @param {any} value
 * @param {string} kind
 * @returns {boolean}
 */
function isA(value, kind) {
  switch (kind) {
    case "text":
      return typeof value === "string";
    case "time":
      return typeof value === "string" && !Number.isNaN(Date.parse(value));
    case "number":
      return typeof value === "number";
    case "count":
      return value === null || typeof value === "number";
    case "room":
      return has(value, { messageTtl: "number" });
    case "texts":
      return Array.isArray(value) && value.every((one) => isA(one, "text"));
    case "members":
      return Array.isArray(value) && value.every((one) => has(one, MEMBER));
    default:
      return Array.isArray(value) && value.every((one) => has(one, MESSAGE));
  }
}
