// The text of a message as nodes of the page: addresses are links, `code` is marked, and nothing else is. Text stays text. No
// regular expression is used, because browsers keep the last text that matched one; the time is linear in the text's length.

const LONGEST_ADDRESS = 2_048; // characters: longer ones stay text
const MAX_PARTS = 400; // links and pieces of code; what follows stays text
const SCHEMES = Object.freeze(["https", "http"]);
const ACTION = "/me ";
/** Characters at the end of an address that belong to the sentence around it. */
const SENTENCE = ".,;:!?'\"*_~…";
/** @type {Readonly<Record<string, string>>} */
const BRACKETS = Object.freeze({ ")": "(", "]": "[", "}": "{" });
/** Characters that end an address: those that no address has as they are, or that turn the direction of what is around them. */
const ENDS = '<>"`\\|^';
const FIRST_OF_OTHER_DIRECTION = 0x590; // Hebrew: from here on, characters may reorder what is shown

/**
 * A part of a text. `shown` is what stands there; `address` is where a link goes.
 *
 * @typedef {{ kind: "text", shown: string } | { kind: "code", shown: string } | { kind: "link", shown: string, address: string }} Part
 */

/**
 * Return the nodes that show a text.
 *
 * @param {string} text
 */
export function textNodes(text) {
  return parseText(text).map((part) => {
    if (part.kind === "text") return document.createTextNode(part.shown);
    return part.kind === "code" ? codeElement(part.shown) : linkElement(part.shown, part.address);
  });
}

/**
 * Return what somebody does, if the text says so with `/me`; else null.
 *
 * @param {string} text
 */
export function actionIn(text) {
  return text.startsWith(ACTION) && text.trim().length > ACTION.length ? text.slice(ACTION.length) : null;
}

/**
 * Return the parts of a text, in order.
 *
 * @param {string} text
 */
export function parseText(text) {
  /** @type {Part[]} */
  const parts = [];
  let plain = 0; // where the text begins that is in no part yet
  let at = 0;
  let found = 0;
  /** @param {Part} part @param {number} start @param {number} end */
  const add = (part, start, end) => {
    if (start > plain) parts.push({ kind: "text", shown: text.slice(plain, start) });
    parts.push(part);
    plain = at = end;
    found += 1;
  };
  const next = { code: text.indexOf("`"), address: text.indexOf("://") };
  while (found < MAX_PARTS) {
    if (next.code >= 0 && next.code < at) next.code = text.indexOf("`", at);
    if (next.address >= 0 && next.address < at) next.address = text.indexOf("://", at);
    if (next.code < 0 && next.address < 0) break;
    if (next.address < 0 || (next.code >= 0 && next.code < next.address)) {
      const end = endOfCode(text, next.code);
      if (end === null) at = next.code + 1;
      else add({ kind: "code", shown: text.slice(next.code + 1, end) }, next.code, end + 1);
    } else {
      const start = startOfAddress(text, next.address, at);
      if (start === null) at = next.address + 3;
      else {
        const end = endOfAddress(text, next.address + 3);
        const link = linkOf(text.slice(start, end));
        if (link === null) at = end;
        else add(link.part, start, start + link.length);
      }
    }
  }
  if (plain < text.length) parts.push({ kind: "text", shown: text.slice(plain) });
  return parts;
}

/**
 * Return where the code that begins with the sign at `start` ends; null where it does not end on its line, or is empty.
 *
 * @param {string} text
 * @param {number} start
 */
function endOfCode(text, start) {
  const end = text.indexOf("`", start + 1);
  const isCode = end > start + 1 && !text.slice(start, end).includes("\n");
  return isCode ? end : null;
}

/**
 * Return where the scheme before `://` begins; null where it is none of `SCHEMES`, or is the end of a longer word.
 *
 * @param {string} text
 * @param {number} colon
 * @param {number} from
 */
function startOfAddress(text, colon, from) {
  for (const scheme of SCHEMES) {
    const start = colon - scheme.length;
    if (start < from || text.slice(start, colon).toLowerCase() !== scheme) continue;
    const before = start > 0 ? text[start - 1] : " ";
    return isLetterOrDigit(before) ? null : start;
  }
  return null;
}

/**
 * @param {string} text
 * @param {number} start
 */
function endOfAddress(text, start) {
  let end = start;
  while (end < text.length && !endsAddress(text[end])) end += 1;
  return end;
}

/** @param {string} character */
function endsAddress(character) {
  const code = character.charCodeAt(0);
  if (code <= 0x20 || ENDS.includes(character)) return true;
  if (code < 0x7f) return false;
  return code <= 0xa0 || character.trim() === "" || isInvisible(code);
}

/**
 * Return whether a character shows nothing, or turns the direction of what is around it.
 *
 * @param {number} code
 */
function isInvisible(code) {
  return (
    code === 0xad ||
    code === 0x61c ||
    (code >= 0x200b && code <= 0x200f) ||
    (code >= 0x2028 && code <= 0x202e) ||
    (code >= 0x2060 && code <= 0x206f) ||
    code === 0xfeff
  );
}

/**
 * Return the link that an address is, with the length of what belongs to it; null where it is none, or one that deceives: with a
 * user name, behind which the host is easily overlooked.
 *
 * @param {string} candidate
 * @returns {{ part: Part, length: number } | null}
 */
function linkOf(candidate) {
  if (candidate.length > LONGEST_ADDRESS) return null;
  const written = withoutSentence(candidate);
  let address;
  try {
    address = new URL(written);
  } catch {
    return null;
  }
  if (address.host === "" || address.username !== "" || address.password !== "") return null;
  const { href } = address;
  const shown = isShownAsWritten(written, address) ? written : href;
  return { part: { kind: "link", shown, address: href }, length: written.length };
}

/**
 * Return an address without the punctuation of the sentence around it. A closing bracket that was opened in the address stays.
 *
 * @param {string} candidate
 */
function withoutSentence(candidate) {
  /** @type {Record<string, number>} */
  const open = { "(": 0, "[": 0, "{": 0 };
  for (const character of candidate) {
    if (character in open) open[character] += 1;
    else if (character in BRACKETS) open[BRACKETS[character]] -= 1;
  }
  let end = candidate.length;
  for (; end > 0; end -= 1) {
    const last = candidate[end - 1];
    if (last in BRACKETS) {
      const opening = BRACKETS[last];
      if (open[opening] >= 0) break;
      open[opening] += 1;
    } else if (!SENTENCE.includes(last)) break;
  }
  return candidate.slice(0, end);
}

/**
 * Return whether an address looks like what it is: its host stands there as browsers write it, and nothing reorders it.
 *
 * @param {string} written
 * @param {URL} address
 */
function isShownAsWritten(written, { protocol, host }) {
  const origin = `${protocol}//${host}`;
  if (written.slice(0, origin.length).toLowerCase() !== origin) return false;
  if (!["", "/", "?", "#"].includes(written.slice(origin.length, origin.length + 1))) return false;
  for (let at = 0; at < written.length; at += 1) if (written.charCodeAt(at) >= FIRST_OF_OTHER_DIRECTION) return false;
  return true;
}

/** @param {string} character */
function isLetterOrDigit(character) {
  return character.toLowerCase() !== character.toUpperCase() || (character >= "0" && character <= "9");
}

/** @param {string} shown */
function codeElement(shown) {
  const element = document.createElement("code");
  element.textContent = shown;
  return element;
}

/**
 * @param {string} shown
 * @param {string} address
 */
function linkElement(shown, address) {
  const element = document.createElement("a");
  element.href = address;
  element.target = "_blank";
  element.rel = "noopener noreferrer";
  element.referrerPolicy = "no-referrer";
  element.dir = "ltr"; // isolates it from the direction of the text around it
  element.textContent = shown;
  return element;
}
