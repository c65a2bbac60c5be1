// The dialog with the shortcuts of the keyboard, and what can be written in a special way.

import { openDialog } from "./dialogs.js";
import { create } from "./dom.js";
import { t } from "./i18n.js";
import { describeShortcuts } from "./shortcuts.js";

const ON_MESSAGES = Object.freeze(["reply", "copy", "menu", "move"]);
const WRITING = Object.freeze(["send", "line", "last", "action", "code", "cancel"]);

/**
 * Show the dialog.
 *
 * @param {AbortSignal} signal closes it
 */
export function openHelp(signal) {
  const everywhere = describeShortcuts().map(([name, keys]) => [keys, t(`help.${name}`)]);
  openDialog(
    t("help.title"),
    [
      section(t("help.everywhere"), /** @type {[string[], string][]} */ (everywhere)),
      section(
        t("help.onMessages"),
        ON_MESSAGES.map((name) => described(name)),
      ),
      section(
        t("help.writing"),
        WRITING.map((name) => described(name)),
      ),
    ],
    { className: "help", signal },
  );
}

/**
 * Return the keys of something, as the texts name them, and what they do.
 *
 * @param {string} name
 * @returns {[string[], string]}
 */
function described(name) {
  const keys = t(/** @type {Page.TextKey} */ (`keys.${name}`));
  return [keys.split(" "), t(/** @type {Page.TextKey} */ (`help.${name}`))];
}

/**
 * @param {string} title
 * @param {[string[], string][]} lines
 */
function section(title, lines) {
  const list = create("dl");
  for (const [keys, text] of lines) {
    const shown = keys.map((key) => create("kbd", { textContent: key, dir: "ltr" }));
    list.append(create("div", {}, create("dt", {}, ...shown), create("dd", { textContent: text })));
  }
  return create("section", {}, create("h3", { textContent: title }), list);
}
