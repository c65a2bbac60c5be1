// The page's elements: found by id, told of a problem, asked for a confirmation.

import { friendly } from "./errors.js";

export const $ = (id) => document.getElementById(id);

/** Show `error` in an element in words; null hides it. */
export function problem(element, error) {
  element.hidden = error === null;
  element.textContent = error === null ? "" : friendly(error);
}

/** Ask for a confirmation in a dialog, with one or more paragraphs; gives whether it was `yes`. */
export function confirmed(title, paragraphs, yes) {
  $("confirm-title").textContent = title;
  $("confirm-text").replaceChildren(
    ...paragraphs.map((text) => Object.assign(document.createElement("p"), { textContent: text })),
  );
  $("confirm-yes").textContent = yes;
  $("confirm").returnValue = "";
  $("confirm").showModal();
  return new Promise((resolve) => {
    $("confirm").addEventListener("close", () => resolve($("confirm").returnValue === "yes"), { once: true });
  });
}
