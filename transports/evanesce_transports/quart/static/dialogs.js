// Dialogs that modules make themselves. Each is in the page only while it is open, and gives the focus back when it closes.

import { button, create } from "./dom.js";
import { t } from "./i18n.js";

/**
 * Open a dialog with this content, and a button to close it.
 *
 * @param {string} title
 * @param {(Node | string)[]} content
 * @param {object} options
 * @param {string} [options.className]
 * @param {string} [options.closeLabel] of the button that closes it
 * @param {AbortSignal} options.signal closes it
 * @param {() => void} [options.closed]
 * @returns {HTMLDialogElement}
 */
export function openDialog(title, content, { className = "", closeLabel = t("page.done"), signal, closed = () => {} }) {
  const opener = document.activeElement;
  const dialog = create("dialog", { className });
  dialog.setAttribute("aria-label", title);
  const done = button(closeLabel, () => dialog.close());
  const heading = create("h2", { textContent: title, tabIndex: -1 });
  dialog.append(heading, ...content, create("div", { className: "row end" }, done));
  dialog.addEventListener("close", () => {
    dialog.remove();
    closed();
    if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
  });
  signal.addEventListener("abort", () => dialog.close(), { once: true });
  document.body.append(dialog);
  dialog.showModal();
  if (document.activeElement === done) heading.focus(); // text is read from its beginning, not from the button below it
  if (signal.aborted) dialog.close(); // while the module that opens it was loaded
  return dialog;
}
