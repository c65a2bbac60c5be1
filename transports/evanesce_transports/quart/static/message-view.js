// The element of one message. Content is set as text, never as markup.

import { initials } from "./format.js";
import { t } from "./i18n.js";
import { actionIn, textNodes } from "./rich-text.js";

const TALL_LINES = 10; // a text of more lines has a bounded height, and is scrolled
const TALL_LENGTH = 500; // characters

/**
 * A message as it is shown.
 *
 * @typedef {object} Shown
 * @property {number} hue of its sender, in degrees
 * @property {string} name of its sender
 * @property {string} content
 * @property {boolean} own
 */

/**
 * The parts of a message. `side` holds how long it has left, and its buttons.
 *
 * @typedef {object} MessageParts
 * @property {HTMLElement} element
 * @property {HTMLElement} text
 * @property {HTMLElement} wick the line that burns down
 * @property {HTMLElement} side
 * @property {HTMLElement} left
 */

/**
 * Return a new element for a message.
 *
 * @param {Shown} message
 * @returns {MessageParts}
 */
export function createMessage({ hue, name, content, own }) {
  const element = create("li", own ? "message own" : "message");
  element.tabIndex = -1;
  element.style.setProperty("--hue", String(hue));
  const avatar = createAvatar(hue, name);
  const sender = create("bdi", "name", name);
  const body = create("div", "body");
  const text = create("p", "text");
  text.dir = "auto";
  const action = actionIn(content);
  element.classList.toggle("action", action !== null);
  if (action !== null) text.append(create("bdi", "actor", name), " ");
  text.append(...textNodes(action ?? content));
  if (content.length > TALL_LENGTH || content.split("\n", TALL_LINES + 1).length > TALL_LINES) {
    text.classList.add("tall");
    text.tabIndex = 0; // so that the keyboard scrolls it
  }
  const wick = create("span", "wick");
  wick.setAttribute("aria-hidden", "true");
  const side = create("div", "side");
  const left = create("span", "left");
  left.setAttribute("aria-live", "off"); // it changes every second
  side.append(left);
  body.append(text, wick, side);
  element.append(avatar, sender, body);
  return { element, text, wick, side, left };
}

/**
 * Return the sign of a person: initials on the person's hue. It says nothing that the name beside it does not say.
 *
 * @param {number} hue in degrees
 * @param {string} name
 */
export function createAvatar(hue, name) {
  const avatar = create("span", "avatar");
  avatar.setAttribute("aria-hidden", "true");
  avatar.style.setProperty("--hue", String(hue));
  avatar.dataset.initials = initials(name);
  return avatar;
}

/**
 * Return a button that looks like a link.
 *
 * @param {string} label
 * @param {() => void} pressed
 */
export function linkButton(label, pressed) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "link";
  button.textContent = label;
  button.addEventListener("click", pressed);
  return button;
}

/**
 * Return the button that opens the menu of a message.
 *
 * @param {string} name of its sender
 * @param {(button: HTMLButtonElement) => void} pressed
 */
export function menuButton(name, pressed) {
  const button = linkButton("⋯", () => pressed(button));
  button.setAttribute("aria-label", t("message.menu", { name }));
  button.setAttribute("aria-haspopup", "menu");
  return button;
}

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} className
 */
function create(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}
