// The list of the people in a room: who they are, and what can be done about each.

import { t } from "./i18n.js";
import { createAvatar, menuButton } from "./message-view.js";

/**
 * Return an item of the list for a person.
 *
 * @param {string} name
 * @param {{ hue: number, isOwn: boolean, about: (() => void) | null }} options `hue`: in degrees; `isOwn`: this is the user; `about` opens what can be done about the person, where there is something
 */
export function personItem(name, { hue, isOwn, about }) {
  const label = document.createElement("bdi");
  label.textContent = isOwn ? t("people.you", { name }) : name;
  const item = textItem("");
  item.append(createAvatar(hue, name), label);
  if (!isOwn && about !== null) {
    const button = menuButton(name, about);
    button.setAttribute("aria-label", t("person.open", { name }));
    button.setAttribute("aria-haspopup", "dialog");
    item.append(button);
  }
  return item;
}

/**
 * Return an item of the list with a text.
 *
 * @param {string} text
 */
export function textItem(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}
