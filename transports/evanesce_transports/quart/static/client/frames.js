// The frames of the server. Nothing else looks at a field before it is known to be what the protocol says.

/** @typedef {import("./index.js").Protocol.Frame[number]} Incoming */

const MEMBER = Object.freeze({ userId: "text", displayName: "text" });
const MESSAGE = Object.freeze({
  ...{ messageId: "text", senderId: "text", senderName: "text", content: "text" },
  ...{ createdAt: "time", expiresAt: "text", cursor: "text", replyTo: "text?" }, // a message whose `expiresAt` is no time counts as expired
});
/** What a room has to say of its rules; a server that knows none may leave out all but the first. */
const OPTIONS = Object.freeze({ messageTtl: "number", access: "text?", locked: "flag?" });
/**
 * The fields of the objects in lists.
 *
 * @type {Readonly<Record<string, Readonly<Record<string, string>>>>}
 */
const LISTS = Object.freeze({
  bans: { userId: "text", displayName: "text", until: "time" },
  invites: { inviteId: "text", people: "number", left: "number", expiresAt: "time" },
  members: MEMBER,
  messages: MESSAGE,
});

/**
 * The kinds of the fields that the client and the page use, by the type of the event. A field with `?` may be absent.
 *
 * @type {Readonly<Record<string, Readonly<Record<string, string>>>>}
 */
const FIELDS = Object.freeze({
  bans: { bans: "bans", next: "text?" },
  error: { code: "text", message: "text?", retryAfter: "number?" },
  gap: { since: "text" },
  goodbye: { code: "number", reason: "text?", reconnectAfter: "number?" },
  invite: { inviteId: "text", link: "text", people: "number", left: "number", expiresAt: "time" },
  invites: { invites: "invites" },
  joined: {
    ...{ members: "members?", memberCount: "number", messages: "messages", cursor: "text" },
    ...{ missed: "count", unsent: "texts", room: "room?" },
  },
  member_count: { memberCount: "number" },
  member_joined: { ...MEMBER, memberCount: "number" },
  member_left: { userId: "text", memberCount: "number" },
  member_muted: { userId: "text", until: "time?" },
  member_updated: MEMBER,
  members: { members: "members?", memberCount: "number" },
  message: MESSAGE,
  removed: { reason: "text?", until: "time?" },
  room_closed: { reason: "text?" },
  room_updated: OPTIONS,
  skipped: { count: "number" },
  typing: { userId: "text" },
  unsent: { messageId: "text" },
  vote: { userId: "text", votes: "number", needed: "number", expiresAt: "time", outcome: "text?" },
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
    case "flag":
      return typeof value === "boolean";
    case "room":
      return has(value, { ...OPTIONS, encrypted: "flag?" });
    case "texts":
      return Array.isArray(value) && value.every((one) => isA(one, "text"));
    default:
      return Array.isArray(value) && value.every((one) => has(one, LISTS[kind]));
  }
}
