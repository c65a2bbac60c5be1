// The dialog in which the user names a room, for this browser alone.

import { openDialog } from "./dialogs.js";
import { create, labelled } from "./dom.js";
import { t } from "./i18n.js";

/**
 * Show the dialog.
 *
 * @param {import("./nicknames.js").Nicknames} names
 * @param {string} roomId
 * @param {(name: string) => void} named called with the name that is kept; "": the room has none any more
 * @param {AbortSignal} signal closes it
 */
export function openName(names, roomId, named, signal) {
  const field = create("input", { value: names.get(roomId) ?? "", maxLength: 40, dir: "auto", autocomplete: "off" });
  const form = create("form", { className: "rules" }, labelled(t("name.label"), field));
  form.append(create("small", { textContent: t("name.text") }), create("button", { textContent: t("account.save") }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    named(names.set(roomId, field.value));
    dialog.close();
  });
  const dialog = openDialog(t("name.title"), [form], { signal });
  field.focus();
  field.select();
}
