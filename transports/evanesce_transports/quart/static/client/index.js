// @evanesce/client: a client of Evanesce for browsers and Node.

export { Client } from "./client.js";
export { RoomCipher, longestText } from "./cipher.js";
export { newMessageId } from "./environment.js";
export { KeyMissing, NotSent, OutcomeUnknown, Refused } from "./errors.js";
export { parseRoom, secretsIn } from "./links.js";
