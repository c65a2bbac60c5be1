// The dialog in which the user asks to be told of messages while nobody looks at the page.

import { openDialog } from "./dialogs.js";
import { checkable, checkbox, create, problemElement } from "./dom.js";
import { t } from "./i18n.js";
import { askPermission, permission } from "./notifications.js";

/**
 * Show the dialog.
 *
 * @param {import("./alert-settings.js").AlertSettings} settings
 * @param {import("./sound.js").Sound} sound
 * @param {AbortSignal} signal closes it
 */
export function openAlerts(settings, sound, signal) {
  const { current } = settings;
  const problem = problemElement();
  const notify = checkbox({ checked: current.notify && permission() === "granted" });
  const content = checkbox({ checked: current.content, disabled: !notify.checked });
  const audible = checkbox({ checked: current.sound });
  notify.addEventListener("change", async () => {
    const isAllowed = notify.checked && (await askPermission());
    problem.hidden = !notify.checked || isAllowed;
    problem.textContent = problem.hidden ? "" : t("alerts.forbidden");
    notify.checked = isAllowed;
    content.disabled = !isAllowed;
    content.checked &&= isAllowed;
    settings.update({ notify: isAllowed, content: content.checked });
  });
  content.addEventListener("change", () => settings.update({ content: content.checked }));
  audible.addEventListener("change", async () => {
    settings.update({ sound: audible.checked });
    if (!audible.checked) return;
    await sound.enable();
    sound.play();
  });
  openDialog(
    t("alerts.title"),
    [
      create("p", { textContent: t("alerts.text") }),
      checkable(t("alerts.notify"), notify, t("alerts.notifyText")),
      checkable(t("alerts.content"), content, t("alerts.contentText")),
      checkable(t("alerts.sound"), audible),
      problem,
    ],
    { className: "settings", signal },
  );
}
